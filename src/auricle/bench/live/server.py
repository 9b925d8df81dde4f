"""The server under test: one that runs somewhere, or `auricle serve` in a process tree of our own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.bench.live.cpus import limited
from auricle.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auricle.bench.live.cpus import Group

START_S = 180.0
STOP_S = 20.0
KEPT_LINES = 20
NICE, MOST_NICE = 5, 19
SERVING = re.compile(r"serving (?P<model>\S+) \(.*\) on (?P<base>http://\S+)")
PATHS = {
    "deepgram": "ws{}/v1/listen",
    "sherpa": "ws{}/sherpa",
    "openai-realtime": "ws{}/v1/realtime",
    "openai-http": "http{}",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens; None is unknown.

    `base` is its HTTP address, `pid` its process where it is on this machine, `says` what it told when it was ready,
    `group` what limits its CPU time.
    """

    base: str | None
    pid: int | None
    says: str | None
    command: str | None
    group: Group | None = None

    @property
    def model(self) -> str | None:
        """The name of the model that Auricle's server said it serves."""
        found = SERVING.search(self.says or "")
        return None if found is None else found["model"]

    def url(self, dialect: str) -> str:
        """Return where a dialect is spoken on Auricle's server; raises UsageError without its address."""
        if self.base is None:
            raise UsageError("the address of the server is not known")
        return PATHS[dialect].format(self.base.removeprefix("http"))


@contextmanager
def spawned(arguments: str, cpus: float | None = None) -> Iterator[Running]:
    """Run `auricle serve` with these arguments on a free port of this machine, and end it afterwards.

    `cpus` limits its CPU time, in cores; it runs at a lower priority than the clients. Raises EngineError with what it
    printed when it ends or does not listen, UsageError for arguments that choose an address.
    """
    given = shlex.split(arguments)
    if any(part.partition("=")[0] in {"--port", "--host"} for part in given):
        raise UsageError("the address of a spawned server is chosen", arguments, "leave out --host and --port")
    with nullcontext() if cpus is None else limited(cpus) as group:
        yield from _spawned(given, group)


def _spawned(given: Sequence[str], group: Group | None) -> Iterator[Running]:
    shown = shlex.join(["auricle", "serve", *given])
    prefix = () if group is None else group.join_command()
    command = [*prefix, sys.executable, "-m", "auricle", "serve", *given, "--host", "127.0.0.1", "--port", "0"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    said: deque[str] = deque(maxlen=KEPT_LINES)
    listening = threading.Event()
    _step_back(process.pid)
    printed = process.stdout
    if printed is None:
        raise EngineError("the server has no output to read", shown)
    reader = threading.Thread(target=_read, args=(printed, said, listening), daemon=True)
    reader.start()
    try:
        line = _await_line(process, said, listening)
        found = SERVING.search(line)
        yield Running(None if found is None else found["base"], process.pid, line, shown, group)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        printed.close()


def _step_back(pid: int) -> None:
    """Let the clients, which need little, have the processor first: they share it with the server that they time."""
    if sys.platform != "win32":
        os.setpriority(os.PRIO_PROCESS, pid, min(MOST_NICE, os.getpriority(os.PRIO_PROCESS, 0) + NICE))


def _await_line(process: subprocess.Popen[bytes], said: deque[str], listening: threading.Event) -> str:
    until_s = time.monotonic() + START_S
    while not listening.wait(0.1):
        if process.poll() is not None or time.monotonic() > until_s:
            raise EngineError("the server did not start", " / ".join(said) or "it printed nothing", "run it by hand")
    return next(line for line in said if SERVING.search(line))


def _read(printed: Iterable[bytes], said: deque[str], listening: threading.Event) -> None:
    for raw in printed:
        line = raw.decode(errors="replace").rstrip()
        if not listening.is_set() or "ERROR" in line:
            said.append(line)
        if SERVING.search(line):
            listening.set()
