"""Greedy generation for a batch of prompts of different lengths, each as it would be alone.

Rows stand at the left of a cache of fixed size and end where they end: a row looks at its own positions alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from auricle.errors import EngineError, UnsupportedError
from auricle.qwen3.cache import KVCache, rounded
from auricle.qwen3.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from auricle.qwen3.decoder import Decoder
    from auricle.qwen3.stages import Meter

    Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Embeddings of a prompt, `(positions, width)`, and how many tokens may follow it at most."""

    embeddings: Tensor
    limit: int


@dataclass(slots=True)
class _Row:
    """A row under way: which prompt it is of, what it has said, and how much more it may say."""

    number: int
    said: list[int]
    left: int
    ended: bool = False


class Generator:
    """Generates with one working cache, which grows when more is asked of it; one call at a time."""

    def __init__(self, decoder: Decoder, end_tokens: Sequence[int]) -> None:
        self._decoder = decoder
        self._ends = frozenset(end_tokens)
        self._steps: Steps | None = None

    def working(self, rows: int, positions: int) -> Steps:
        """Return steps over a cache of at least so many rows and positions.

        Raises UnsupportedError for more positions than the model has.
        """
        if positions > self._decoder.positions:
            what = "a prompt and what may follow it take more positions than there are"
            raise UnsupportedError(what, positions, f"give a shorter prompt: there are {self._decoder.positions}")
        steps, device = self._steps, self._decoder.device
        if device.type == "cuda":
            rows, positions = 1 << (rows - 1).bit_length(), positions + 4
        if steps is None or steps.cache.rows < rows or steps.cache.capacity < positions:
            self._steps = None  # Its memory goes before that of the next one comes.
            config = self._decoder.config
            steps = self._steps = Steps(self._decoder, KVCache(config, rows, positions, self._decoder.dtype, device))
        return steps

    def release(self) -> None:
        """Give the working cache's memory back."""
        self._steps = None

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[Prompt], meter: Meter, check: Check) -> list[list[int]]:
        """Return the tokens that follow each prompt, without what ends them; `check` may raise between two steps.

        Raises EngineError when scores are not finite, as where a product overflows in fp16.
        """
        lengths = [len(prompt.embeddings) for prompt in prompts]
        longest = max(map(sum, zip(lengths, (prompt.limit for prompt in prompts), strict=True)))
        with meter.stage("prefill", sum(lengths)):
            steps = self.working(len(prompts), longest + 1)
            x = pad_sequence([prompt.embeddings for prompt in prompts], batch_first=True)
            hidden, made = self._decoder.prefill(x)
            ends = torch.tensor(lengths, device=x.device)
            tokens, scores = self._decoder.choose(hidden[torch.arange(len(prompts), device=x.device), ends - 1])
        with meter.stage("kv copy") as total:
            total.bytes += steps.cache.fill(made)
            del made, hidden, x
        steps.begin(tokens, ends, scores)
        return self.decode(steps, [prompt.limit for prompt in prompts], lengths, meter, check)

    def decode(
        self, steps: Steps, limits: Sequence[int], lengths: Sequence[int], meter: Meter, check: Check
    ) -> list[list[int]]:
        """Go on from what `steps` began with, until each row has ended or said as much as it may."""
        rows = [_Row(number, [], limit) for number, limit in enumerate(limits)]
        found = {row.number: row.said for row in rows}
        furthest = max(lengths)
        with meter.stage("decode") as total:
            self._take(rows, steps.tokens[: len(rows)][None], steps)
            while alive := [row for row in rows if not row.ended]:
                check()
                if not steps.graphs and len(alive) <= len(rows) // 2:
                    rows = _packed(rows, steps)
                start = time.perf_counter()
                width = 1 << (len(rows) - 1).bit_length() if steps.graphs else len(rows)
                bound = min(-(-(furthest + steps.together) // steps.block) * steps.block, steps.cache.capacity)
                history = []
                for _ in range(steps.together):
                    steps.run(width, bound, meter.steps)
                    history.append(steps.tokens[: len(rows)].clone())
                furthest += steps.together
                self._take(rows, torch.stack(history), steps)
                meter.decoded(rounded(furthest), time.perf_counter() - start, steps.together)
            total.units += sum(len(said) for said in found.values())
        return [found[number] for number in range(len(limits))]

    def _take(self, rows: Sequence[_Row], history: Tensor, steps: Steps) -> None:
        """Let rows say what was found for them, `(steps, rows)`."""
        if not bool(steps.sound[: len(rows)].all()):
            precision = str(self._decoder.dtype).removeprefix("torch.")
            remedy = "use bf16 or fp32" if self._decoder.dtype == torch.float16 else "check the model's files"
            raise EngineError("the decoder's scores are not finite", f"in {precision}", remedy)
        for values in history.tolist():
            for row, token in zip(rows, values, strict=True):
                if row.ended:
                    continue
                if token in self._ends or not row.left:
                    row.ended = True
                    continue
                row.said.append(token)
                row.left -= 1
                row.ended = not row.left


def _packed(rows: Sequence[_Row], steps: Steps) -> list[_Row]:
    """Move the rows that go on to the front of the cache and return them."""
    kept = [place for place, row in enumerate(rows) if not row.ended]
    for place, source in enumerate(kept):
        if place != source:
            for buffer in (steps.cache.keys, steps.cache.values):
                buffer[:, place] = buffer[:, source]
            for flat in (steps.tokens, steps.positions, steps.sound):
                flat[place] = flat[source]
    return [rows[source] for source in kept]
