"""Deepgram's `/v1/listen`: binary 16-bit samples out, `Results` with the stretch of audio that they cover back.

Not Deepgram's: `stamps` in the metadata of `Results`, the server's own times (see `auricle.bench.live.split`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.client.connection import Address
from auricle.client.dialects.base import Ended, Signal, Target, WireEncoding, malformed, parse, with_query
from auricle.client.errors import ServerError
from auricle.client.events import Heard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PATH = "/v1/listen"


class Deepgram:
    """One stream; the server closes it with `Metadata` after `CloseStream`."""

    encoding: WireEncoding = "s16le"
    default_rate = 16_000
    ready_at_open = True

    def __init__(self, target: Target, rate: int) -> None:
        self._target = target
        self._rate = rate

    def address(self) -> Address:
        """Everything is asked for in the query; the key goes into `Authorization: Token`."""
        target = self._target
        query = {
            "encoding": "linear16",
            "sample_rate": str(self._rate),
            "channels": "1",
            "interim_results": "true",
            **({} if target.model is None else {"model": target.model}),
            **({} if target.language is None else {"language": target.language}),
            **({"endpointing": "false"} if target.endpoints is False else {}),
        }
        keys = [] if target.key is None else [("Authorization", f"Token {target.key}")]
        return Address(with_query(target, **query), [*target.headers, *keys])

    def opening(self) -> Sequence[str | bytes]:
        """Nothing needs to be said first."""
        return ()

    def audio(self, chunk: bytes) -> bytes:
        """Samples are sent as they are."""
        return chunk

    def ending(self) -> Sequence[str]:
        """Ask for what is left and for the end."""
        return ('{"type":"CloseStream"}',)

    def read(self, message: str | bytes) -> Iterable[Signal]:
        """Results are partials or finals; other types, such as SpeechStarted, say nothing about the text."""
        value = parse(message)
        kind = value.get("type")
        if kind == "Results":
            try:
                text = value["channel"]["alternatives"][0]["transcript"]
                audio_s = float(value["start"] + value["duration"])
                stamps = (value.get("metadata") or {}).get("stamps")
                times = None if stamps is None else {name: float(at_s) for name, at_s in stamps.items()}
                return (Heard(text, value["is_final"] is True, audio_s, times),)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise malformed(message) from error
        if kind == "Metadata":
            return (Ended(),)
        if kind == "Error" or "err_code" in value:
            raise ServerError("the server failed the stream", value.get("description") or message)
        if not isinstance(kind, str):
            raise malformed(message)
        return ()
