"""One step of a block of live streams: from audio on the host to labels on the host, as a CUDA graph on CUDA.

What is captured is the whole step, its copies too, so that the host does nothing but start it and wait. A graph is
captured once for each latency class and block size.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from auricle.errors import EngineError
from auricle.fastconformer.device.inputs import Inputs, Row
from auricle.fastconformer.device.operations import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.device.decoder import TransducerMemory
    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.device.state import SlotPool
    from auricle.fastconformer.streaming.latency import LatencyClass

CARD = threading.RLock()
"""Held while steps run and while a graph is captured: what another thread asks of CUDA would break a capture."""

_WARM_UPS = 2
_ITERATIONS, _FRAMES_PER_ITERATION = 3, 3
"""A step makes three iterations, and one more for every three frames: about as many as a chunk of speech needs."""


@dataclass(slots=True)
class Runs:
    """How often a step, or more iterations of one, ran as a graph and operation by operation."""

    graphed: int = 0
    eager: int = 0
    more: int = 0


class Step:
    """The step of blocks of `size` rows of one latency class, over the slots of a pool.

    `graphs` says whether it is to be captured, which only a CUDA device can do.
    """

    def __init__(
        self,
        model: DeviceModel,
        pool: SlotPool,
        memory: TransducerMemory,
        latency: LatencyClass,
        size: int,
        runs: Runs,
        *,
        graphs: bool,
    ) -> None:
        self._model, self._pool, self._memory, self._latency = model, pool, memory, latency
        self._runs = runs
        self.inputs = Inputs(size, latency, pool.slots, model.device)
        self._walks = model.decoder.walks(size, latency.frames)
        self.iterations = _ITERATIONS + latency.frames // _FRAMES_PER_ITERATION
        shape = self.iterations * FIELDS * size + 1
        self._told = torch.zeros(shape, dtype=torch.int32, pin_memory=model.device.type == "cuda")
        self._table = self._told[:-1].view(self.iterations, FIELDS, size).numpy()
        self._graphs: list[torch.cuda.CUDAGraph] = []
        if graphs:
            self._capture()

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Row]) -> Iterator[NDArray[np.int32]]:
        """Advance the streams of `rows`; yield tables of labels, `(iterations, FIELDS, size)`, until all are heard.

        A table is overwritten by the next one. Raises EngineError when there are more rows than the block has.
        """
        if len(rows) > self.inputs.size:
            raise EngineError("a block has too few rows", len(rows), f"give at most {self.inputs.size}")
        self.inputs.put(rows)
        self._run(0)
        yield self._table
        while int(self._told[-1]):
            self._runs.more += 1
            self._run(1)
            yield self._table

    def _run(self, part: int) -> None:
        if self._graphs:
            self._graphs[part].replay()
            self._runs.graphed += 1
        else:
            self._parts[part]()
            self._runs.eager += 1
        if self._model.device.type == "cuda":
            torch.cuda.current_stream().synchronize()

    @property
    def _parts(self) -> tuple[Callable[[], None], Callable[[], None]]:
        return self._first, self._decode

    def _first(self) -> None:
        """Everything up to the first labels."""
        inputs, model = self.inputs, self._model
        inputs.send()
        features = model.features(inputs, self._pool)
        frames = model.encoder(features, inputs, self._latency, self._pool)
        model.decoder.begin(self._walks, frames, inputs.frames)
        self._memory.load(self._walks, inputs)
        self._decode()

    def _decode(self) -> None:
        """More labels, and what is kept of the decoder."""
        found = self._model.decoder.iterate(self._walks, self.iterations)
        self._memory.keep(self._walks, self.inputs)
        self._told.copy_(torch.cat([found.flatten(), self._walks.unfinished[None]]), non_blocking=True)

    def _capture(self) -> None:
        """Capture both parts; a failure is an EngineError, never a step that runs without its graph."""
        self.inputs.put(())
        if self._pool.graphs is None:
            self._pool.graphs = captured_memory()
        with torch.inference_mode():
            self._graphs = [capture(part, self._pool.graphs) for part in self._parts]


def captured_memory() -> Any:
    """Return a memory that graphs can share of which only one runs at a time; raises EngineError without CUDA."""
    try:
        return torch.cuda.graph_pool_handle()
    except (RuntimeError, AttributeError) as error:
        raise _not_captured(error) from error


def capture(work: Callable[[], None], memory: Any) -> torch.cuda.CUDAGraph:
    """Return a graph of `work`, which has run some times before; raises EngineError where it cannot be captured."""
    with CARD:
        return _captured(work, memory)


def _captured(work: Callable[[], None], memory: Any) -> torch.cuda.CUDAGraph:
    try:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch says nothing of its types
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=memory):
            work()
    except RuntimeError as error:
        raise _not_captured(error) from error
    return graph


def _not_captured(error: Exception) -> EngineError:
    return EngineError("work could not be captured as a CUDA graph", error, "report this, with the versions of torch")


def labels_of(table: NDArray[np.int32]) -> Iterator[tuple[int, int, int, int, float]]:
    """Yield row, label, frame, frames and probability of what a table tells, in the order of each row."""
    import numpy as np

    turns, rows = np.nonzero(table[:, 0] >= 0)
    values = table[turns, :, rows]
    probabilities = values[:, 3].copy().view(np.float32)
    yield from zip(
        rows.tolist(),
        values[:, 0].tolist(),
        values[:, 1].tolist(),
        values[:, 2].tolist(),
        probabilities.tolist(),
        strict=True,
    )
