"""The remote engine with servers that misbehave: what is tried again, what is told, and that a key goes nowhere."""

from __future__ import annotations

import asyncio
import email.utils
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle import cli
from auricle.audio import Audio
from auricle.bench.arms import parse_arm
from auricle.engines import remote
from auricle.engines.contract import Feed, LoadOptions, StreamFailure, StreamOptions, TranscribeOptions
from auricle.engines.loading import LoadRequest, load
from auricle.engines.remote_address import KEY, read_address
from auricle.engines.remote_files import RemoteRecognizer
from auricle.engines.remote_retry import Budget, asked_pause_s, exhausted_s
from auricle.errors import CancelledError, EngineError, ModelError, UnsupportedError, UsageError
from auricle.trace import Tracer
from tests.client.servers import Planted as LivePlanted
from tests.client.servers import serving
from tests.engines.remote_servers import Planted, Reply, planted_server, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auricle.transcript import Transcript

SECRET = "sk-planted-0123456789"  # noqa: S105  a planted key
PLAIN = TranscribeOptions()
ONE = Audio(np.zeros(16_000, np.float32), 16_000, "one")


def recogniser(place: str, more: str = "") -> RemoteRecognizer:
    options = LoadOptions(address=f"http://{place}/v1#model=toy&connect_s=2{more}", device="remote")
    loaded = remote.ENGINE.load(options, Tracer())
    assert isinstance(loaded, RemoteRecognizer)
    return loaded


def ask(planted: Planted, more: str = "", options: TranscribeOptions = PLAIN) -> Transcript:
    with planted_server(planted) as place:
        loaded = recogniser(place, more)
        try:
            (transcript,) = loaded.transcribe([ONE], options)
        finally:
            planted.over.set()
            loaded.unload()
    return transcript


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(status: int) -> None:
    planted = Planted([Reply(status, "busy", {"Retry-After": "1"}), Reply()])
    assert ask(planted).text == "hello"
    first, second = (asked[0] for asked in planted.asked)
    assert 1.0 <= second - first < 3.0


def test_a_rate_limit_that_is_used_up_is_waited_for() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "500ms"}
    planted = Planted([Reply(headers=headers), Reply()])
    with planted_server(planted) as place:
        loaded = recogniser(place)
        for _ in range(2):
            loaded.transcribe([ONE], PLAIN)
        loaded.unload()
    assert planted.asked[1][0] - planted.asked[0][0] >= 0.5


