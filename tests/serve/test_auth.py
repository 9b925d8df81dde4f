"""Keys are read from one file, needed from everybody but trusted networks, and never shown."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from auricle.errors import UsageError
from auricle.serve.auth import AuthError, Keys, bearer, is_foreign, read_keys

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serve.conftest import Running, Start

KEY = "k-0123456789abcdef"
OTHER = "k-fedcba9876543210"


def test_without_keys_everybody_may_call() -> None:
    keys = Keys()
    keys.check(None, None)
    keys.check("anything", "203.0.113.9")
    assert not keys.needed


def test_any_of_the_keys_is_good() -> None:
    keys = Keys((KEY, OTHER))
    keys.check(KEY, None)
    keys.check(OTHER, "203.0.113.9")


@pytest.mark.parametrize("key", [None, "", "x", KEY[:-1], KEY + "x", KEY.upper(), "schlüssel", "\udcff"])
def test_no_other_key_is(key: str | None) -> None:
    with pytest.raises(AuthError) as caught:
        Keys((KEY, OTHER)).check(key, "127.0.0.1")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("127.0.0.1", False),
        ("fd00::1", False),
        ("testclient", False),
        (None, False),
    ],
)
def test_a_trusted_network_needs_no_key(address: str | None, trusted: bool) -> None:
    keys = Keys((KEY,), (ip_network("10.0.0.0/8"),))
    if trusted:
        keys.check(None, address)
    else:
        with pytest.raises(AuthError):
            keys.check(None, address)


@pytest.mark.parametrize("content", [[KEY, OTHER], {"alice": KEY, "bob": OTHER}])
def test_the_file_is_a_list_or_names_with_keys(tmp_path: Path, content: object) -> None:
    file = tmp_path / "api-keys.json"
    file.write_text(json.dumps(content))
    assert read_keys(file) == (KEY, OTHER)


@pytest.mark.parametrize(
    "content",
    ["", "\x00", "[]", "{}", "null", f'"{KEY}"', f'["{KEY}"', f'["{KEY}", "short"]', f'["{KEY}", 7]', f'["{KEY}é"]'],
)
def test_a_file_of_anything_else_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    file = tmp_path / "api-keys.json"
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_keys(file)
    assert KEY not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="key file cannot be read"):
        read_keys(tmp_path / "api-keys.json")


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (f"Bearer {KEY}", KEY),
        (f"bearer  {KEY} ", KEY),
        (KEY, None),
        ("Basic Zm9v", None),
        ("Bearer", None),
        (None, None),
    ],
)
def test_the_header_is_a_bearer_header(header: str | None, key: str | None) -> None:
    assert bearer(header) == key


@pytest.mark.parametrize(
    ("origin", "foreign"),
    [
        (None, False),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:8000", True),
        ("http://127.0.0.1:9000", True),
        ("https://evil.example", True),
        ("http://evil.example:8000", True),
        ("null", True),
        ("", True),
        ("http://[", True),
    ],
)
def test_a_page_from_elsewhere_is_foreign(origin: str | None, foreign: bool) -> None:
    headers = {"host": "127.0.0.1:8000"} | ({} if origin is None else {"origin": origin})
    assert is_foreign(Headers(headers)) is foreign


def test_a_page_whose_name_was_bent_to_our_address_is_foreign() -> None:
    assert is_foreign(Headers({"host": "evil.example:8000", "origin": "http://evil.example:8000"}))
    assert not is_foreign(Headers({"host": "localhost:8000", "origin": "http://localhost:8000"}))
    assert not is_foreign(Headers({"host": "[::1]:8000", "origin": "http://[::1]:8000"}))


def test_a_foreign_page_needs_a_key_even_where_its_reader_needs_none() -> None:
    with pytest.raises(AuthError, match="another site"):
        Keys().check(None, "127.0.0.1", foreign=True)
    keys = Keys((KEY,), (ip_network("10.0.0.0/8"),))
    with pytest.raises(AuthError):
        keys.check(None, "10.1.2.3", foreign=True)
    keys.check(KEY, "10.1.2.3", foreign=True)


@pytest.mark.parametrize(
    "path", ["/v1/listen?encoding=linear16&sample_rate=16000", "/", "/v1/realtime?intent=transcription"]
)
def test_a_foreign_page_opens_no_live_stream_on_a_server_without_keys(server: Running, path: str) -> None:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"{server.ws_url}{path}", origin=Origin("https://evil.example")),
    ):
        pass
    assert caught.value.response.status_code == 401
    with connect(f"{server.ws_url}{path}", origin=Origin(server.url)):
        pass


def test_a_foreign_page_uploads_no_file_to_a_server_without_keys(server: Running) -> None:
    url, headers = f"{server.url}/v1/audio/transcriptions", {"Origin": "https://evil.example"}
    answer = httpx.post(url, data={"model": "null"}, files={"file": ("a.wav", b"RIFF")}, headers=headers)
    assert answer.status_code == 401


def test_a_page_that_is_named_needs_no_key(start: Start) -> None:
    server = start(allow_origins=("http://localhost:3000",))
    with connect(f"{server.ws_url}/sherpa", origin=Origin("http://localhost:3000")):
        pass
    with pytest.raises(InvalidStatus), connect(f"{server.ws_url}/sherpa", origin=Origin("http://localhost:3001")):
        pass
