"""The training loop: AdamW with a warm-up, a level and a decay; it can be stopped at any time and goes on where it was.

What a step does depends on the seed and its number alone. So a run of a number of steps that was interrupted ends with
the weights of one that was not, on the same machine with the same number of threads; a run of minutes does not.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.files import atomic_path, write_text

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from auricle.fastconformer.config import AttentionContext
    from tools.training.learner import Batch, Learner

_LONGEST_GRADIENT = 1.0
_BETAS = (0.9, 0.98)
_WEIGHT_DECAY = 0.01
_PEAK, _WARM_UP = 2e-3, 100


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn: for so many `steps`, or `minutes` if that is not None.

    The rate rises over the first steps and falls to nothing over the last share `decay`. A run that was stopped before
    its decay may be resumed with another length; `seed` is of data and dropout. The state and one line of the log are
    written `every` so many steps.
    """

    seed: int
    steps: int
    minutes: float | None
    decay: float
    every: int

    def done(self, step: int, seconds: float) -> float:
        """Return the share of the run that is done before a step, the first being 0, and after so many seconds."""
        return step / self.steps if self.minutes is None else seconds / (60 * self.minutes)

    def rate(self, step: int, done: float) -> float:
        """Return the learning rate of a step."""
        return _PEAK * min(1.0, (step + 1) / _WARM_UP, max(0.0, 1 - done) / self.decay)


def add_options(parser: ArgumentParser, steps: int, every: int) -> None:
    """Add the options of a schedule and where it runs."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--minutes", type=float, help="train this long, instead of a number of steps")
    parser.add_argument("--decay", type=float, default=0.4, help="share of the run over which the rate falls")
    parser.add_argument("--every", type=int, default=every, help="steps between two lines of the log")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")


def begun(arguments: Namespace) -> tuple[Schedule, torch.device]:
    """Return the schedule and the device that the options name; torch draws from their seed."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    schedule = Schedule(arguments.seed, arguments.steps, arguments.minutes, arguments.decay, arguments.every)
    return schedule, torch.device(arguments.device)


def train(
    learner: Learner,
    schedule: Schedule,
    batch: Callable[[Learner, np.random.Generator, int], Batch],
    contexts: tuple[AttentionContext, ...],
    folder: Path,
) -> None:
    """Train to the end of the schedule, from where `folder` stands: its `state.pt`, its `log.jsonl`.

    Each step draws a context and, knowing its number, a batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(learner.parameters(), betas=_BETAS, weight_decay=_WEIGHT_DECAY, fused=True)
    state, log = folder / "state.pt", folder / "log.jsonl"
    step, seconds, lines = 0, 0.0, list[str]()
    if state.is_file():
        kept = torch.load(state, weights_only=True, map_location=learner.bins.device)
        step, seconds, lines = kept["step"], kept["seconds"], kept["log"]
        learner.load_state_dict(kept["learner"])
        optimiser.load_state_dict(kept["optimiser"])
    learner.train()
    seen: list[dict[str, Tensor]] = []
    started = time.perf_counter() - seconds
    while (done := schedule.done(step, seconds)) < 1:
        rng, rate = np.random.default_rng([schedule.seed, step]), schedule.rate(step, done)
        torch.manual_seed(int(rng.integers(2**62)))
        context = contexts[rng.integers(len(contexts))]
        seen.append(_step(learner, optimiser, rate, batch(learner, rng, step), context))
        step += 1
        seconds = time.perf_counter() - started
        if step % schedule.every == 0 or schedule.done(step, seconds) >= 1:
            means = {key: round(torch.stack([one[key] for one in seen]).mean().item(), 4) for key in seen[0]}
            line = {"step": step, **means, "rate": float(f"{rate:.4g}"), "seconds": round(seconds, 1)}
            lines.append(json.dumps(line))
            print(lines[-1], flush=True)
            kept = {"step": step, "seconds": seconds, "log": lines}
            kept |= {"learner": learner.state_dict(), "optimiser": optimiser.state_dict()}
            with atomic_path(state) as temporary:
                torch.save(kept, temporary)
            write_text(log, "\n".join(lines) + "\n")
            seen = []


def _step(
    learner: Learner, optimiser: torch.optim.AdamW, rate: float, batch: Batch, context: AttentionContext
) -> dict[str, Tensor]:
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss, parts = learner.loss(batch, context)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), _LONGEST_GRADIENT)
    optimiser.step()
    return {**parts, "gradient": norm.detach()}
