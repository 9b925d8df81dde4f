"""The shipped recogniser of digits on an accelerator: its word error rate live, in each precision and latency class.

    python -m bench.gpu_speech --out speech.npz

writes the recordings of the corpus `demo-digits` for a machine that cannot decode them itself.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.tokens import Tokenizer
from bench.gpu_checks import error_rate, on_device
from bench.gpu_live import play_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.precision import Precision

ROWS = 64


def speech(path: Path, precisions: Sequence[Precision]) -> list[dict[str, object]]:
    """Return the word error rates on recordings, and how many texts are not those of fp32."""
    with np.load(path) as stored:
        texts = json.loads(str(stored["texts"]))
        audio = [
            (samples / np.float32(32768)).astype(np.float32)
            for samples in np.split(stored["audio"], stored["ends"][:-1])
        ]
    archive = read_archive(Path(str(files("auricle") / "checkpoints" / "auricle-digits-en.nemo")))
    tokenizer = Tokenizer(archive.tokenizer, archive.config.vocabulary)
    found: list[dict[str, object]] = []
    plain: dict[int, list[str]] = {}
    for precision in precisions:
        model = on_device(archive, "cuda", precision)
        streams = DeviceStreams(model, ROWS, (8, ROWS))
        for latency in model.classes:
            said = [tokenizer.text(tokens) for tokens in play_all(streams, latency, audio)]
            alone = [tokenizer.text(tokens) for tokens in play_all(streams, latency, audio, 1)]
            words = sorted({word for text in (*texts, *said) for word in text.split()})
            numbered = [[[words.index(word) for word in text.split()] for text in each] for each in (texts, said)]
            found.append(
                {
                    "precision": precision,
                    "chunk_ms": latency.chunk_ms,
                    "recordings": len(audio),
                    "wer": round(error_rate(*numbered), 4),
                    "unlike_fp32": sum(
                        a != b for a, b in zip(said, plain.setdefault(latency.chunk_ms, said), strict=True)
                    ),
                    "unlike_other_blocks": sum(a != b for a, b in zip(said, alone, strict=True)),
                }
            )
    return found


def main() -> None:
    """Write the recordings of the corpus."""
    from auricle.audio import load
    from auricle.corpus import open_corpus

    parser = argparse.ArgumentParser(description="Write the recordings of the corpus demo-digits.")
    parser.add_argument("--out", type=Path, required=True)
    utterances = open_corpus("demo-digits").utterances
    audio = [np.round(load(one.audio, 16_000).samples * 32767).astype(np.int16) for one in utterances]
    texts = json.dumps([one.text for one in utterances])
    ends = np.cumsum([len(samples) for samples in audio])
    np.savez_compressed(parser.parse_args().out, audio=np.concatenate(audio), ends=ends, texts=texts)


if __name__ == "__main__":
    main()
