"""Train `auricle-digits-en`: a streaming RNN-T that recognises strings of English digits, from a few minutes of speech.

python -m tools.training.digits --pool FILE --work FOLDER

The pool is made by `tools.training.speech`. The folder gets the state, the log, and the archive at the end.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.reading import parse_config
from tools.training import pool
from tools.training.archive import Size, config, pieces_of, tokenizer, write
from tools.training.disturbance import noises, training_batch
from tools.training.learner import Batch, Learner
from tools.training.loop import add_options, begun, train
from tools.training.strings import EASY, HARD, WORDS, Voices

if TYPE_CHECKING:
    import numpy as np

NAME = "auricle-digits-en"
SIZE = Size()
_DROPOUT = 0.2
_EASY_STEPS = 1_000


def batch(
    source: Voices,
    noise: torch.Tensor,
    tokens: torch.Tensor,
    learner: Learner,
    rng: np.random.Generator,
    step: int,
    larger: int = 1,
) -> Batch:
    """Draw a batch, at first an easy one, ever more seldom."""
    conditions = EASY if rng.random() < 1 - step / _EASY_STEPS else HARD
    return training_batch(source, noise, tokens, learner, rng, conditions, larger)


def main() -> None:
    """Train to the end of the schedule and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", type=Path, required=True, help="the speech, a `.npz` file of tools.training.speech")
    parser.add_argument("--work", type=Path, required=True, help="folder for the state, the log and the archive")
    parser.add_argument("--larger", type=int, default=1, help="how many times as many strings in a batch")
    parser.add_argument("--without", nargs="*", default=[], help="voices of the pool to leave out, and to choose by")
    add_options(parser, steps=3_700, every=100)
    arguments = parser.parse_args()
    schedule, device = begun(arguments)
    model = tokenizer([" ".join(WORDS)], "word", len(WORDS) + 1)
    values = config(SIZE, pieces_of(model))
    tokens = torch.tensor([pieces_of(model).index(f"\N{LOWER ONE EIGHTH BLOCK}{word}") for word in WORDS])
    learner = Learner(parse_config(values), _DROPOUT).to(device)
    pieces = [piece for piece in pool.load(arguments.pool) if piece.voice not in arguments.without]
    draw = partial(batch, Voices(pieces, device), noises(pieces, device), tokens.to(device), larger=arguments.larger)
    train(learner, schedule, draw, parse_config(values).encoder.contexts, arguments.work)
    write(arguments.work / f"{NAME}.nemo", values, learner.weights(), model)


if __name__ == "__main__":
    main()
