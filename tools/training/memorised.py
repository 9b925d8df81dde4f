"""Make the memorised fixture: a streaming RNN-T over-fitted on a part of the demo corpus and a few Hindi sentences.

python -m tools.training.memorised --work FOLDER

It knows nothing else: what it gets wrong of what it knows is a mistake of whoever runs it. The folder `OUTPUT` gets the
archive, the Hindi audio by eSpeak NG, and a manifest of all that it knows.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece
import torch
from tools.training.archive import Size, config, pieces_of, tokenizer, write
from tools.training.learner import Batch, Learner
from tools.training.loop import Schedule, train
from tools.training.strings import padded

from auricle.audio import SAMPLE_RATE, save
from auricle.corpus import espeak
from auricle.corpus.manifest import read_manifest
from auricle.corpus.types import MANIFEST_NAME
from auricle.fastconformer.reading import parse_config
from auricle.files import write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

NAME = "auricle-memorised"
ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "tests" / "data" / "memorised"
DEMO = ROOT / "src" / "auricle" / "corpus" / "demo"
SENTENCES, DIGIT_STRINGS = 20, 8
HINDI = (
    "आज सुबह बाज़ार में बहुत भीड़ थी।",
    "कृपया मुझे अगले स्टेशन का नाम बताइए।",
    "बारिश के बाद बच्चों ने काग़ज़ की नाव पानी में छोड़ दी।",
    "उसने अपनी दादी के लिए नीले रंग का शॉल ख़रीदा।",
    "हमारी बैठक कल दोपहर तीन बजे शुरू होगी।",
    "गाँव के स्कूल में एक नई लाइब्रेरी खुली है।",
)
SIZE = Size()
_PIECES = 256
_DROPOUT, _MISLED = 0.05, 0.3
_PEAK, _WARM_UP = 2e-3, 100
_PADDING_S = 0.4
_LEVEL_DB, _NOISE_DB = 4.0, (25.0, 60.0)
# How many recordings of like length are learned together.
_TOGETHER = 12

Known = list[tuple["Samples", list[int]]]


def speak(folder: Path) -> None:
    """Speak the Hindi sentences into `folder`, and write the manifest of all that is memorised."""
    voices, rows = espeak.voices("hi"), []
    demo = [json.loads(line) for line in (DEMO / MANIFEST_NAME).read_text(encoding="utf-8").splitlines()]
    wanted = {"demo-short", "demo-long"}
    wanted |= {f"demo-sentence-{number:02d}" for number in range(1, SENTENCES + 1)}
    wanted |= {f"demo-digits-{number:02d}" for number in range(1, DIGIT_STRINGS + 1)}
    for row in demo:
        if row["id"] in wanted:
            audio = Path(os.path.relpath(DEMO / row["audio"], folder)).as_posix()
            rows.append({key: row[key] for key in row if key != "words"} | {"audio": audio})
    for number, text in enumerate(HINDI, 1):
        voice, name = voices[number % len(voices)], f"memorised-hi-{number}"
        speech = espeak.speak(text, voice, 1.0)
        save(speech, folder / f"{name}.opus")
        row = {"id": name, "audio": f"{name}.opus", "text": text, "language": "hi", "speaker": f"espeak-{voice}"}
        rows.append(row | {"duration_s": round(speech.duration_s, 4), "licence": "Apache-2.0"})
    write_text(folder / MANIFEST_NAME, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def known_batch(known: Known, learner: Learner, rng: np.random.Generator, _step: int) -> Batch:
    """Draw some recordings of like length, each a little louder or quieter, later, and in faint noise."""
    # The shortest and the longest would seldom be drawn if every first one were as likely.
    first = int(np.clip(rng.integers(len(known)) - _TOGETHER // 2, 0, len(known) - _TOGETHER))
    drawn = [(_varied(samples, rng), labels) for samples, labels in known[first : first + _TOGETHER]]
    audio, lengths, labels, counts = padded(drawn)
    features, frames = learner.features(audio, lengths)
    return Batch(features, frames, labels, counts)


def _varied(samples: Samples, rng: np.random.Generator) -> Samples:
    before, after = rng.integers(round(_PADDING_S * SAMPLE_RATE), size=2) * rng.integers(2, size=2)
    later = np.pad(samples, (before, after))
    level = np.sqrt(np.mean(samples**2))
    noise = rng.standard_normal(len(later)) * level * 10 ** (-rng.uniform(*_NOISE_DB) / 20) * rng.integers(2)
    gain = 10 ** (rng.uniform(-_LEVEL_DB, _LEVEL_DB) / 20)
    return np.asarray(np.clip((later + noise) * gain, -1, 1), np.float32)


def _known(manifest: Path, processor: sentencepiece.SentencePieceProcessor) -> Known:
    """Return the recordings of a manifest and their labels, the shortest first."""
    utterances = sorted(read_manifest(manifest).corpus.utterances, key=lambda one: (one.duration_s, one.id))
    return [(one.load().samples, processor.encode(one.text)) for one in utterances]


def main() -> None:
    """Speak what is missing, train to the end of the schedule, and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what can be resumed")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the fixture")
    parser.add_argument("--steps", type=int, default=2_600)
    parser.add_argument("--decay", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    manifest = arguments.output / MANIFEST_NAME
    if not manifest.is_file():
        speak(arguments.output)
    texts = [one.text for one in read_manifest(manifest).corpus.utterances]
    model = tokenizer(texts, "bpe", _PIECES)
    values = config(SIZE, pieces_of(model))
    known = _known(manifest, sentencepiece.SentencePieceProcessor(model_proto=model))
    learner = Learner(parse_config(values), _DROPOUT, _MISLED)
    schedule = Schedule(arguments.seed, arguments.steps, _WARM_UP, arguments.decay, _PEAK, every=50)
    contexts = parse_config(values).encoder.contexts
    train(learner, schedule, partial(known_batch, known), contexts, arguments.work)
    write(arguments.output / f"{NAME}.nemo", values, learner.weights(), model)


if __name__ == "__main__":
    main()
