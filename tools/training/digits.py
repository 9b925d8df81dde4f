"""Train `auricle-digits-en`: a streaming RNN-T that recognises strings of English digits, from a few minutes of speech.

python -m tools.training.digits --digits FOLDER --work FOLDER
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tools.training.archive import Size, config, pieces_of, tokenizer, write
from tools.training.learner import Batch, Learner
from tools.training.loop import Schedule, train
from tools.training.speech import WORDS, pool
from tools.training.strings import EASY, HARD, Voices, training_batch, voices

from auricle.fastconformer.reading import parse_config

if TYPE_CHECKING:
    import numpy as np

NAME = "auricle-digits-en"
SIZE = Size()
_DROPOUT = 0.1
_PEAK, _WARM_UP, _EASY_STEPS = 2e-3, 100, 1_000


def batch(source: Voices, tokens: torch.Tensor, learner: Learner, rng: np.random.Generator, step: int) -> Batch:
    """Draw a batch, at first an easy one, ever more seldom."""
    conditions = EASY if rng.random() < 1 - step / _EASY_STEPS else HARD
    return training_batch(source, tokens, learner, rng, conditions)


def main() -> None:
    """Train to the end of the schedule and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=Path, required=True, help="folder of the recorded digits, with its manifest")
    parser.add_argument("--work", type=Path, required=True, help="folder for what can be made again or resumed")
    parser.add_argument("--steps", type=int, default=3_700)
    parser.add_argument("--decay", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    model = tokenizer([" ".join(WORDS)], "word", len(WORDS) + 1)
    values = config(SIZE, pieces_of(model))
    tokens = torch.tensor([pieces_of(model).index(f"\N{LOWER ONE EIGHTH BLOCK}{word}") for word in WORDS])
    learner = Learner(parse_config(values), _DROPOUT)
    source = voices(pool(arguments.digits, arguments.work / "pool.npz"))
    schedule = Schedule(arguments.seed, arguments.steps, _WARM_UP, arguments.decay, _PEAK, every=100)
    contexts = parse_config(values).encoder.contexts
    train(learner, schedule, partial(batch, source, tokens), contexts, arguments.work)
    write(arguments.work / f"{NAME}.nemo", values, learner.weights(), model)


if __name__ == "__main__":
    main()
