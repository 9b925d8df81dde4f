"""The facts that the server tells of itself, and the life of its hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

import auricle
from auricle.engines.contract import StreamOptions
from auricle.live.admission import RefusedError
from tests.serve.recordings import GatedRecognizer

if TYPE_CHECKING:
    from auricle.live.session import Session
    from tests.serve.conftest import Running, Start

WAIT_S = 60


def open_session(server: Running) -> Session:
    hub = server.service.hub
    assert hub is not None
    return asyncio.run_coroutine_threadsafe(hub.open(StreamOptions()), hub._loop).result(WAIT_S)


def test_the_server_is_ready_once_it_listens(server: Running) -> None:
    answer = httpx.get(f"{server.url}/ready", timeout=WAIT_S)
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_health_tells_what_really_runs(server: Running) -> None:
    health = httpx.get(f"{server.url}/health", timeout=WAIT_S).json()
    assert (health["status"], health["version"]) == ("ok", auricle.__version__)
    model = health["model"]
    assert (model["engine"], model["name"], model["device"], model["precision"]) == ("null", "null", "cpu", "fp32")
    assert model["provider"] is None
    assert model["features"] == ["language", "word_times"]
    assert health["files"] == {"open": 0, "limit": 32}
    assert health["live"]["streams"] == 0
    assert health["live"]["slots"] == 100_000
    assert health["live"]["max_duty"] == 0.8
    assert health["live"]["capacity"].keys() == {"80", "100", "160", "560", "1120"}


def test_health_counts_live_streams(start: Start) -> None:
    server = start(max_streams=1, admission=False)
    open_session(server)
    live = httpx.get(f"{server.url}/health", timeout=WAIT_S).json()["live"]
    assert (live["streams"], live["max_streams"], live["max_duty"]) == (1, 1, None)
    with pytest.raises(RefusedError):
        open_session(server)
    assert 'auricle_refusals_total{reason="streams"} 1.0' in httpx.get(f"{server.url}/metrics", timeout=WAIT_S).text


def test_admission_knows_the_engine_before_the_first_stream(start: Start) -> None:
    capacity = httpx.get(f"{start(calibrate=True).url}/health", timeout=WAIT_S).json()["live"]["capacity"]
    assert all(streams > 0 for streams in capacity.values())
    assert set(httpx.get(f"{start().url}/health", timeout=WAIT_S).json()["live"]["capacity"].values()) == {None}


def test_an_engine_without_live_streams_has_no_hub(start: Start) -> None:
    server = start(GatedRecognizer())
    assert server.service.hub is None
    assert httpx.get(f"{server.url}/health", timeout=WAIT_S).json()["live"] is None


def test_models_are_listed_under_their_names(server: Running) -> None:
    listed = httpx.get(f"{server.url}/v1/models", timeout=WAIT_S).json()
    assert listed["object"] == "list"
    assert listed["data"] == [httpx.get(f"{server.url}/v1/models/null", timeout=WAIT_S).json()]
    missing = httpx.get(f"{server.url}/v1/models/other", timeout=WAIT_S)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_every_answer_has_a_number_and_no_server_name(server: Running) -> None:
    first, second = (httpx.get(f"{server.url}/ready", timeout=WAIT_S).headers for _ in range(2))
    assert first["x-request-id"] != second["x-request-id"]
    assert "server" not in first
