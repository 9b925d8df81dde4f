"""Whether the machine was ours: nothing can keep to a time on processors that other programs use."""

from __future__ import annotations

import time
from typing import Self

import psutil

MOST_OTHERS = 0.05
"""A share of the processors that disturbs no measurement of time."""


class Others:
    """The share of the processors that neither this process nor `server` and its children used while it was entered."""

    def __init__(self, server: int | None = None) -> None:
        self.share = 0.0
        self._server = server

    def __enter__(self) -> Self:
        self._start = (time.monotonic(), *self._cpu_s())
        return self

    def __exit__(self, *_: object) -> None:
        began_s, all_s, ours_s = self._start
        all_now_s, ours_now_s = self._cpu_s()
        spent_s = (all_now_s - all_s) - (ours_now_s - ours_s)
        self.share = spent_s / (time.monotonic() - began_s) / (psutil.cpu_count() or 1)

    def _cpu_s(self) -> tuple[float, float]:
        whole, ours = psutil.cpu_times(), [psutil.Process()]
        if self._server is not None:
            root = psutil.Process(self._server)
            ours += [root, *root.children(recursive=True)]
        times = [one.cpu_times() for one in ours]
        return sum(whole) - whole.idle - getattr(whole, "iowait", 0.0), sum(one.user + one.system for one in times)
