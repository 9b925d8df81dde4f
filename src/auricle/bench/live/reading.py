"""The raw events of a live run, put together level by level; see `record` for what they hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from auricle.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """Something a stream heard: at a moment of the run, covering the stream up to an offset, None where unknown."""

    at_s: float
    covered_s: float | None
    is_final: bool
    text: str
    stamps: Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream; `pieces` are the utterances that it plays, each with its offset in seconds of recording."""

    event: Event
    pieces: tuple[tuple[Event, float], ...]
    messages: tuple[Message, ...]

    @property
    def outcome(self) -> str:
        """complete, refused, failed or cancelled."""
        return str(self.event["outcome"])

    @property
    def counted(self) -> bool:
        """False when it only kept up the load."""
        return bool(self.event["counted"])

    @property
    def finals(self) -> tuple[Message, ...]:
        """The finals that hold words."""
        return tuple(message for message in self.messages if message.is_final and message.text)

    @property
    def text(self) -> str | None:
        """What was heard for good; None when the stream did not complete, whatever it had heard."""
        return " ".join(message.text for message in self.finals) if self.outcome == "complete" else None

    def captured_s(self, offset_s: float) -> float | None:
        """Return when the sample at an offset was captured; None for a stream without a schedule, or not begun."""
        start_s, speed = self.event["start_s"], self.event["speed"]
        return None if start_s is None or speed is None else float(start_s + offset_s / speed)

    @property
    def chunks(self) -> int:
        """How many chunks its recording has."""
        return -(-int(self.event["samples"]) // int(self.event["chunk"]))


@dataclass(slots=True)
class Level:
    """One level and what belongs to it."""

    event: Event
    streams: list[Stream] = field(default_factory=list)
    clients: list[Event] = field(default_factory=list)
    usage: Event | None = None
    scrapes: dict[str, dict[str, float]] = field(default_factory=dict)
    throttle: Event | None = None

    @property
    def counted(self) -> list[Stream]:
        """The streams that count."""
        return [stream for stream in self.streams if stream.counted]

    @property
    def admitted(self) -> list[Stream]:
        """Those of them that were not refused."""
        return [stream for stream in self.counted if stream.outcome != "refused"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A run: its utterances by id, its arms, and its levels in order."""

    utterances: dict[str, Event]
    arms: list[Event]
    levels: list[Level]


def read(events: Iterable[Event]) -> Recording:
    """Put the events together; a level that was not finished is left out. Raises RecordError for what is malformed."""
    utterances: dict[str, Event] = {}
    programmes: dict[str, tuple[tuple[Event, float], ...]] = {}
    arms: list[Event] = []
    levels: list[Level] = []
    parts: dict[int, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        try:
            kind = event["event"]
            if kind == "utterance":
                utterances[event["id"]] = event
            elif kind == "programme":
                programmes[event["name"]] = tuple((utterances[name], at_s) for name, at_s in event["pieces"])
            elif kind == "arm":
                arms.append(event)
            elif kind == "level":
                levels.append(_level(event, parts.pop(event["level"], {}), programmes))
            elif "level" in event:
                parts[event["level"]][kind].append(event)
        except (LookupError, TypeError) as error:
            raise RecordError("an event is malformed", f"at {event.get('t_s')} s", repr(error)) from error
    return Recording(utterances, arms, levels)


def _level(
    event: Event, parts: Mapping[str, Sequence[Event]], programmes: Mapping[str, tuple[tuple[Event, float], ...]]
) -> Level:
    streams = [
        Stream(told, programmes[told["programme"]], tuple(Message(*message) for message in told["messages"]))
        for told in sorted(parts.get("stream", ()), key=lambda told: told["stream"])
    ]
    return Level(
        event=event,
        streams=streams,
        clients=list(parts.get("client", ())),
        usage=next(iter(parts.get("usage", ())), None),
        scrapes={told["moment"]: told["figures"] for told in parts.get("scrape", ())},
        throttle=next(iter(parts.get("throttle", ())), None),
    )