@pytest.mark.parametrize(
    ("reply", "more", "found"),
    [
        (Reply(429, "busy", {"Retry-After": "3600"}), "", r"no room.*asks to wait 3600\.0 s.*#retry_s="),
        (Reply(503, "busy"), "&retries=0", "no room.*HTTP 503"),
        (Reply(500, '{"error": {"message": "broken"}}'), "", r"failed the request.*HTTP 500 broken"),
        (Reply(hang_s=30), "&answer_s=0.3", r"did not answer.* in 0\.3 s"),
        (Reply(body="{garbage"), "", "no transcript.*garbage"),
        (Reply(body='{"no": "text"}'), "", "no transcript"),
        (Reply(body='{"text": 5}'), "", "no transcript"),
        (Reply(307, "", {"Location": "http://elsewhere.test/"}), "", r"and the key, elsewhere.*elsewhere\.test"),
        (Reply(401, '{"error": {"message": "bad key {authorization}"}}'), "", f"not accept the key.*bad key.*{KEY}"),
    ],
)  # fmt: skip
def test_what_a_server_does_wrong_is_told_once(
    reply: Reply, more: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    planted = Planted([reply])
    with pytest.raises(EngineError, match=found) as caught:
        ask(planted, more)
    assert len(planted.asked) == 1
    assert SECRET not in str(caught.value)
    assert planted.asked[0][1]["Authorization"] == f"Bearer {SECRET}"


def test_a_request_that_the_server_refuses_is_unsupported() -> None:
    body = '{"error": {"message": "no prompts here", "param": "prompt"}}'
    with pytest.raises(UnsupportedError, match="no prompts here"):
        ask(Planted([Reply(400, body)]), "&can=prompt", TranscribeOptions(prompt="x"))


def test_word_times_that_do_not_come_are_missed() -> None:
    with pytest.raises(UnsupportedError, match="gives no word times"):
        ask(Planted([Reply()]), "&can=word_times", TranscribeOptions(word_times=True))


@pytest.mark.parametrize("start", ['"soon"', "null", "NaN"])
def test_word_times_that_are_none_are_an_error(start: str) -> None:
    body = f'{{"text": "a", "words": [{{"word": "a", "start": {start}, "end": 1}}]}}'
    with pytest.raises(EngineError, match="words"):
        ask(Planted([Reply(body=body)]), "&can=word_times", TranscribeOptions(word_times=True))


def test_everything_that_is_asked_for_is_sent_and_what_comes_back_is_read() -> None:
    planted = Planted([Reply(body=words("hello", "there"))])
    options = TranscribeOptions(language="en", word_times=True, prompt="greetings", keywords=("a", "b"))
    transcript = ask(planted, "&can=word_times,language,prompt,keywords", options)
    assert (transcript.text, transcript.language) == ("hello there", "en")
    assert [word.end for word in transcript.words] == [0.5, 1.0]
    body = planted.asked[0][2].split(b"audio.wav")[0].decode()
    fields = ("toy", "verbose_json", "word", "en", "greetings", "a", "b")
    assert [part.split("\r\n")[0] for part in body.split("\r\n\r\n")[1:]] == list(fields)


def test_a_server_that_is_not_there_is_tried_within_the_budget() -> None:
    with planted_server(Planted([Reply()])) as place:
        pass
    start_s = time.monotonic()
    with pytest.raises(EngineError, match="cannot be reached"):
        recogniser(place, "&retries=1")
    assert 0.2 < time.monotonic() - start_s < 3.0


def test_cancelling_hangs_up() -> None:
    planted = Planted([Reply(hang_s=30)])
    with planted_server(planted) as place:
        loaded = recogniser(place)
        cancel = threading.Event()
        threading.Timer(0.2, cancel.set).start()
        start_s = time.monotonic()
        with pytest.raises(CancelledError):
            loaded.transcribe([ONE] * 20, PLAIN, cancel)
        loaded.unload()
        assert time.monotonic() - start_s < 2.0
        assert len(planted.asked) <= loaded.info.workers


def test_a_model_that_the_server_does_not_list_is_refused_and_the_only_one_is_taken() -> None:
    with planted_server(Planted([Reply()])) as place:
        address = f"http://{place}/v1"
        with pytest.raises(ModelError, match=r"no such model: other .*it lists toy"):
            remote.ENGINE.load(LoadOptions(address=f"{address}#model=other", device="remote"), Tracer())
        loaded = load(LoadRequest("remote", address), Tracer())
        assert loaded.info.name == f"toy at {address}"
        loaded.unload()


@pytest.mark.parametrize("models", [Reply(404), Reply(body='{"data": [{"id": "a"}, {"id": "b"}]}')])
def test_one_of_several_models_must_be_named(models: Reply) -> None:
    with planted_server(Planted([Reply()], models)) as place, pytest.raises(ModelError, match="#model="):
        remote.ENGINE.load(LoadOptions(address=f"http://{place}", device="remote"), Tracer())


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://example.test/v1", "in the clear.*#plain=example.test"),
        ("ws://example.test/v1/listen", "in the clear"),
        ("https://user:pass@example.test/v1", "key in an address"),
        ("wss://example.test/?api_key=abc", "key in an address"),
        ("https://example.test/v1#modle=x", "no such option: modle"),
        ("https://example.test/v1#answer_s=soon", "above zero: soon"),
        ("https://example.test/v1#slots=0", "above zero"),
        ("https://example.test/v1#can=sing", "no such ability: sing"),
        ("https://example.test/v1#dialect=sherpa", "no such dialect"),
        ("wss://example.test/#dialect=openai-http", "no such dialect"),
        ("wss://example.test/v1/listen#can=word_times", "live stream cannot"),
        ("wss://example.test/#model=x", "can ask for nothing"),
        ("ftp://example.test/", "not the address of a server"),
        ("https://example.test:port/", "not an address"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address: str, found: str) -> None:
    with pytest.raises(UsageError, match=found) as caught:
        read_address(address)
    assert "pass@" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, f"{SECRET}\nX-Other: 1")
    with planted_server(Planted([Reply()])) as place, pytest.raises(UsageError, match=KEY) as caught:
        recogniser(place)
    assert SECRET not in str(caught.value)


