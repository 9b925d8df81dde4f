"""One stream: all audio once and in order, latency from the due time, and a record that tells how it ended."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from auricle.client.clips import Clip, make_clip
from auricle.client.dialects.base import Target
from auricle.client.pacing import Schedule
from auricle.client.stream import new_record, run
from auricle.errors import UsageError
from tests.client.leaping import run_leaping
from tests.client.servers import Planted, noise, serving, speaking

if TYPE_CHECKING:
    from auricle.audio import Audio
    from auricle.client.events import StreamRecord
    from tests.client.leaping import LeapingLoop

DIALECTS = ("deepgram", "sherpa", "openai-realtime")
SLACK_S = 0.002
"""Timers count in milliseconds, rounded up; nothing else takes time here."""


def play(
    dialect: str,
    planted: Planted,
    audio: Audio,
    speed: float | None = None,
    cancel_after_s: float | None = None,
    **target: Any,
) -> tuple[StreamRecord, Clip]:
    """Play audio in chunks of 100 ms to a server that behaves as planted."""

    async def main(loop: LeapingLoop) -> tuple[StreamRecord, Clip]:
        async with serving(dialect, planted) as url:
            wanted = Target(url=url, dialect=dialect, **target)
            clip = make_clip(audio, wanted)
            schedule = Schedule(clip.samples, clip.rate, clip.rate // 10, speed)
            record = new_record(wanted, clip, schedule)
            task = asyncio.create_task(run(wanted, clip, schedule, record, clock=loop.time))
            if cancel_after_s is not None:
                await asyncio.sleep(cancel_after_s)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                await task
            for _ in range(100):
                if planted.refuse or planted.closed_by_client:
                    break
                await asyncio.sleep(0.01)
            return record, clip

    return run_leaping(main)


@pytest.mark.parametrize("speed", [None, 20.0])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_sample_is_sent_once_and_in_order(dialect: str, speed: float | None) -> None:
    planted = Planted()
    record, clip = play(dialect, planted, noise(2.03), speed)
    assert record.outcome == "complete", record.error
    assert planted.audio == clip.pcm
    assert len(record.sent_s) == len(record.due_s) == len(planted.received) == 21


def test_16_bit_samples_arrive_as_they_were() -> None:
    planted, audio = Planted(), noise(0.5)
    play("deepgram", planted, audio)
    assert np.array_equal(np.frombuffer(planted.audio, "<i2") / np.float32(32768), audio.samples)


def test_float_samples_arrive_as_they_were() -> None:
    planted, audio = Planted(), noise(0.5)
    play("sherpa", planted, audio)
    assert np.array_equal(np.frombuffer(planted.audio, "<f4"), audio.samples)


def test_openai_is_sent_its_own_rate() -> None:
    planted = Planted()
    record, _ = play("openai-realtime", planted, noise(1.0))
    assert record.rate == 24_000
    assert len(planted.audio) == 2 * 24_000


@pytest.mark.parametrize(
    ("dialect", "text"), [("deepgram", "n10"), ("sherpa", "n4 n8 n10"), ("openai-realtime", "d4 d4 d2")]
)
def test_the_text_is_what_was_said_for_good(dialect: str, text: str) -> None:
    record, _ = play(dialect, Planted(), noise(1.0))
    assert record.text == text


def test_a_commit_of_nothing_ends_a_session_whose_items_are_all_completed() -> None:
    planted = Planted()
    record, _ = play("openai-realtime", planted, noise(0.8))
    assert record.outcome == "complete", record.error
    assert record.text == "d4 d4"
    assert len(planted.received) == 8


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_known_delay_is_measured_from_the_due_time(dialect: str) -> None:
    record, _ = play(dialect, Planted(delay_s=0.02), noise(1.0), speed=1.0)
    answers = [at_s for at_s, is_final in zip(record.heard_s, record.is_final, strict=True) if not is_final]
    latency = np.array(answers) - np.array(record.due_s)
    assert len(latency) == 10
    assert latency.min() >= 0.02
    assert latency.max() < 0.02 + SLACK_S


def test_a_server_that_stalls_shows_as_latency_and_the_client_stays_on_its_schedule() -> None:
    record, _ = play("deepgram", Planted(stall_at=5, stall_s=0.5), noise(1.5), speed=1.0)
    sent, due = np.array(record.sent_s), np.array(record.due_s)
    latency = np.array(record.heard_s[:15]) - due
    assert (sent - due).max() < SLACK_S
    assert due[-1] - due[0] == pytest.approx(1.4, abs=1e-6)
    assert latency[3] < SLACK_S
    assert latency[4:7] == pytest.approx([0.5, 0.4, 0.3], abs=SLACK_S)
    assert latency[-1] < SLACK_S


def test_chunks_that_the_server_did_not_read_are_marked_and_sent_late() -> None:
    audio = noise(150.0)
    record, clip = play("sherpa", planted := Planted(stall_at=2, stall_s=1.2), audio, speed=100.0)
    assert record.outcome == "complete", record.error
    assert planted.audio == clip.pcm
    late = np.array(record.sent_s) - np.array(record.due_s)
    assert record.held
    assert late[np.array(record.held)].max() > SLACK_S
    assert np.delete(late, np.array(record.held)).max() < SLACK_S


def test_partials_tell_which_audio_they_cover_where_the_dialect_does() -> None:
    record, _ = play("deepgram", Planted(), noise(0.5))
    assert list(record.covered_s[:5]) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    record, _ = play("sherpa", Planted(), noise(0.5))
    assert np.isnan(record.covered_s).all()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_refusal_is_told_apart_from_a_failure(dialect: str) -> None:
    body = json.dumps({"error": {"message": "full", "retry_after": 7}})
    record, _ = play(dialect, Planted(refuse=503, body=body), noise(0.5))
    assert (record.outcome, record.retry_after_s) == ("refused", 7.0)
    assert record.error == "the server has no room: HTTP 503 full (hint: try again in 7 s)"
    assert (record.ready_s, record.close_code, len(record.sent_s)) == (None, None, 0)


def test_the_header_says_when_to_come_back() -> None:
    record, _ = play("deepgram", Planted(refuse=429, headers={"Retry-After": "3"}), noise(0.5))
    assert (record.outcome, record.retry_after_s) == ("refused", 3.0)


def test_a_server_that_says_try_again_later_before_any_text_refuses() -> None:
    record, _ = play("sherpa", Planted(close_at=1, close_code=1013), noise(0.5), speed=1.0)
    assert (record.outcome, record.close_code) == ("refused", 1013)


def test_an_error_event_of_no_room_is_a_refusal() -> None:
    error = {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "full", "retry_after": 4}}
    record, _ = play("openai-realtime", Planted(says=[json.dumps(error)]), noise(0.5))
    assert (record.outcome, record.retry_after_s) == ("refused", 4.0)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_any_other_answer_to_the_handshake_is_a_failure(status: int) -> None:
    record, _ = play("deepgram", Planted(refuse=status, body="planted reason"), noise(0.5))
    assert record.outcome == "failed"
    assert f"HTTP {status} planted reason" in (record.error or "")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_connection_closed_in_the_middle_is_a_failure_with_its_code(dialect: str) -> None:
    record, _ = play(dialect, Planted(close_at=3, close_code=1011), noise(1.0), speed=2.0)
    assert (record.outcome, record.close_code) == ("failed", 1011)
    assert "planted" in (record.error or "")
    assert 0 < len(record.sent_s) < 10


@pytest.mark.parametrize("message", ["{", "[]", '{"text":1}', '{"type":5}', b"\xff\xfe", '{"type":"Results"}', "\x00"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_malformed_message_is_a_failure(dialect: str, message: str | bytes) -> None:
    if dialect == "openai-realtime" and message == '{"type":"Results"}':
        message = '{"type":"conversation.item.input_audio_transcription.delta"}'
    record, _ = play(dialect, Planted(says=[message]), noise(0.3))
    assert record.outcome == "failed"
    assert "not of this dialect" in (record.error or "")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_that_never_finishes_is_a_failure(dialect: str) -> None:
    record, _ = play(dialect, Planted(endless=True), noise(0.3), finish_s=0.3)
    assert record.outcome == "failed"
    assert "did not finish" in (record.error or "")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cancelled_stream_lets_go_and_keeps_its_record(dialect: str) -> None:
    planted = Planted()
    record, _ = play(dialect, planted, noise(5.0), speed=1.0, cancel_after_s=0.55)
    assert record.outcome == "cancelled"
    assert 2 <= len(record.sent_s) <= 6
    assert record.closed_s is not None
    assert planted.closed_by_client


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_record_holds_every_event_in_order(dialect: str) -> None:
    record, _ = play(dialect, Planted(), noise(0.5), speed=5.0)
    events = record.events()
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["connect", "ready"]
    assert kinds[-1] == "closed"
    assert kinds.index("end_of_audio") > max(i for i, kind in enumerate(kinds) if kind == "audio_sent")
    assert (kinds.count("audio_due"), kinds.count("audio_sent")) == (5, 5)
    assert kinds.count("partial") + kinds.count("final") == len(record.texts)
    assert [event["at_s"] for event in events] == sorted(event["at_s"] for event in events)
    assert json.loads(json.dumps(events)) == events
    assert pickle.loads(pickle.dumps(record)).events() == events  # noqa: S301  our own


def test_a_complete_stream_says_goodbye() -> None:
    planted = Planted()
    record, _ = play("openai-realtime", planted, noise(0.3))
    assert planted.closed_by_client == [1000]
    assert record.close_code == 1000


@pytest.mark.parametrize(
    ("dialect", "header"), [("deepgram", "Token k"), ("sherpa", "Bearer k"), ("openai-realtime", "Bearer k")]
)
def test_key_headers_and_query_reach_the_server(dialect: str, header: str) -> None:
    planted = Planted()
    play(dialect, planted, noise(0.1), key="k", headers=(("X-Run", "7"),), query=(("tag", "a b"),))
    (request,) = planted.requests
    assert request.headers["Authorization"] == header
    assert request.headers["X-Run"] == "7"
    assert "tag=a+b" in request.path


def test_deepgram_is_asked_in_the_query() -> None:
    planted = Planted()
    play("deepgram", planted, noise(0.1), model="m", language="en", endpoints=False)
    for wanted in ("encoding=linear16", "sample_rate=16000", "model=m", "language=en", "endpointing=false"):
        assert wanted in planted.requests[0].path


def test_openai_is_asked_in_the_session() -> None:
    planted = Planted()
    play("openai-realtime", planted, noise(0.1), model="m", language="en", endpoints=False)
    (audio,) = [json.loads(text)["session"]["audio"]["input"] for text in planted.texts[:1]]
    assert audio["format"] == {"type": "audio/pcm", "rate": 24000}
    assert audio["transcription"] == {"model": "m", "language": "en"}
    assert audio["turn_detection"] is None


@pytest.mark.parametrize("option", [{"model": "m"}, {"language": "en"}, {"endpoints": True}, {"rate": 8000}])
def test_what_sherpa_cannot_be_asked_for_is_refused_before_connecting(option: dict[str, Any]) -> None:
    planted = Planted()
    with pytest.raises(UsageError):
        play("sherpa", planted, noise(0.1), **option)
    assert not planted.requests


def test_who_observes_hears_each_message_as_it_is_recorded() -> None:
    async def main() -> tuple[StreamRecord, list[tuple[str, float]]]:
        heard: list[tuple[str, float]] = []
        async with serving("deepgram", Planted()) as url:
            target = Target(url=url, dialect="deepgram")
            clip = make_clip(noise(0.3), target)
            schedule = Schedule(clip.samples, clip.rate, 1600)
            record = new_record(target, clip, schedule)
            await run(target, clip, schedule, record, observe=lambda each, at_s: heard.append((each.text, at_s)))
        return record, heard

    record, heard = asyncio.run(main())
    assert heard == list(zip(record.texts, record.heard_s, strict=True))


@pytest.mark.parametrize("data", [b"", b"SSH-2.0-planted\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
def test_what_is_not_a_websocket_is_a_failure(data: bytes) -> None:
    async def main() -> StreamRecord:
        async with speaking(data) as port:
            return await _plain(f"ws://127.0.0.1:{port}/")

    record = asyncio.run(main())
    assert record.outcome == "failed"
    assert record.closed_s is not None


def test_a_server_that_does_not_answer_is_given_up() -> None:
    async def main() -> StreamRecord:
        async with speaking(b"", hang=True) as port:
            return await _plain(f"ws://127.0.0.1:{port}/", connect_s=0.2)

    record = asyncio.run(main())
    assert record.outcome == "failed"
    assert "did not answer" in (record.error or "")


def test_nobody_at_the_address_is_a_failure() -> None:
    async def main() -> StreamRecord:
        async with speaking(b"") as port:
            pass
        return await _plain(f"ws://127.0.0.1:{port}/")

    record = asyncio.run(main())
    assert record.outcome == "failed"
    assert "cannot be reached" in (record.error or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "nonsense", "ws://", ""])
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        asyncio.run(_plain(url))


async def _plain(url: str, **target: Any) -> StreamRecord:
    wanted = Target(url=url, dialect="deepgram", **target)
    clip = make_clip(noise(0.3), wanted)
    schedule = Schedule(clip.samples, clip.rate, 1600)
    record = new_record(wanted, clip, schedule)
    await run(wanted, clip, schedule, record)
    return record
