"""`auricle serve --workers N --replicas M`: N front-end and M engine processes, watched and replaced by this light one.

An engine process is called a replica where there are several: each has the model of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, cast

from auricle.errors import AuricleError, EngineCrashedError, EngineError
from auricle.live.wire import LENGTH, decode
from auricle.serve.auth import read_keys
from auricle.serve.metrics import SHARED, forget_process
from auricle.serve.system import configure_logs, reserve
from auricle.serve.task import METRICS, Task

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable

    from auricle.serve.settings import Settings
    from auricle.serve.task import Ready

COMMAND = (sys.executable, "-P", "-m", "auricle.serve.child")
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Waits before a process that ended is replaced, longer with each that did not live for STEADY_S."""
STEADY_S = 10.0
MOST_FAILURES = 4
"""How many times in a row a process may fail to get ready before the server gives up."""
FAREWELL_S = 10.0
"""What front-ends get to end, beyond the time to drain."""
END_S = 5.0
log = logging.getLogger("auricle.serve")


def supervise(settings: Settings, tell: Callable[[str], None]) -> None:
    """Serve until told to stop, drain, end all processes; `tell` is given a line once all front-ends listen.

    Raises UsageError for unusable keys or an address that cannot be listened on, what a process raises that never gets
    ready, EngineError for replicas that do not fit in memory, and EngineCrashedError for a process that keeps ending
    before it is ready.
    """
    configure_logs()
    if settings.api_keys is not None:
        read_keys(settings.api_keys)  # tells what is wrong with them before a model is loaded
    with TemporaryDirectory(prefix="auricle-", ignore_cleanup_errors=True) as folder, reserve(settings) as listener:
        (Path(folder) / METRICS).mkdir()
        asyncio.run(_Supervisor(settings, Path(folder), listener.fileno(), tell).run())


class _Child:
    """A process and its task."""

    def __init__(self, task: Task, process: Process) -> None:
        self.task = task
        self.process = process

    async def get_ready(self) -> Ready:
        """Wait until it works, and return what it tells; raises its error, EngineCrashedError when it just ends."""
        stdin = cast("asyncio.StreamWriter", self.process.stdin)
        stdout = cast("asyncio.StreamReader", self.process.stdout)
        try:
            stdin.write(pickle.dumps(self.task))
            (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
            ((news,),) = decode(await stdout.readexactly(length))
        except (asyncio.IncompleteReadError, OSError) as error:
            status = await self.process.wait()
            raise EngineCrashedError(f"the {self.task.kind} process ended at its start", f"status {status}") from error
        if isinstance(news, AuricleError):
            await self.process.wait()
            raise news
        ready: Ready = news
        return ready


class _Supervisor:
    def __init__(self, settings: Settings, folder: Path, listener: int, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._listener = listener
        self._tell = tell
        self._children: set[_Child] = set()
        paths = os.pathsep.join(filter(None, sys.path))
        self._environment = os.environ | {SHARED: str(folder / METRICS), "PYTHONPATH": paths}

    async def run(self) -> None:
        """Serve until a signal comes or a process cannot be kept."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, stop)
        serving, stopping = loop.create_task(self._serve()), loop.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
            await self._drain()
        finally:
            stopping.cancel()
            for child in tuple(self._children):
                with suppress(ProcessLookupError):
                    child.process.kill()
                await child.process.wait()

    def _stop(self, stop: asyncio.Event) -> None:
        """Stop at the first signal; the second has its ordinary effect, and the children follow."""
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    async def _serve(self) -> None:
        engine, ready = await self._start("engine", 0)
        replicas = self._settings.replicas
        check_memory(replicas, ready)
        others = await asyncio.gather(*(self._start("engine", number) for number in range(1, replicas)))
        fronts = await asyncio.gather(*(self._start("front-end", number) for number in range(self._settings.workers)))
        self._tell(ready.line)
        await asyncio.gather(self._keep(engine), *(self._keep(child) for child, _ in (*others, *fronts)))

    async def _start(self, kind: Literal["engine", "front-end"], number: int) -> tuple[_Child, Ready]:
        task = Task(kind, number, self._settings, self._folder, self._listener)
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            kind,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            pass_fds=[self._listener],
        )
        child = _Child(task, process)
        self._children.add(child)
        try:
            return child, await child.get_ready()
        except AuricleError:
            self._children.discard(child)
            raise

    async def _keep(self, child: _Child) -> None:
        """Replace the process whenever it ends; raises the error of one that fails too often to get ready."""
        quick = 0
        while True:
            since_s = time.monotonic()
            status = await child.process.wait()
            self._children.discard(child)
            forget_process(self._folder / METRICS, child.process.pid)
            quick = 0 if time.monotonic() - since_s > STEADY_S else quick + 1
            log.error("the %s process %d ended with status %d", self._name(child.task), child.process.pid, status)
            child = await self._replace(child.task, quick)

    async def _replace(self, task: Task, quick: int) -> _Child:
        failures = 0
        while True:
            await asyncio.sleep(PAUSES_S[min(quick + failures, len(PAUSES_S) - 1)])
            try:
                child, _ = await self._start(task.kind, task.number)
            except AuricleError as error:
                failures += 1
                if failures == MOST_FAILURES:
                    raise
                log.error("%s", error)  # noqa: TRY400  one line says it
            else:
                log.info("the %s process %d is ready", self._name(task), child.process.pid)
                return child

    def _name(self, task: Task) -> str:
        """Return what logs call a process."""
        is_replica = task.kind == "engine" and self._settings.replicas > 1
        return f"engine (replica {task.number})" if is_replica else task.kind

    async def _drain(self) -> None:
        """Let the front-ends end first, then the engine, which ends with its input."""
        fronts = {child for child in self._children if child.task.kind == "front-end"}
        for front in fronts:
            with suppress(ProcessLookupError):
                front.process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s + FAREWELL_S):
                await asyncio.gather(*(front.process.wait() for front in fronts))
        engines = self._children - fronts
        for engine in engines:
            if engine.process.stdin is not None:
                engine.process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await asyncio.gather(*(engine.process.wait() for engine in engines))


def check_memory(replicas: int, first: Ready) -> None:
    """Raise EngineError unless the memory that is left holds the other replicas too, by what the first one takes."""
    if (replicas - 1) * first.memory > first.memory_left:
        fitting = 1 + first.memory_left // first.memory
        value = (
            f"{replicas} of {first.memory / 2**20:.0f} MiB, {first.memory_left / 2**20:.0f} MiB left beside the first"
        )
        raise EngineError("so many replicas do not fit in memory", value, f"use --replicas {fitting}")
