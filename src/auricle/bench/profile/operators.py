"""The table of operators, computed from the `operator` events of a profile and what the machine can do at most.

An operator's operations and bytes are counted once, in the innermost call that is known to do them (`addmm`, not the
`linear` around it), and belong to every call around it too: `self_flops` add up to all that was computed, `flops` of a
row holds what it called, as self and total time do.

What bounds a row: the time that its operations would take at the measured peak of their type (compute-bound) or its
bytes at the measured rate of copies (memory-bound), whichever is longer, where that is at least a quarter of the time
that it took. Else it is overhead-bound: calls, small shapes and layouts cost more than the work. Bytes that come from a
cache may be faster than copies, so that a share may exceed one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from auricle.bench.profile.flops import flops, is_counted, moved_bytes, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Event = dict[str, Any]
Bound = Literal["compute", "memory", "overhead"]
EXPLAINED = 0.25
"""A row is bound by what makes up at least this share of its time."""
SCALAR_BYTES = 16
"""Moving less is no work."""


@dataclass(slots=True)
class Work:
    """What was computed, by the type of the factors, and moved."""

    flops: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    bytes: int = 0

    def add(self, other: Work) -> None:
        """Add another's work."""
        for number, count in other.flops.items():
            self.flops[number] += count
        self.bytes += other.bytes


@dataclass(slots=True)
class _Node:
    event: Event
    children: list[_Node] = field(default_factory=list)
    own: Work = field(default_factory=Work)
    work: Work = field(default_factory=Work)
    does_work: bool = False
    """Whether it is the innermost call that does what it does."""


