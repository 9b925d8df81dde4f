"""Dialects by name, and which one an address speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auricle.client.dialects import deepgram, openai_realtime
from auricle.client.dialects.deepgram import Deepgram
from auricle.client.dialects.openai_realtime import OpenAIRealtime
from auricle.client.dialects.sherpa import Sherpa
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auricle.client.dialects.base import Dialect

LIVE: Mapping[str, type[Dialect]] = {
    "deepgram": Deepgram,
    "sherpa": Sherpa,
    "openai-realtime": OpenAIRealtime,
}
HTTP = "openai-http"
DIALECTS = (*LIVE, HTTP)


def dialect_of(url: str) -> str:
    """Return the dialect that an address speaks by its path; any other WebSocket is sherpa-onnx's, which has none."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"}:
        return HTTP
    by_path = {deepgram.PATH: "deepgram", openai_realtime.PATH: "openai-realtime"}
    return by_path.get(parts.path.rstrip("/"), "sherpa")


def live(name: str) -> type[Dialect]:
    """Return a WebSocket dialect; raises UsageError for an unknown name."""
    if name not in LIVE:
        raise UsageError("unknown live dialect", name, f"choose one of {', '.join(LIVE)}")
    return LIVE[name]
