"""Watches the operators of torch while an engine works in this process: a run of its own, never one that is timed."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from auricle.engines.contract import ModelInfo

Event = dict[str, Any]
MARK = "auricle stage: "
S_PER_US = 1e-6
MEMCPY = "Memcpy "
QUIET = "99"
"""A level of the profiler's log at which it says nothing of its own comings and goings."""


class MarkingTracer(Tracer):
    """A tracer whose spans, while `marking`, also stand in torch's profile, so that operators are told by stage."""

    def __init__(self) -> None:
        super().__init__()
        self.marking = False

    @contextmanager
    def span(self, stage: str, lane: str = "main") -> Iterator[None]:
        """Time the body as `stage`, also when it raises."""
        with super().span(stage, lane):
            if not self.marking:
                yield
                return
            from torch.profiler import record_function

            with record_function(f"{MARK}{stage}"):
                yield


@dataclass(slots=True)
class _Node:
    """All calls of one operator on the same shapes in the same place of the tree of calls."""

    fields: Event
    calls: int = 0
    self_s: float = 0.0
    total_s: float = 0.0
    device_s: float = 0.0
    allocated_bytes: int = 0
    children: dict[str, int] = field(default_factory=dict)


def watch(tracer: MarkingTracer, warm_up: Callable[[], object], work: Callable[[], object]) -> list[Event] | None:
    """Do the work under torch's profiler, warmed up, and return its `operator`, `kernel` and `transfer` events.

    None where no operator of torch ran in this process.
    """
    if "torch" not in sys.modules:
        return None
    import torch
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
    tracer.marking = True
    try:
        with profile(activities=activities, record_shapes=True, profile_memory=True):
            warm_up()
        with profile(activities=activities, record_shapes=True, profile_memory=True) as watched:
            work()
    finally:
        tracer.marking = False
    tree = _Tree()
    events = watched.events()
    tree.add([event for event in events if event.cpu_parent is None and _on_host(event)])
    found = [*tree.events(), *_on_device(event for event in events if not _on_host(event))]
    return found or None


def unobservable(info: ModelInfo) -> str:
    """Return why the operators of an engine are not seen."""
    return (
        f"{info.engine} runs no torch in this process, so its operators are not observable here; what runs in worker "
        "processes or in a runtime such as ONNX Runtime has a profiler, if any, that the engine's API does not reach"
    )


class _Tree:
    """The tree of calls, calls alike made one."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._roots: dict[str, int] = {}

    def add(self, calls: Iterable[Any], parent: int | None = None, stage: str | None = None) -> float:
        """Add calls and all that they called; return how long those that are operators took, in seconds."""
        took_s = 0.0
        for call in calls:
            if call.name.startswith(MARK):
                took_s += self.add(call.cpu_children, parent, call.name.removeprefix(MARK))
            elif "::" not in call.name:
                took_s += self.add(call.cpu_children, parent, stage)
            else:
                took_s += self._operator(call, parent, stage)
        return took_s

    def events(self) -> Iterator[Event]:
        """Yield an event for each node, parents before their children."""
        for node in self._nodes:
            figures = {name: round(getattr(node, name), 9) for name in ("self_s", "total_s", "device_s")}
            yield {"event": "operator", **node.fields, "calls": node.calls, **figures} | {
                "allocated_bytes": node.allocated_bytes
            }

    def _operator(self, call: Any, parent: int | None, stage: str | None) -> float:
        shapes, dtypes, arguments = _plain(call.structured_input_shapes), list(call.input_dtypes), _arguments(call)
        home = self._roots if parent is None else self._nodes[parent].children
        key = f"{stage} {call.name} {shapes} {dtypes} {arguments}"
        if key not in home:
            home[key] = len(self._nodes)
            place = {"node": len(self._nodes), "parent": parent, "stage": stage, "name": call.name}
            self._nodes.append(_Node(place | {"shapes": shapes, "dtypes": dtypes, "arguments": arguments}))
        number = home[key]
        node, total_s = self._nodes[number], float(call.cpu_time_total) * S_PER_US
        node.calls += 1
        node.total_s += total_s
        node.device_s += call.device_time_total * S_PER_US
        node.allocated_bytes += max(0, call.cpu_memory_usage) + max(0, call.device_memory_usage)
        node.self_s += max(0.0, total_s - self.add(call.cpu_children, number, stage))
        return total_s


def _on_host(event: Any) -> bool:
    return str(event.device_type).endswith(".CPU")


def _on_device(events: Iterable[Any]) -> Iterator[Event]:
    """Yield `kernel` and `transfer` events, alike made one."""
    kernels: dict[str, Event] = {}
    transfers: dict[str, Event] = {}
    for event in events:
        if event.is_user_annotation:
            continue
        duration_s = event.time_range.elapsed_us() * S_PER_US
        if event.name.startswith(MEMCPY):
            kind = event.name.split()[1]
            one = transfers.setdefault(kind, {"event": "transfer", "kind": kind, "calls": 0, "bytes": 0, "device_s": 0})
            one["bytes"] += (event.event_metadata and event.event_metadata.bytes) or 0
        else:
            one = kernels.setdefault(event.name, {"event": "kernel", "name": event.name, "calls": 0, "device_s": 0})
        one["calls"] += 1
        one["device_s"] += duration_s
    yield from transfers.values()
    yield from kernels.values()


def _plain(value: Any) -> Any:
    """Return shapes as lists of whole numbers, which JSON keeps."""
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else int(value)


def _arguments(call: Any) -> Sequence[Any]:
    """Return the arguments that are no tensors, as far as they are numbers, words or lists of numbers."""
    return [_kept(value) for value in call.concrete_inputs]


def _kept(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_kept(part) for part in value]
    if isinstance(value, float):
        return None  # NaN or infinite, perhaps; nothing counts by it, and calls that differ in it alone are alike
    return value if isinstance(value, bool | int | str) else None
