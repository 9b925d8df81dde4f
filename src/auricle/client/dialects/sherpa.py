"""The streaming server of sherpa-onnx: binary float samples out, the text of each segment back, `Done` at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.client.connection import Address
from auricle.client.dialects.base import Ended, Signal, Target, WireEncoding, malformed, parse, with_query
from auricle.client.events import Heard
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DONE = "Done!"


class Sherpa:
    """One stream. Its messages do not say which audio they cover.

    A segment is final when the server says so; one that never was is final when the next begins, or at the end, because
    the Python version of that server does not mark it. In the other version the end may overtake the last results: of a
    segment that goes on after it was final only what is new is heard.
    """

    encoding: WireEncoding = "f32le"
    default_rate = 16_000
    ready_at_open = True

    def __init__(self, target: Target, rate: int) -> None:
        if rate != self.default_rate:
            raise UsageError("sherpa-onnx's protocol does not tell the server the rate in Hz", rate, "use 16000")
        for name in ("model", "language", "endpoints"):
            if getattr(target, name) is not None:
                raise UsageError("sherpa-onnx's protocol cannot choose this", name, "set it on the server")
        self._target = target
        self._segment: int | None = None
        self._text = ""
        self._final_text = ""

    def address(self) -> Address:
        """A key goes into `Authorization: Bearer`."""
        keys = [] if self._target.key is None else [("Authorization", f"Bearer {self._target.key}")]
        return Address(with_query(self._target), [*self._target.headers, *keys])

    def opening(self) -> Sequence[str | bytes]:
        """Nothing needs to be said first."""
        return ()

    def audio(self, chunk: bytes) -> bytes:
        """Samples are sent as they are."""
        return chunk

    def ending(self) -> Sequence[str]:
        """Tell that no more audio follows."""
        return ("Done",)

    def read(self, message: str | bytes) -> Iterable[Signal]:
        """Each message holds the text of one segment so far."""
        if message == DONE:
            return (*self._finish(), Ended())
        value = parse(message)
        segment, text = value.get("segment"), value.get("text")
        if not isinstance(segment, int) or not isinstance(text, str):
            raise malformed(message)
        before: tuple[Heard, ...] = ()
        if segment != self._segment:
            before = self._finish()
            self._segment, self._final_text = segment, ""
        self._text = text
        return (*before, self._hear(is_final=value.get("is_final") is True))

    def _hear(self, *, is_final: bool) -> Heard:
        """Return what the open segment holds beyond what of it is final."""
        new = self._text.removeprefix(self._final_text).strip() if self._final_text else self._text
        if is_final:
            self._final_text = self._text
        return Heard(new, is_final)

    def _finish(self) -> tuple[Heard, ...]:
        left = self._hear(is_final=True)
        return (left,) if left.text else ()
