"""Keys are read from one file, needed from everybody but trusted networks, and never shown."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from auricle.errors import UsageError
from auricle.serve.auth import AuthError, Keys, bearer, read_keys

if TYPE_CHECKING:
    from pathlib import Path

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
