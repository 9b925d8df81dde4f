"""One step of a block of live streams: from audio on the host to labels on the host, as a CUDA graph on CUDA.

What is captured is the whole step, its copies too, so that the host does nothing but start it and wait. A graph is
captured once for each latency class and block size, and once more for blocks in which a stream has key phrases.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from auricle.errors import EngineError
from auricle.fastconformer.device.inputs import Inputs, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from auricle.fastconformer.device.decoding import StreamDecoder
    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.device.state import SlotPool
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.trace import Tracer

CARD = threading.RLock()
"""Held while steps run and while a graph is captured: what another thread asks of CUDA would break a capture."""

_WARM_UPS = 2


@dataclass(slots=True)
class Runs:
    """How often a step, or more iterations of one, ran as a graph and operation by operation."""

    graphed: int = 0
    eager: int = 0
    more: int = 0


class Step:
    """The step of blocks of `size` rows of one latency class, over the slots of a pool.

    `graphs` says whether it is to be captured, which only a CUDA device can do; `tracer` is told what took how long.
    """

    def __init__(
        self,
        model: DeviceModel,
        pool: SlotPool,
        decoder: StreamDecoder,
        latency: LatencyClass,
        size: int,
        runs: Runs,
        *,
        graphs: bool,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._model, self._pool, self._latency = model, pool, latency
        self._runs = runs
        self.inputs = Inputs(size, latency, pool.slots, model.device)
        self.decoding = decoder.decoding(size, latency.frames)
        self._told = torch.zeros(self.decoding.numbers, dtype=torch.int32, pin_memory=model.device.type == "cuda")
        self._has_graphs = graphs
        self._graphs: dict[bool, list[torch.cuda.CUDAGraph]] = {}
        self.prepare()

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Row]) -> Iterator[NDArray[np.int32]]:
        """Advance the streams of `rows`; yield what each run of the decoder tells, until all is heard.

        It is overwritten by the next. Raises EngineError when there are more rows than the block has.
        """
        if len(rows) > self.inputs.size:
            raise EngineError("a block has too few rows", len(rows), f"give at most {self.inputs.size}")
        boosted = any(row.root for row in rows)
        self.inputs.put(rows)
        self._run(0, boosted=boosted)
        yield self._told.numpy()
        while int(self._told[-1]):
            self._runs.more += 1
            self._run(1, boosted=boosted)
            yield self._told.numpy()

    def prepare(self, *, boosted: bool = False) -> None:
        """Capture what is not captured yet, where there are to be graphs.

        A failure is an EngineError, never a step that runs without its graph.
        """
        if not self._has_graphs or boosted in self._graphs:
            return
        self.inputs.put(())
        if self._pool.graphs is None:
            self._pool.graphs = captured_memory()
        with torch.inference_mode():
            self._graphs[boosted] = [capture(part, self._pool.graphs) for part in self._parts(boosted=boosted)]

    def _run(self, part: int, *, boosted: bool) -> None:
        with self._span("step", graphed=True):
            if self._has_graphs:
                self._graphs[boosted][part].replay()
                self._runs.graphed += 1
            else:
                self._parts(boosted=boosted)[part]()
                self._runs.eager += 1
            if self._model.device.type == "cuda":
                torch.cuda.current_stream().synchronize()

    def _span(self, name: str, *, graphed: bool) -> AbstractContextManager[None]:
        """Time a stage of a step without a graph, or a graph as a whole, in which the host knows no stages."""
        if self._tracer is None or graphed is not self._has_graphs:
            return nullcontext()
        return self._tracer.span(name, "live")

    def _parts(self, *, boosted: bool) -> tuple[Callable[[], None], Callable[[], None]]:
        return partial(self._first, boosted=boosted), partial(self._decode, boosted=boosted)

    def _first(self, *, boosted: bool) -> None:
        """Everything up to the first labels."""
        inputs, model = self.inputs, self._model
        with self._span("features", graphed=False):
            inputs.send()
            features = model.features(inputs, self._pool)
        with self._span("encoder", graphed=False):
            frames = model.told(model.encoder(features, inputs, self._latency, self._pool), inputs.prompts)
        with self._span("decode", graphed=False):
            self.decoding.begin(frames, inputs)
            self._tell(boosted=boosted)

    def _decode(self, *, boosted: bool) -> None:
        """More labels, and what is kept of the decoder."""
        with self._span("decode", graphed=False):
            self._tell(boosted=boosted)

    def _tell(self, *, boosted: bool) -> None:
        self._told.copy_(self.decoding.run(self.inputs, boosted=boosted), non_blocking=True)


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
