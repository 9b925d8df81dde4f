"""The processes below a supervisor: `python -m auricle.serve.child KIND`, which is told its task on standard input.

The kind in the command is for those who look at a list of processes. A child tells on standard output, once, that it is
ready or why it cannot be. Standard input stays open for as long as the supervisor lives: however that one ends, its
children end too.
"""

from __future__ import annotations

import asyncio
import math
import os
import pickle
import shutil
import signal
import socket
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import psutil

from auricle.engines.contract import StreamingRecognizer
from auricle.errors import AuricleError, EngineCrashedError
from auricle.live.wire import encode, portable
from auricle.serve.metrics import MeteredTracer, Metrics
from auricle.serve.system import allow_many_connections, announcement, collect_seldom, configure_logs, join
from auricle.serve.task import METRICS, Ready

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.engines.contract import Recognizer
    from auricle.serve.task import Task

CHECK_S = 1.0


def main() -> None:
    """Run one child to its end."""
    told = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    task: Task = pickle.load(sys.stdin.buffer)  # noqa: S301  the supervisor is this program
    threading.Thread(target=_end_with_supervisor, args=(task.folder,), daemon=True).start()
    configure_logs()
    allow_many_connections()
    collect_seldom()
    metrics = Metrics(task.folder / METRICS)
    run = _run_engine if task.kind == "engine" else _run_front_end
    try:
        run(task, metrics, lambda ready: _tell(told, ready))
    except AuricleError as error:
        _tell(told, portable(error))
        sys.exit(error.exit_status)


def _run_engine(task: Task, metrics: Metrics, tell: Callable[[Ready], None]) -> None:
    import uvloop

    from auricle.engines.loading import load

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # front-ends drain first; the supervisor ends this process last
    recognizer = load(task.settings.request, MeteredTracer(metrics))
    uvloop.run(_serve_engine(task, recognizer, metrics, tell))


async def _serve_engine(task: Task, recognizer: Recognizer, metrics: Metrics, tell: Callable[[Ready], None]) -> None:
    from auricle.live.calibration import demo_speech
    from auricle.live.engine import LocalEngine
    from auricle.live.host import EngineHost

    settings, engine = task.settings, None
    if isinstance(recognizer, StreamingRecognizer) and recognizer.info.streaming is not None:
        rules = settings.admission_rules.of_replica(task.number, settings.replicas)
        engine = LocalEngine(recognizer, rules, partial(metrics.step, replica=task.number))
        metrics.pieces(recognizer)
    host = EngineHost(recognizer, engine, settings.files_at_once * settings.workers)
    if engine is not None:
        engine.start(host.deliver)
        if settings.admission and settings.calibrate:
            await engine.calibrate(await asyncio.to_thread(demo_speech, recognizer.info.sample_rate))
    await host.serve(task.sockets[task.number])
    with socket.socket(fileno=os.dup(task.listener)) as reserved:
        line = announcement(recognizer.info, reserved, settings.replicas)
    memory = psutil.Process().memory_full_info().uss
    tell(Ready(line, memory, psutil.virtual_memory().available))
    while engine is None or engine.alive:  # noqa: ASYNC110  a thread that ends tells nobody
        await asyncio.sleep(CHECK_S)
    raise EngineCrashedError("the engine thread ended", None, "the process is replaced")


def _run_front_end(task: Task, metrics: Metrics, tell: Callable[[Ready], None]) -> None:
    from auricle.live.remote import RemoteEngine, RemoteRecognizer
    from auricle.live.replicas import ReplicatedEngine, ReplicatedRecognizer
    from auricle.serve.app import create_app
    from auricle.serve.relay import Relay
    from auricle.serve.run import Server
    from auricle.serve.service import Service

    engine = ReplicatedEngine([RemoteEngine(path) for path in task.sockets])
    recognizers = [RemoteRecognizer(path, patience_s=math.inf) for path in task.sockets]
    relay = Relay(task.folder, task.number, task.settings.workers)
    service = Service(task.settings, ReplicatedRecognizer(recognizers, engine), metrics, engine, relay)
    with socket.socket(fileno=task.listener) as reserved, join(reserved) as listener:
        Server(create_app(service), service, lambda: tell(Ready())).run([listener])


def _tell(told: BinaryIO, news: Ready | AuricleError) -> None:
    told.write(encode([(news,)]))
    told.flush()


def _end_with_supervisor(folder: Path) -> None:
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
