"""`auricle bench live`: quality and latency against load, on any server."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from auricle.cli import live_options as options
from auricle.cli.console import AsJson, progress_bar, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auricle.bench.live.server import Running
    from auricle.bench.live.sweep import Arm
    from auricle.client.dialects.base import Target

DEFAULT_DIALECT = "deepgram"
DEFAULT_LEVELS = (1, 2, 4, 8)
MIN_CORES = 0.01
OWN_QUERY = {"deepgram": (("every_partial", "true"), ("stamps", "true")), "sherpa": (("every_partial", "true"),)}


def bench_live(
    server: options.Server = None,
    spawn: options.Spawn = None,
    dialect: options.Dialect = None,
    corpus: options.CorpusName = "demo",
    language: options.Language = None,
    limit: options.Limit = None,
    concurrency: options.Concurrency = None,
    find_capacity: options.FindCapacity = None,
    arrivals: options.ArrivalsOption = options.Arrivals.FIXED,
    seconds: options.Seconds = 20.0,
    stream_seconds: options.StreamSeconds = None,
    gap: options.Gap = 0.5,
    tail: options.Tail = 0.0,
    chunk_ms: options.ChunkMs = 100,
    speed: options.Speed = 1.0,
    reference: options.Reference = True,
    finish_s: options.FinishS = 20.0,
    slo: options.SloFile = None,
    admission: options.AdmissionOption = None,
    server_cpus: options.ServerCpus = None,
    model: options.Model = None,
    tell_language: options.TellLanguage = False,
    key: options.Key = None,
    header: options.Header = None,
    query: options.Query = None,
    server_pid: options.ServerPid = None,
    metrics: options.Metrics = None,
    clients: options.Clients = None,
    normaliser: options.Normaliser = None,
    seed: options.Seed = 0,
    root: RunsRoot = DEFAULT_ROOT,
    markdown: options.Markdown = False,
    as_json: AsJson = False,
) -> int:
    """Load a server level by level with paced streams; print quality and latency at each. Exit 1 when void."""
    from auricle.bench.index import RunIndex
    from auricle.bench.live.settings import LiveSettings
    from auricle.bench.live.slo import Slo, read_slo
    from auricle.bench.live.sweep import run_live
    from auricle.cli.live_reports import print_live
    from auricle.client.dialects.base import Target
    from auricle.corpus import open_corpus

    if tell_language and language is None:
        raise UsageError("--tell-language needs --language", None, "say which, such as --language en")
    settings = LiveSettings(
        levels=_levels(concurrency, find_capacity),
        capacity_from=find_capacity,
        poisson=arrivals is options.Arrivals.POISSON,
        seconds=seconds,
        stream_s=stream_seconds,
        gap_s=gap,
        tail_s=tail,
        chunk_ms=chunk_ms,
        speed=speed,
        reference=reference,
        clients=clients,
        slo=Slo() if slo is None else read_slo(slo),
        normaliser=normaliser,
        seed=seed,
    )
    asked = Target(
        url="",
        dialect="",
        key=key,
        headers=tuple(map(_pair, header or ())),
        query=tuple(map(_pair, query or ())),
        model=model,
        language=language if tell_language else None,
        finish_s=finish_s,
    )
    if (server is None) == (spawn is None):
        raise UsageError("name a server with --server, or start one with --spawn", None, "one of the two")
    if spawn is not None:
        _refuse("known of a spawned server", "leave it out", {"--server-pid": server_pid, "--metrics": metrics})
        arms = _spawned(spawn, admission, _cpus(server_cpus), replace(asked, dialect=dialect or DEFAULT_DIALECT))
    else:
        where = "this is set where the server is started"
        _refuse(where, "use --spawn", {"--admission": admission, "--server-cpus": server_cpus})
        arms = [_elsewhere(str(server), dialect, server_pid, metrics, asked)]
    chosen = open_corpus(corpus).select(language=language, limit=limit)
    with progress_bar("s") as show:
        recorded = run_live(chosen, arms, settings, root, show)
    RunIndex(root, say).add(recorded)
    return print_live(recorded, markdown=markdown, as_json=as_json)


def _refuse(what: str, remedy: str, given: Mapping[str, object]) -> None:
    """Raise UsageError for the first of these options that has a value."""
    for option, value in given.items():
        if value is not None:
            raise UsageError(what, option, remedy)


def _spawned(
    arguments: str, admission: options.Admission | None, cpus: Sequence[float | None], asked: Target
) -> list[Arm]:
    from auricle.bench.live.server import spawned
    from auricle.bench.live.sweep import Arm

    switches = {None: [""], options.Admission.BOTH: ["--admission on", "--admission off"]}
    arms = []
    for switch in switches.get(admission) or [f"--admission {admission}"]:
        full = f"{arguments} {switch}".strip()
        for cores in cpus:
            name = (full or "auricle") if cores is None else f"{full} on {cores:g} cores"
            arms.append(Arm(name, partial(_own_target, asked), partial(spawned, full, cores), server_cpus=cores))
    return arms


def _own_target(asked: Target, running: Running) -> Target:
    """Ask our own server for its times, and for a partial of every chunk: it is silent while nothing new is heard."""
    from auricle.client.dialects import HTTP

    url = running.url(asked.dialect)
    if asked.dialect == HTTP:
        return replace(asked, url=url, model=asked.model or running.model)
    return replace(asked, url=url, query=(*OWN_QUERY.get(asked.dialect, ()), *asked.query))


def _elsewhere(url: str, dialect: str | None, pid: int | None, metrics: str | None, asked: Target) -> Arm:
    from auricle.bench.live.server import Running
    from auricle.bench.live.sweep import Arm
    from auricle.client.dialects import dialect_of

    target = replace(asked, url=url, dialect=dialect or dialect_of(url))
    running = Running(base=None, pid=pid, says=None, command=None)
    return Arm(url, lambda _: target, lambda: nullcontext(running), metrics)


def _cpus(text: str | None) -> list[float | None]:
    if text is None:
        return [None]
    try:
        found: list[float | None] = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError("not numbers of cores", text, "write numbers such as 0.25,1,2") from error
    if any(cores is None or not MIN_CORES <= cores < math.inf for cores in found):
        raise UsageError("a number of cores is 0.01 or more", text)
    return found


def _levels(text: str | None, find_capacity: int | None) -> tuple[int, ...]:
    if text is None:
        return DEFAULT_LEVELS if find_capacity is None else ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError("not levels of concurrency", text, "write numbers of streams such as 1,2,4")
    return tuple(map(int, parts))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError("not a pair", name, "write NAME=VALUE")
    return name, value
