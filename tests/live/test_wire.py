"""Events and errors on their way between processes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from auricle.errors import EngineError, UnsupportedError
from auricle.live.events import Failed, Final, Partial
from auricle.live.wire import EventPacker, EventReader, encode, portable
from auricle.transcript import Word

if TYPE_CHECKING:
    from auricle.live.events import Event


def words(*texts: str) -> tuple[Word, ...]:
    return tuple(Word(text, index / 2, index / 2 + 0.5, 0.9) for index, text in enumerate(texts))


def test_events_are_read_as_they_were_packed_though_known_words_are_not_sent_again() -> None:
    events: list[Event] = [
        Partial("a", words("a"), 0, (), 0.5),
        Partial("a b", words("a", "b"), 1, ("a",), 1.0),
        Partial("a c d", words("a", "c", "d"), 1, (), 1.5),
        Final("a c", words("a", "c"), 0.0, 2.0, None),
        Partial("", (), 0, (), 2.1),
        Failed(EngineError("what", 1, "remedy")),
    ]
    packer, reader = EventPacker(), EventReader()
    read = [reader.read(packer.pack(event)) for event in events]
    assert read[:-1] == events[:-1]
    assert isinstance(read[-1], Failed)
    assert str(read[-1].error) == "what: 1 (hint: remedy)"
    fresh = EventPacker()
    first, again = (len(encode([fresh.pack(events[2])])) for _ in range(2))
    assert again < first


def test_an_error_that_cannot_be_pickled_is_told_in_words() -> None:
    told = portable(UnsupportedError("what", threading.Lock(), "remedy"))
    assert type(told) is EngineError
    assert str(told).startswith("what: <unlocked _thread.lock")
