"""Engines in child processes: for libraries that hold the GIL, end the process on an error, or never give memory back.

A `Worker` starts `python -m auricle.engines.worker`, which builds one service object from an import path and answers
method calls, one at a time and in order, over its standard input and output. What the library prints on either stream
is kept, and told when the process dies. The child ends when its parent does.
"""

from __future__ import annotations

import importlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, BinaryIO

from auricle.errors import AuricleError, CancelledError, EngineCrashedError, EngineError
from auricle.trace import Span, Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = struct.Struct("<Q")
CANCEL_POLL_S = 0.02
EXIT_GRACE_S = 2.0
KEPT_LINES = 20

_Reply = tuple[int, bool, Any, list[Span]]


class Worker:
    """A child process that runs the service made by `factory(tracer, *args)`, given as `"module:callable"`.

    Raises whatever AuricleError the factory raises, and EngineCrashedError when the process ends instead.
    """

    def __init__(self, factory: str, args: tuple[Any, ...], tracer: Tracer, lane: str = "main") -> None:
        self.lane = lane
        self._tracer = tracer
        self._calls = 0
        self._lock = threading.Lock()
        self._replies: queue.Queue[_Reply | None] = queue.Queue()
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "auricle.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._threads = [
            threading.Thread(target=target, name=f"{lane} {self.pid}", daemon=True)
            for target in (self._read_replies, self._listen)
        ]
        for thread in self._threads:
            thread.start()
        try:
            self.call(factory, *args)
        except AuricleError:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    @property
    def said(self) -> tuple[str, ...]:
        """The last lines that the library printed."""
        return tuple(self._said)

    def call(self, method: str, *args: Any, cancel: threading.Event | None = None) -> Any:
        """Run `service.method(*args)` in the child and return its value.

        Raises the service's AuricleError, EngineError for any other exception, EngineCrashedError when the child ends,
        CancelledError once `cancel` is set; the child then finishes the abandoned call before it takes the next.
        """
        while not self._lock.acquire(timeout=CANCEL_POLL_S):
            _check(cancel)
        try:
            self._calls += 1
            try:
                _send(_pipe(self._process.stdin), (self._calls, method, args))
            except (OSError, ValueError) as error:
                raise self._crashed() from error
            return self._result(self._reply(self._calls, cancel))
        finally:
            self._lock.release()

    def stop(self, grace_s: float = EXIT_GRACE_S) -> None:
        """End the child, by force after a grace, and wait for it; a call under way raises EngineCrashedError."""
        try:
            _pipe(self._process.stdin).close()
        except OSError:  # the child ended with unread requests in the pipe: there is nothing left to flush
            self._process.kill()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        _pipe(self._process.stdout).close()
        _pipe(self._process.stderr).close()

    def _reply(self, number: int, cancel: threading.Event | None) -> _Reply:
        while True:
            try:
                reply = self._replies.get(timeout=None if cancel is None else CANCEL_POLL_S)
            except queue.Empty:
                _check(cancel)
                continue
            if reply is None:
                self._replies.put(None)
                raise self._crashed()
            if reply[0] == number:
                return reply

    def _result(self, reply: _Reply) -> Any:
        _, succeeded, value, spans = reply
        self._tracer.extend(Span(span.stage, span.start_s, span.duration_s, self.lane) for span in spans)
        if succeeded:
            return value
        raise value

    def _crashed(self) -> EngineCrashedError:
        try:
            status = f"exit status {self._process.wait(EXIT_GRACE_S)}"
        except subprocess.TimeoutExpired:
            status = "closed its output"
        self._threads[1].join(EXIT_GRACE_S)
        said = f", after printing {' / '.join(self._said)!r}" if self._said else ""
        return EngineCrashedError(f"the {self.lane} process ended", status + said, "the next call starts a new one")

    def _read_replies(self) -> None:
        for reply in _receive_all(_pipe(self._process.stdout)):
            self._replies.put(reply)
        self._replies.put(None)

    def _listen(self) -> None:
        for line in _pipe(self._process.stderr):
            self._said.append(line.decode(errors="replace").rstrip())


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the other side closes; the first builds the service."""
    tracer = Tracer()
    service: Any = None
    for number, method, args in _receive_all(requests):
        try:
            if service is None:
                module, _, name = method.partition(":")
                service = getattr(importlib.import_module(module), name)(tracer, *args)
                value = None
            else:
                value = getattr(service, method)(*args)
            reply = (number, True, value, tracer.drain())
        except AuricleError as error:
            reply = (number, False, error, tracer.drain())
        except Exception as error:  # noqa: BLE001  the boundary of the process: the caller gets it as an EngineError
            what = EngineError("unexpected error in the engine", repr(error))
            what.add_note(traceback.format_exc())
            reply = (number, False, what, tracer.drain())
        _send(replies, reply)


def main() -> None:
    """Run the child: protocol on the original standard output, everything that is printed on standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, replies)


def _check(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")


def _pipe(pipe: Any) -> BinaryIO:
    stream: BinaryIO = pipe
    return stream


def _send(pipe: BinaryIO, message: object) -> None:
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(LENGTH.pack(len(payload)) + payload)
    pipe.flush()


def _receive_all(pipe: BinaryIO) -> Iterator[Any]:
    while len(head := pipe.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        payload = pipe.read(length)
        if len(payload) < length:
            return
        yield pickle.loads(payload)  # noqa: S301  both ends are this program


if __name__ == "__main__":
    main()