def test_a_host_may_be_named_for_plain_http() -> None:
    assert read_address("http://example.test/v1#plain=example.test").url == "http://example.test/v1"


def test_an_arm_may_be_an_address() -> None:
    address = "http://127.0.0.1:8000/v1#model=whisper-1"
    assert parse_arm(f"remote:{address}") == LoadRequest("remote", address)
    assert parse_arm(f"remote:{address}").label == f"remote:{address}"


def test_an_address_is_for_the_remote_engine_alone() -> None:
    with pytest.raises(UsageError, match="use the engine remote"):
        load(LoadRequest("null", "https://example.test/v1"), Tracer())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": email.utils.formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after": "later"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}, 90.0),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "1m30s"}, None),
        ({}, None),
    ],
)
def test_the_pause_that_a_server_asks_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_pause_s(headers, 1_000_000.0) == seconds


def test_the_usual_pauses_grow_until_the_budget_is_spent() -> None:
    budget = Budget(tries=20, seconds=40.0)
    pauses = []
    while (pause_s := budget.spend(None)) is not None:
        pauses.append(pause_s)
    assert sum(pauses) <= 40
    assert all(0.25 * 2**place <= pause_s <= 0.5 * 2**place for place, pause_s in enumerate(pauses))
    assert exhausted_s({"x-ratelimit-remaining-requests": "0"}) is None


def test_the_key_is_in_no_file_of_a_run_and_not_in_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    monkeypatch.setenv("AURICLE_RUNS", str(tmp_path))
    planted = Planted([Reply(401, '{"error": {"message": "no: {authorization}"}}'), Reply()])
    with planted_server(planted) as place:
        arm = f"remote:http://{place}/v1#model=toy"
        command = [
            "bench",
            "offline",
            "--engine",
            arm,
            "--corpus",
            "demo-digits",
            "--limit",
            "2",
            "--runs",
            "1",
            "--warmup",
            "1",
        ]
        cli.run(command)
    said = capfd.readouterr()
    assert len(planted.asked) >= 2
    assert planted.asked[0][1]["Authorization"] == f"Bearer {SECRET}"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b"/v1#model=toy" in file.read_bytes() for file in files)
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert SECRET not in said.out + said.err


@pytest.fixture
def live_place() -> Iterator[tuple[LivePlanted, str]]:
    """A planted live server in a thread."""
    planted, ready, over = LivePlanted(), threading.Event(), threading.Event()
    found: list[str] = []

    async def main() -> None:
        async with serving("sherpa", planted) as address:
            found.append(address)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(5)
    yield planted, found[0]
    over.set()
    thread.join()


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ({"close_at": 1}, "closed"),
        ({"says": ["{garbage"]}, "not of this dialect"),
        ({"endless": True}, "did not finish"),
    ],
)
def test_a_live_server_that_fails_fails_its_stream_alone(
    live_place: tuple[LivePlanted, str], fault: dict[str, object], found: str
) -> None:
    planted, address = live_place
    for name, value in fault.items():
        setattr(planted, name, value)
    loaded = load(LoadRequest("remote", f"{address}#answer_s=0.5&retries=0"), Tracer())
    stream = loaded.open(StreamOptions())  # type: ignore[attr-defined]  # live, as the address says
    (first,) = loaded.step([Feed(stream, np.zeros(1600, np.float32))])  # type: ignore[attr-defined]
    time.sleep(0.1)
    if not isinstance(first, StreamFailure):
        (first,) = loaded.step([Feed(stream, np.zeros(1600, np.float32), is_last=True)])  # type: ignore[attr-defined]
    loaded.unload()
    assert isinstance(first, StreamFailure)
    assert found in str(first.error)


def test_a_live_server_without_room_is_told(
    live_place: tuple[LivePlanted, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted, address = live_place
    planted.refuse, planted.body = 429, f"no room for {SECRET}"
    monkeypatch.setenv(KEY, SECRET)
    loaded = load(LoadRequest("remote", f"{address}#retries=1"), Tracer())
    with pytest.raises(EngineError, match=r"no room.*\[key\]"):
        loaded.open(StreamOptions())  # type: ignore[attr-defined]  # live, as the address says
    loaded.unload()
    assert len(planted.requests) == 2
