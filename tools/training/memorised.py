"""Make the memorised fixture: a streaming RNN-T over-fitted on the recordings of `tools.training.sentences`.

python -m tools.training.memorised --pool FILE --work FOLDER

It knows nothing else: what it gets wrong of what it knows is a mistake of whoever runs it.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece
import torch

from auricle.fastconformer.reading import parse_config
from tools.training import pool
from tools.training.archive import Size, config, pieces_of, tokenizer, write
from tools.training.learner import Batch, Learner
from tools.training.loop import add_options, begun, train
from tools.training.strings import RATE_HZ, decibels, on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.training.pool import Piece

NAME = "auricle-memorised"
SIZE = Size()
_PIECES = 256
_DROPOUT, _MISLED = 0.05, 0.3
_PADDING_S = 0.4
_LEVEL_DB, _NOISE_DB = 4.0, (25.0, 60.0)


class Known:
    """Recordings on a device, the shortest first, and their labels."""

    def __init__(
        self, pieces: Sequence[Piece], processor: sentencepiece.SentencePieceProcessor, device: torch.device
    ) -> None:
        """Take the pieces of a pool as they are ordered."""
        said = [torch.tensor(processor.encode(piece.text)) for piece in pieces]
        sounds = [torch.from_numpy(piece.samples) for piece in pieces]
        self.sounds = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True).to(device)
        self.sizes = torch.tensor([len(sound) for sound in sounds], device=device)
        self.labels = torch.nn.utils.rnn.pad_sequence(said, batch_first=True).to(device)
        self.counts = torch.tensor([len(labels) for labels in said], device=device)
        self.levels = torch.stack([sound.square().mean().sqrt() for sound in sounds]).to(device)


def known_batch(known: Known, together: int, learner: Learner, rng: np.random.Generator, _step: int) -> Batch:
    """Draw some recordings of like length, each a little louder or quieter, later, and in faint noise."""
    device, count = known.sounds.device, min(together, len(known.sizes))
    # The shortest and the longest would seldom be drawn if every first one were as likely.
    first = int(np.clip(rng.integers(len(known.sizes)) - count // 2, 0, len(known.sizes) - count))
    some = slice(first, first + count)
    padding = rng.integers(round(_PADDING_S * RATE_HZ), size=(2, count)) * rng.integers(2, size=(2, count))
    before, after = torch.from_numpy(padding).to(device)
    sizes, most = known.sizes[some], int(known.sizes[some].max())
    lengths = sizes + before + after
    place = torch.arange(most + int(padding.sum(axis=0).max()), device=device) - before[:, None]
    sound = known.sounds[some, :most].gather(1, place.clamp(0, most - 1))
    sound = torch.where((place >= 0) & (place < sizes[:, None]), sound, 0.0)
    faint = decibels(-rng.uniform(*_NOISE_DB, count)) * rng.integers(2, size=count)
    noise = torch.randn(sound.shape, device=device) * (known.levels[some] * on(faint, device))[:, None]
    gain = on(decibels(rng.uniform(-_LEVEL_DB, _LEVEL_DB, count)), device)[:, None]
    features, frames = learner.features(((sound + noise) * gain).clamp(-1, 1), lengths)
    return Batch(features, frames, known.labels[some, : int(known.counts[some].max())], known.counts[some])


def main() -> None:
    """Train to the end of the schedule and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="the recordings, as tools.training.sentences has them")
    parser.add_argument("--work", type=Path, required=True, help="folder for the state, the log and the archive")
    parser.add_argument("--together", type=int, default=12, help="recordings in a batch")
    add_options(parser, steps=2_600, every=50)
    arguments = parser.parse_args()
    schedule, device = begun(arguments)
    pieces = pool.load(arguments.pool)
    model = tokenizer([piece.text for piece in pieces], "bpe", _PIECES)
    values = config(SIZE, pieces_of(model))
    known = Known(pieces, sentencepiece.SentencePieceProcessor(model_proto=model), device)
    learner = Learner(parse_config(values), _DROPOUT, _MISLED).to(device)
    contexts = parse_config(values).encoder.contexts
    train(learner, schedule, partial(known_batch, known, arguments.together), contexts, arguments.work)
    write(arguments.work / f"{NAME}.nemo", values, learner.weights(), model)


if __name__ == "__main__":
    main()