def operators(events: Iterable[Event]) -> dict[str, Any] | None:
    """Return the summary of the operators of a profile; None where they were not looked at."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event["event"]].append(event)
    if found["unobservable"]:
        return {"observable": False, "reason": found["unobservable"][0]["reason"]}
    if not found["calibrated"]:
        return None
    peak = found["calibrated"][0]
    on_device = not str(peak["device"]).startswith("cpu")
    roots = _tree(found["operator"])
    for root in roots:
        _count(root)
    nodes = [node for root in roots for node in _walk(root)]
    rows = _rows(nodes, peak, on_device=on_device)
    total = Work()
    for root in roots:
        total.add(root.work)
    self_s = sum(row["self_s"] for row in rows)
    return {
        "observable": True,
        "peak": {name: peak[name] for name in ("device", "threads", "matmul", "copy_bytes_per_s", "call_s")},
        "rows": rows,
        "self_s": self_s,
        "calls": sum(row["calls"] for row in rows),
        "flops": sum(total.flops.values()),
        "bytes": total.bytes,
        "bound_by": _bound_by(roots, peak, self_s, on_device=on_device),
        "stages": _stages(nodes, self_s, on_device=on_device),
        "kernels": sorted(map(_without_kind, found["kernel"]), key=lambda one: -one["device_s"]),
        "transfers": [_without_kind(one) for one in found["transfer"]],
        **_pace(found["step"]),
    }


def _tree(events: Sequence[Event]) -> list[_Node]:
    nodes = {event["node"]: _Node(event) for event in events}
    top: list[_Node] = []
    for node in nodes.values():
        parent = node.event["parent"]
        (top if parent is None else nodes[parent].children).append(node)
    return top


def _count(node: _Node) -> tuple[bool, bool]:
    """Give a node and those in it their work; return whether any computes something counted, and whether any works."""
    below = [_count(child) for child in node.children]
    computes_below, works_below = any(one for one, _ in below), any(one for _, one in below)
    event = node.event
    name, calls = event["name"], event["calls"]
    counted = None if computes_below else flops(name, event["shapes"], event["arguments"])
    if counted is not None and is_counted(name):
        for child in node.children:
            _forget(child)
        node.own.flops[number_of(name, event["dtypes"]) or "unknown"] = counted * calls
    moved = moved_bytes(name, event["shapes"], event["dtypes"], event["allocated_bytes"] // calls)
    if counted is not None or (not works_below and moved > SCALAR_BYTES):
        node.own.bytes = moved * calls
        node.does_work = True
    node.work.add(node.own)
    for child in node.children:
        node.work.add(child.work)
    return computes_below or counted is not None, works_below or node.does_work


def _forget(node: _Node) -> None:
    """Count nothing for what a product does inside, such as laying out its bias."""
    for one in _walk(node):
        one.own, one.work, one.does_work = Work(), Work(), False


def _walk(node: _Node) -> Iterable[_Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _rows(nodes: Iterable[_Node], peak: Event, *, on_device: bool) -> list[dict[str, Any]]:
    """Return a row for each operator, shapes and stage, the longest in all first."""
    groups: dict[str, list[_Node]] = defaultdict(list)
    for node in nodes:
        event = node.event
        groups[f"{event['stage']} {event['name']} {event['shapes']} {event['dtypes']}"].append(node)
    rows = [_row(group, peak, on_device=on_device) for group in groups.values()]
    self_s = sum(row["self_s"] for row in rows)
    for row in rows:
        row["self_share"] = row["self_s"] / self_s if self_s else 0.0
        row["total_share"] = row["total_s"] / self_s if self_s else 0.0
    return sorted(rows, key=lambda row: -row["total_s"])


def _row(group: Sequence[_Node], peak: Event, *, on_device: bool) -> dict[str, Any]:
    first = group[0].event
    work, own = Work(), Work()
    for node in group:
        work.add(node.work)
        own.add(node.own)
    total_s = sum(_total_s(node, on_device=on_device) for node in group)
    calls = sum(node.event["calls"] for node in group)
    return {
        "stage": first["stage"],
        "name": first["name"],
        "shapes": first["shapes"],
        "dtypes": first["dtypes"],
        "calls": calls,
        "self_s": sum(_self_s(node, on_device=on_device) for node in group),
        "total_s": total_s,
        "mean_s": total_s / calls,
        "flops": sum(work.flops.values()),
        "self_flops": sum(own.flops.values()),
        "bytes": work.bytes,
        "self_bytes": own.bytes,
        **bound(work, total_s, peak),
    }


def bound(work: Work, took_s: float, peak: Mapping[str, Any]) -> dict[str, Any]:
    """Return what bounds work that took so long, and its share of the peak there: of products, of copies.

    A share is None without such work, or without a measured peak for the type of its factors.
    """
    compute_s = _compute_s(work, peak)
    memory_s = work.bytes / peak["copy_bytes_per_s"]
    compute = compute_s / took_s if took_s and compute_s is not None else None
    memory = memory_s / took_s if took_s and work.bytes else None
    longest = max(compute or 0.0, memory or 0.0)
    found: Bound = "overhead"
    if longest >= EXPLAINED:
        found = "compute" if longest == compute else "memory"
    return {"bound": found, "compute_share": compute, "memory_share": memory}


def _compute_s(work: Work, peak: Mapping[str, Any]) -> float | None:
    if not work.flops or any(number not in peak["matmul"] for number in work.flops):
        return None
    return float(sum(count / peak["matmul"][number] for number, count in work.flops.items()))


def _bound_by(roots: Iterable[_Node], peak: Event, self_s: float, *, on_device: bool) -> dict[Bound, float]:
    """Return the share of the time of all operators that each bound has.

    The innermost calls that do something have theirs; all time outside them is overhead.
    """
    shares: dict[Bound, float] = {"compute": 0.0, "memory": 0.0, "overhead": 0.0}
    for node in (one for root in roots for one in _walk(root) if one.does_work):
        took_s = _total_s(node, on_device=on_device)
        shares[bound(node.own, took_s, peak)["bound"]] += took_s / self_s if self_s else 0.0
    shares["overhead"] += 1 - sum(shares.values())
    return shares


def _stages(nodes: Iterable[_Node], self_s: float, *, on_device: bool) -> list[dict[str, Any]]:
    """Return operator time and operations by the stage in which they ran."""
    stages: dict[str | None, dict[str, Any]] = {}
    for node in nodes:
        name = node.event["stage"]
        one = stages.setdefault(name, {"stage": name, "calls": 0, "self_s": 0.0, "flops": 0, "bytes": 0})
        one["calls"] += node.event["calls"]
        one["self_s"] += _self_s(node, on_device=on_device)
        one["flops"] += sum(node.own.flops.values())
        one["bytes"] += node.own.bytes
    return [one | {"share": one["self_s"] / self_s if self_s else 0.0} for one in stages.values()]


def _pace(steps: Iterable[Event]) -> dict[str, Any]:
    """Return how much audio was played and how long the steps took, with torch's profiler at work."""
    watched = [step for step in steps if step["phase"] == "operators"]
    return {
        "steps": len(watched),
        "steps_s": sum(step["step_s"] for step in watched),
        "audio_s": sum(sum(step["fed_s"]) for step in watched),
    }


def _total_s(node: _Node, *, on_device: bool) -> float:
    return float(node.event["device_s"] if on_device else node.event["total_s"])


def _self_s(node: _Node, *, on_device: bool) -> float:
    if not on_device:
        return float(node.event["self_s"])
    return max(0.0, float(node.event["device_s"] - sum(child.event["device_s"] for child in node.children)))


def _without_kind(event: Event) -> Event:
    return {name: value for name, value in event.items() if name not in {"event", "t_s"}}
