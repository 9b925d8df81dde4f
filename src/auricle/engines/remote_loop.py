"""An event loop in a thread of its own, for engines whose callers are threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from auricle.engines.worker import CANCEL_POLL_S
from auricle.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads until it is stopped."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], cancel: threading.Event | None = None) -> T:
        """Run a coroutine and return its value; raises what it raises, CancelledError once `cancel` is set."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        while True:
            try:
                return future.result(None if cancel is None else CANCEL_POLL_S)
            except TimeoutError:
                if future.done():
                    raise
                if cancel is not None and cancel.is_set():
                    future.cancel()
                    raise CancelledError("the work was cancelled") from None

    def stop(self) -> None:
        """Cancel what runs, and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # sockets that were let go of are closed by callbacks
        self._loop.close()
