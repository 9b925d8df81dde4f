"""The parts of the time to first token sum to it."""

from __future__ import annotations

import json

import pytest

from auricle.bench.live import latencies
from auricle.bench.live.reading import Message
from auricle.bench.live.split import PARTS, first_token_parts
from auricle.client.dialects.base import Target
from auricle.client.dialects.deepgram import Deepgram
from auricle.client.errors import ServerError
from auricle.client.events import Heard
from tests.bench.live_events import stream

STAMPS = {"received": 5.000, "ready": 5.002, "tick": 5.012, "step": 5.015, "stepped": 5.055, "sent": 5.056}


def test_the_parts_of_a_stream_sum_to_its_time_to_first_token() -> None:
    told = stream([(0.97, 0.9, False, "one"), (2.2, 2.0, True, "one two")])
    first = told.messages[0]
    object.__setattr__(told, "messages", (Message(first.at_s, 0.9, False, "one", STAMPS), *told.messages[1:]))
    few = first_token_parts([told] * 6)
    assert few == {"n": 6} | {f"{name}_ms": None for name in PARTS}  # no median of so few
    found = first_token_parts([told] * 7)
    assert found is not None
    expected = {"speech": 400, "client": 1, "network": 13, "event_loop": 3, "tick_wait": 10, "queue": 3, "compute": 40}
    assert {name: found[f"{name}_ms"] for name in PARTS} == pytest.approx(expected)
    (ttft_s,) = latencies.first_tokens([told], from_onset=True)
    assert sum(expected.values()) == pytest.approx(1000 * ttft_s)


def test_without_stamps_nothing_is_told() -> None:
    assert first_token_parts([stream([(0.97, 0.9, False, "one")]), stream([])]) is None


def results(metadata: object) -> str:
    channel = {"alternatives": [{"transcript": "one"}]}
    return json.dumps(
        {"type": "Results", "start": 0, "duration": 1, "is_final": False, "channel": channel, "metadata": metadata}
    )


def test_stamps_are_read_from_the_metadata_of_a_result() -> None:
    dialect = Deepgram(Target(url="ws://h/", dialect="deepgram"), 16_000)
    (heard,) = dialect.read(results({"stamps": STAMPS}))
    assert isinstance(heard, Heard)
    assert heard.stamps == STAMPS
    (bare,) = dialect.read(results({"request_id": "x"}))
    assert isinstance(bare, Heard)
    assert bare.stamps is None
    with pytest.raises(ServerError):
        dialect.read(results({"stamps": {"received": "soon"}}))
