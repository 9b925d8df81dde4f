"""The training loop: AdamW with a warm-up, a level and a decay; it can be stopped at any time and goes on where it was.

What a step does depends on the seed and its number alone, so that a run that was interrupted ends with the weights of
one that was not, on the same machine with the same number of threads.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.files import atomic_path, write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.training.learner import Batch, Learner

    from auricle.fastconformer.config import AttentionContext

_LONGEST_GRADIENT = 1.0
_BETAS = (0.9, 0.98)
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn: the rate rises over `warm_up` steps and falls to nothing over the last `decay`.

    A run may be stopped before its decay and resumed with another number of `steps`; `seed` is of data and dropout.
    """

    seed: int
    steps: int
    warm_up: int
    decay: int
    peak: float
    every: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, the first being 0."""
        rising = (step + 1) / self.warm_up
        falling = (self.steps - step) / self.decay
        return self.peak * min(1.0, rising, falling)


def train(
    learner: Learner,
    schedule: Schedule,
    batch: Callable[[Learner, np.random.Generator, int], Batch],
    contexts: tuple[AttentionContext, ...],
    folder: Path,
) -> None:
    """Train to the end of the schedule, from where `folder` stands: its `state.pt`, its `log.jsonl`.

    Each step draws a context and, knowing its number, a batch. The state and one line of the log are written `every` so
    many steps.
    """
    optimiser = torch.optim.AdamW(learner.parameters(), betas=_BETAS, weight_decay=_WEIGHT_DECAY)
    state, log = folder / "state.pt", folder / "log.jsonl"
    step, lines = 0, list[str]()
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        step, lines = kept["step"], kept["log"]
        learner.load_state_dict(kept["learner"])
        optimiser.load_state_dict(kept["optimiser"])
    learner.train()
    seen, started = list[dict[str, float]](), time.perf_counter()
    while step < schedule.steps:
        seen.append(_step(learner, optimiser, schedule, step, batch, contexts))
        step += 1
        if step % schedule.every == 0 or step == schedule.steps:
            means = {key: round(math.fsum(one[key] for one in seen) / len(seen), 4) for key in seen[0]}
            seconds = round(time.perf_counter() - started, 1)
            rate = float(f"{schedule.rate(step - 1):.4g}")
            lines.append(json.dumps({"step": step, **means, "rate": rate, "seconds": seconds}))
            kept = {"step": step, "log": lines, "learner": learner.state_dict(), "optimiser": optimiser.state_dict()}
            with atomic_path(state) as temporary:
                torch.save(kept, temporary)
            write_text(log, "\n".join(lines) + "\n")
            seen, started = [], time.perf_counter()


def _step(
    learner: Learner,
    optimiser: torch.optim.AdamW,
    schedule: Schedule,
    step: int,
    batch: Callable[[Learner, np.random.Generator, int], Batch],
    contexts: tuple[AttentionContext, ...],
) -> dict[str, float]:
    rng = np.random.default_rng([schedule.seed, step])
    torch.manual_seed(int(rng.integers(2**62)))
    context = contexts[rng.integers(len(contexts))]
    for group in optimiser.param_groups:
        group["lr"] = schedule.rate(step)
    loss, parts = learner.loss(batch(learner, rng, step), context)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), _LONGEST_GRADIENT)
    optimiser.step()
    return {**parts, "gradient": float(norm)}
