"""Which level the others are compared with: the unpaced reference only where level 1 said the same."""

from __future__ import annotations

from auricle.bench.live.summary import _base, _Scored
from tests.bench.live_events import level, scored, stream

SAID = [(1.2, 1.0, True, "one two")]
OTHER = [(1.2, 1.0, True, "one too")]


def made(said: list[tuple[float, float, bool, str]], **more: object) -> _Scored:
    own = stream(said)
    return _Scored(level(own, **more), scored(own))


def test_level_1_that_says_what_the_unpaced_reference_said_makes_it_the_base() -> None:
    reference, single = made(SAID, phase="reference", speed=None), made(SAID, level=1)
    told, base, name = _base([reference, single, made(OTHER, level=2, live=2)])
    assert base is reference
    assert name == "reference"
    assert told is not None
    assert told["checked"]["different"] == 0


def test_level_1_that_says_something_else_is_the_base_itself_and_the_difference_is_told() -> None:
    reference, single = made(SAID, phase="reference", speed=None), made(OTHER, level=1)
    told, base, name = _base([reference, single])
    assert base is single
    assert name == "level 1"
    assert told is not None
    assert told["checked"]["different"] == 1


def test_without_a_reference_level_1_is_the_base() -> None:
    single = made(SAID, level=1)
    assert _base([made(OTHER, level=2, live=2), single]) == (None, single, "level 1")


def test_without_level_1_the_reference_is_the_base_unchecked() -> None:
    reference = made(SAID, phase="reference", speed=None)
    told, base, name = _base([reference, made(SAID, level=2, live=2)])
    assert base is reference
    assert name == "reference"
    assert told is not None
    assert told["checked"] is None
