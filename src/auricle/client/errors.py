"""What a server can do to a client."""

from __future__ import annotations

from auricle.errors import AuricleError


class ServerError(AuricleError, RuntimeError):
    """A server could not be reached, broke its protocol, or failed a stream."""


class RefusedError(AuricleError, RuntimeError):
    """A server did not let a stream in; `retry_after_s` is when it may be tried again, None when it did not say."""

    def __init__(self, what: str, value: object = None, retry_after_s: float | None = None) -> None:
        is_told = retry_after_s is None or "try again" in str(value)
        super().__init__(what, value, None if is_told else f"try again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s
