"""The decoding step as one function of fixed shapes: a CUDA graph on a card, operation by operation on a CPU.

Tokens and positions live in buffers that a step reads and moves on itself, so that a graph can be replayed without a
word from the host. Which of the two ran is counted; a step that cannot be captured is an error, never a slower step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.errors import EngineError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from torch import Tensor

    from auricle.qwen3.cache import KVCache
    from auricle.qwen3.decoder import Decoder

GRAPH_BLOCK = 512
"""How many positions a graph's attention grows by, so that few graphs are captured."""

BLOCK = 16
"""The same without graphs, where a position that nothing is at costs time."""

GRAPH_STEPS = 8
"""Steps of a card between two looks at what was found: looking makes it wait."""

_WARM_UPS = 2


class Steps:
    """Steps over one cache, for its first rows."""

    def __init__(self, decoder: Decoder, cache: KVCache) -> None:
        self._decoder, self.cache = decoder, cache
        self.graphs = decoder.device.type == "cuda"
        self.block = GRAPH_BLOCK if self.graphs else BLOCK
        self.together = GRAPH_STEPS if self.graphs else 1
        self.tokens = torch.zeros(cache.rows, dtype=torch.long, device=decoder.device)
        self.positions = torch.zeros_like(self.tokens)
        self.sound = torch.ones(cache.rows, dtype=torch.bool, device=decoder.device)
        self._captured: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}

    def begin(self, tokens: Tensor, positions: Tensor, scores: Tensor) -> None:
        """Let the first rows go on with tokens at positions, `(rows,)` each; `scores` tell whether they are sound."""
        rows = len(tokens)
        self.positions.zero_()
        self.tokens[:rows], self.positions[:rows] = tokens, positions
        self.sound.fill_(True)
        self.sound[:rows] = scores.isfinite()

    def run(self, rows: int, bound: int, counts: Counter[str]) -> None:
        """Move the first rows on by one token; `bound` is above every position."""
        if not self.graphs:
            self._step(rows, bound)
            counts["eager"] += 1
            return
        if (rows, bound) not in self._captured:
            self._captured[rows, bound] = self._capture(lambda: self._step(rows, bound))
        self._captured[rows, bound].replay()
        counts["graph"] += 1

    def _step(self, rows: int, bound: int) -> None:
        tokens, positions = self.tokens[:rows], self.positions[:rows]
        found, scores = self._decoder.step(tokens, positions, self.cache, bound)
        tokens.copy_(found)
        positions.add_(1).clamp_(max=self.cache.capacity - 1)  # A row that ended goes on until all have.
        self.sound[:rows].logical_and_(scores.isfinite())

    def _capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Capture a step; warming up writes at the end of the cache, where every row writes anew before it looks."""
        kept = [each.clone() for each in (self.tokens, self.positions, self.sound)]
        self.positions.fill_(self.cache.capacity - _WARM_UPS - 1)
        try:
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch says nothing of its types
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work()
        except RuntimeError as error:
            what = "a decoding step could not be captured as a CUDA graph"
            raise EngineError(what, error, "report this, with the versions of torch") from error
        for buffer, value in zip((self.tokens, self.positions, self.sound), kept, strict=True):
            buffer.copy_(value)
        return graph
