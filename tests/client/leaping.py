"""An event loop whose clock stands still while there is anything to do, real sockets included, and then leaps.

What client and server do in one such loop takes no time but what they sleep, however busy the machine is, so that
tests can ask for exact times. Whatever answers from outside the loop, a thread or another process, must not be waited
for in it: the clock would leap ahead.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")
START_S = 1000.0
SETTLE_S = 0.003
"""So long, by the true clock, no socket may have news before time goes on."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now_s = START_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(min(timeout, SETTLE_S))
        if not ready:
            self.now_s += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """The loop; `time` is its clock."""

    def __init__(self) -> None:
        self._leaping = _Selector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now_s

    def block(self, seconds: float) -> None:
        """Do what `time.sleep` does to another loop: time goes by and nothing is done."""
        self._leaping.now_s += seconds


def run_leaping(main: Callable[[LeapingLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine in a loop of its own, which it is given."""
    loops: list[LeapingLoop] = []

    def make() -> LeapingLoop:
        loops.append(LeapingLoop())
        return loops[-1]

    async def begin() -> Result:
        return await main(loops[0])

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(begin())
