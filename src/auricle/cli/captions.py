"""Live captions: what was heard for good in plain text, what may still change dimmed below it, and how late it came."""

from __future__ import annotations

import statistics
import sys
from bisect import bisect_left
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from auricle.cli.console import print_json

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live

    from auricle.client.events import Heard

MS_PER_S = 1000


class Captions(AbstractContextManager["Captions"]):
    """Shows what is heard: on a terminal as it changes, in a pipe finals only, as JSON every event on its line.

    The latency of a text is counted from the capture of the last sample that it covers, where the server says which.
    """

    def __init__(self, rate: int, *, as_json: bool) -> None:
        self._rate = rate
        self._as_json = as_json
        self._ends: list[int] = []
        self._due_s: list[float] = []
        self._began_s: float | None = None
        self._latencies_ms: list[float] = []
        self._screen: Live | None = None
        if sys.stdout.isatty() and not as_json:
            from rich.live import Live

            self._screen = Live(auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self._screen is not None:
            self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self._screen.stop()

    def sent(self, samples: int, due_s: float) -> None:
        """Take note of audio that is being sent, the last sample of it captured at `due_s`."""
        if self._began_s is None:
            self._began_s = due_s - samples / self._rate
        self._ends.append(samples + (self._ends[-1] if self._ends else 0))
        self._due_s.append(due_s)

    def heard(self, heard: Heard, at_s: float) -> None:
        """Show a text that came at `at_s`."""
        latency_ms = self._latency_ms(heard.audio_s, at_s)
        if latency_ms is not None:
            self._latencies_ms.append(latency_ms)
        if self._as_json:
            print_json(
                {
                    "event": "final" if heard.is_final else "partial",
                    "at_s": round(at_s - (self._began_s or at_s), 4),
                    "text": heard.text,
                    "audio_s": heard.audio_s,
                    "latency_ms": None if latency_ms is None else round(latency_ms, 1),
                }
            )
        elif self._screen is not None:
            self._show(self._screen, heard, latency_ms)
        elif heard.is_final and heard.text:
            print(heard.text, flush=True)

    @property
    def summary(self) -> str:
        """How late the texts came."""
        if not self._latencies_ms:
            return "latency: not told, as the server does not say which audio its texts cover"
        median, longest = statistics.median(self._latencies_ms), max(self._latencies_ms)
        return f"latency: median {median:.0f} ms, longest {longest:.0f} ms, of {len(self._latencies_ms)} texts"

    def _show(self, screen: Live, heard: Heard, latency_ms: float | None) -> None:
        from rich.text import Text

        late = "" if latency_ms is None else f"  {latency_ms:.0f} ms"
        if not heard.is_final:
            screen.update(Text(heard.text + late, style="dim"), refresh=True)
            return
        screen.update(Text(""), refresh=True)
        if heard.text:
            screen.console.print(Text.assemble(heard.text, (late, "dim")))

    def _latency_ms(self, audio_s: float | None, at_s: float) -> float | None:
        if audio_s is None or not self._ends:
            return None
        # Half a sample of slack: the sum of a start and a duration in seconds is not exact.
        chunk = bisect_left(self._ends, audio_s * self._rate - 0.5)
        return (at_s - self._due_s[min(chunk, len(self._due_s) - 1)]) * MS_PER_S
