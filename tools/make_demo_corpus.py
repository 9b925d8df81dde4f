"""Make the demo corpus that ships in the package: built-in sentences and digit strings by four voices of Flite.

Run `python tools/make_demo_corpus.py`; it needs the program `flite` and replaces the manifest and the audio under
src/auricle/corpus/demo. The same versions of Flite and of libopus (in the wheel of PyAV) give the same bytes. To see
what the codec costs, run it with `--uncompressed --output FOLDER` and benchmark `demo` and that folder.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio import save
from auricle.corpus import flite
from auricle.corpus.manifest import write_manifest
from auricle.corpus.sentences import digit_strings, sentences
from auricle.corpus.types import MANIFEST_NAME, Corpus, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.audio import Audio

DEMO = Path(__file__).parents[1] / "src" / "auricle" / "corpus" / "demo"
LICENCE = "Apache-2.0"
LANGUAGE = "en"
BITS_PER_S = 32_000
DIGIT_STRINGS = 24
SEED = 1
SHORT = ("demo-short", "slt", "Please bring two cups of tea and the morning newspaper.")
LONG = (
    "demo-long",
    "rms",
    (
        "When the museum opened its doors again, a long line of visitors waited in the square, and the director, "
        "who had not slept for two nights, welcomed each of them by hand."
    ),
)


def main() -> None:
    """Speak every text, encode it, and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEMO, help="folder to write to")
    parser.add_argument("--uncompressed", action="store_true", help="write FLAC instead of Opus")
    arguments = parser.parse_args()
    output, encode = arguments.output, save if arguments.uncompressed else _encode
    if flite.voices(LANGUAGE) != flite.VOICES:
        parser.error(f"this Flite lacks some of the voices {', '.join(flite.VOICES)}")
    audio = output / "audio"
    shutil.rmtree(audio, ignore_errors=True)
    audio.mkdir(parents=True)
    utterances = tuple(_utterance(name, voice, text, audio, encode) for name, voice, text in _plan())
    write_manifest(Corpus("demo", utterances, LICENCE, "flite", output), output / MANIFEST_NAME)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    seconds = sum(utterance.duration_s for utterance in utterances)
    print(f"{len(utterances)} utterances, {seconds / 60:.1f} min, {size / 1e6:.2f} MB in {output}")


def _plan() -> list[tuple[str, str, str]]:
    """Return the id, voice and text of every utterance."""
    texts = [(f"demo-sentence-{number:02d}", text) for number, text in enumerate(sentences(LANGUAGE), 1)]
    texts += [
        (f"demo-digits-{number:02d}", text)
        for number, text in enumerate(digit_strings(LANGUAGE, DIGIT_STRINGS, SEED), 1)
    ]
    voices = flite.VOICES
    turns = [(name, voices[number % len(voices)], text) for number, (name, text) in enumerate(texts)]
    return [SHORT, LONG, *turns]


def _utterance(name: str, voice: str, text: str, folder: Path, encode: Callable[[Audio, Path], None]) -> Utterance:
    speech, words = flite.speak(text, voice, 1.0)
    if not words:
        raise SystemExit(f"no word times for {name}: {text}")
    path = folder / f"{name}.{'flac' if encode is save else 'opus'}"
    encode(speech, path)
    return Utterance(name, path, text, LANGUAGE, voice, speech.duration_s, words=words)


def _encode(speech: Audio, path: Path) -> None:
    """Write Opus in Ogg for speech, leaner than `auricle.audio.save` writes it."""
    import av

    samples = np.round(speech.samples * 32767).astype(np.int16)[np.newaxis]
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=speech.rate, layout="mono")
        stream.bit_rate = BITS_PER_S
        frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.sample_rate = speech.rate
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    main()
