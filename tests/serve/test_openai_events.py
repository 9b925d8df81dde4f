"""Reading append events: the short way to their audio finds what a JSON parser finds, or leaves the message to it."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auricle.errors import AuricleError
from auricle.serve.openai_events import APPEND, MAX_APPEND_CHARACTERS, RequestError, read_audio, read_event

COMPACT, SPACED = (",", ":"), (", ", ": ")
AUDIO = b"\x00\x01\xfe\xff" * 3
BASE64 = base64.b64encode(AUDIO).decode()
PLAIN = f'{{"type":"{APPEND}","audio":"{BASE64}"}}'


def parsed(message: str) -> Any:
    """Return what a parser and a decoder of base64 make of a message: an event with audio, an event, or an error."""
    try:
        event = json.loads(message)
    except ValueError:
        return "invalid_json"
    if not isinstance(event, dict):
        return "invalid_event"
    if event.get("type") == APPEND and isinstance(event.get("audio"), str):
        try:
            event["audio"] = base64.b64decode(event["audio"].encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            event["audio"] = "invalid_base64"
    return event


def read(message: str) -> Any:
    """Return the same by way of the server."""
    try:
        event = read_event(message)
    except RequestError as error:
        return error.code
    if event.get("type") == APPEND and isinstance(event.get("audio"), str | bytes):
        try:
            event["audio"] = read_audio(event["audio"], 1)
        except RequestError as error:
            event["audio"] = error.code
    return event


PIECES = [
    *('{}":, \n\t\\\x00\x7f=+/A-_é\ud800'),
    *('"}', "  ", '\\"', "\\u0041", "\\/", "==", "AA==", "null", BASE64, '"event_id":"1"', '"audio":', '"audio":"'),
    *(f'"type":"{APPEND}"', f'{{"type":"{APPEND}","audio":"', f'{{"type": "{APPEND}", "audio": "', PLAIN),
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@example(f'{{"type":"{APPEND}","audio":"}}')
@example(f'{{"type":"{APPEND}","audio":""}}')
@example(f'{{"type":"{APPEND}","audio":"AAAA","audio":"BBBB"}}')
@example(f'{{"type":"{APPEND}","audio":"AAAA","type":"other"}}')
@example(f'{{"type":"{APPEND}","audio":"AA\\u0041A"}}')
@example(f'{{"type":"{APPEND}","audio":"AA\nAA"}}')
@example(f'{{"type":"{APPEND}","audio":"AAAA"}}\n')
@example(f' {{"type":"{APPEND}","audio":"AAAA"}}')
def test_whatever_comes_is_read_as_a_json_parser_reads_it(message: str) -> None:
    assert read(message) == parsed(message)


@given(st.data())
def test_a_plain_append_with_a_piece_replaced_is_read_as_a_json_parser_reads_it(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(PLAIN)))
    end = data.draw(st.integers(start, min(start + 3, len(PLAIN))))
    message = PLAIN[:start] + data.draw(st.sampled_from(["", *PIECES])) + PLAIN[end:]
    assert read(message) == parsed(message)


@pytest.mark.parametrize("separators", [COMPACT, SPACED])
@given(audio=st.binary(max_size=200))
def test_a_plain_append_holds_its_bytes(separators: tuple[str, str], audio: bytes) -> None:
    event = {"type": APPEND, "audio": base64.b64encode(audio).decode()}
    assert read_event(json.dumps(event, separators=separators)) == {"type": APPEND, "audio": audio}


def test_a_plain_append_may_be_as_large_as_any_other_and_no_larger() -> None:
    most = "A" * MAX_APPEND_CHARACTERS
    assert len(read_audio(read_event(f'{{"type":"{APPEND}","audio":"{most}"}}')["audio"], 2)) == 15 * 1024 * 1024
    with pytest.raises(RequestError, match="too much audio"):
        read_audio(read_event(f'{{"type":"{APPEND}","audio":"{most}AAAA"}}')["audio"], 2)


def test_a_plain_append_of_half_a_sample_is_refused() -> None:
    with pytest.raises(AuricleError, match="cut"):
        read_audio(read_event(f'{{"type":"{APPEND}","audio":"AAAA"}}')["audio"], 2)
