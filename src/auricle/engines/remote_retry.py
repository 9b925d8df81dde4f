"""When a request to a server is tried again: only where the server did no work, no longer than a budget, as it asks."""

from __future__ import annotations

import random
import re
import threading
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LIMITS = ("requests", "tokens")


def asked_pause_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return how long headers (in lower case) ask to wait: `retry-after`, else until an exhausted limit is reset."""
    text = (headers.get("retry-after") or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now_s, 0.0)
    except ValueError:
        return exhausted_s(headers)


def exhausted_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a rate limit of which nothing remains is reset, as `x-ratelimit-*` tell; else None."""
    waits = [
        _duration_s(headers.get(f"x-ratelimit-reset-{limit}") or "")
        for limit in _LIMITS
        if (headers.get(f"x-ratelimit-remaining-{limit}") or "").strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


@dataclass(slots=True)
class Limits:
    """When the server takes requests again, as it told any of them; shared by the threads of a recogniser."""

    _not_before_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def heed(self, headers: Mapping[str, str]) -> None:
        """Note that a limit is used up, if it is."""
        wait_s = exhausted_s(headers)
        if wait_s is not None:
            with self._lock:
                self._not_before_s = max(self._not_before_s, time.monotonic() + wait_s)

    @property
    def wait_s(self) -> float:
        """Seconds until the next request may be made."""
        return max(self._not_before_s - time.monotonic(), 0.0)


@dataclass(slots=True)
class Budget:
    """What one request may still spend: tries, and seconds of waiting."""

    tries: int
    seconds: float
    _usual_s: float = FIRST_PAUSE_S

    def spend(self, asked_s: float | None) -> float | None:
        """Return how long to wait before another try: as asked, else longer every time; None where none is left."""
        pause_s = asked_s
        if pause_s is None:
            pause_s = self._usual_s * random.uniform(0.5, 1.0)  # noqa: S311  to spread requests is no secret
            self._usual_s = min(self._usual_s * 2, LONGEST_PAUSE_S)
        if self.tries < 1 or pause_s > self.seconds:
            return None
        self.tries -= 1
        self.seconds -= pause_s
        return pause_s


def _duration_s(text: str) -> float | None:
    """Read a time such as `6m0s`, `20ms`, or `1.5` seconds."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text)
    return sum(float(value) * _UNIT_S[unit] for value, unit in parts) if parts else None
