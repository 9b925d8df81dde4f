"""`auricle bench live`: quality and latency against load, on any server."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.console import AsJson, progress_bar, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.bench.live.server import Running
    from auricle.bench.live.sweep import Arm
    from auricle.client.dialects.base import Target


class Arrivals(StrEnum):
    """How streams come."""

    FIXED = "fixed"
    POISSON = "poisson"


class Admission(StrEnum):
    """Of a spawned server: `both` measures one after the other."""

    ON = "on"
    OFF = "off"
    BOTH = "both"


DEFAULT_DIALECT = "deepgram"
DEFAULT_LEVELS = (1, 2, 4, 8)
MIN_CORES = 0.01
OWN_QUERY = {"deepgram": (("every_partial", "true"), ("stamps", "true")), "sherpa": (("every_partial", "true"),)}


def bench_live(
    server: Annotated[str | None, typer.Option(help="Address of a server: ws://, wss://, http:// or https://.")] = None,
    spawn: Annotated[
        str | None, typer.Option(metavar="ARGS", help="Start `auricle serve ARGS` here, and measure it as well.")
    ] = None,
    dialect: Annotated[
        str | None, typer.Option(help="deepgram, sherpa, openai-realtime or openai-http; otherwise by the address.")
    ] = None,
    corpus: Annotated[str, typer.Option(help="Name from `auricle corpus list`, manifest or folder.")] = "demo",
    language: Annotated[str | None, typer.Option(help="Only utterances in this language.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first utterances.")] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Live streams of each level; 1,2,4,8 unless capacity is sought."),
    ] = None,
    find_capacity: Annotated[
        int | None, typer.Option(metavar="START", min=1, help="Search for the most streams that hold the bounds.")
    ] = None,
    arrivals: Annotated[
        Arrivals, typer.Option(help="fixed: as many at all times; poisson: at random, as many on average.")
    ] = Arrivals.FIXED,
    seconds: Annotated[float, typer.Option(help="Time of a level in which streams are started.")] = 20.0,
    stream_seconds: Annotated[
        float | None, typer.Option(help="Join utterances to streams of this length; otherwise one each.")
    ] = None,
    gap: Annotated[float, typer.Option(help="Seconds of silence between joined utterances.")] = 0.5,
    tail: Annotated[float, typer.Option(help="Seconds of silence at the end of each stream.")] = 0.0,
    chunk_ms: Annotated[int, typer.Option(min=1, help="Audio in a packet.")] = 100,
    speed: Annotated[float, typer.Option(help="Play so many times as fast as it was spoken.")] = 1.0,
    reference: Annotated[
        bool, typer.Option("--reference/--no-reference", help="First play all unpaced, one stream at a time.")
    ] = True,
    finish_s: Annotated[float, typer.Option(help="A stream that ends so late after its audio has failed.")] = 20.0,
    slo: Annotated[Path | None, typer.Option(help="TOML or JSON file of bounds.")] = None,
    admission: Annotated[
        Admission | None, typer.Option(help="Of the spawned server; off lets all in, so that overload shows.")
    ] = None,
    server_cpus: Annotated[
        str | None, typer.Option(metavar="C,C,...", help="Cores that the spawned server may use; each is measured.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask the server for.")] = None,
    tell_language: Annotated[bool, typer.Option("--tell-language", help="Tell the server the language.")] = False,
    key: Annotated[str | None, typer.Option(envvar="AURICLE_KEY", help="Key of the server.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="HTTP header; repeatable.")] = None,
    query: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the address; repeatable.")] = None,
    server_pid: Annotated[int | None, typer.Option(help="Process of a server on this machine, to measure it.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Address of the server's Prometheus metrics.")] = None,
    clients: Annotated[int | None, typer.Option(min=1, help="Load processes; otherwise by the load.")] = None,
    normaliser: Annotated[
        str | None, typer.Option(help="none, basic, english, nonlatin; otherwise by language.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of programmes, phases, arrivals and the bootstrap.")] = 0,
    root: RunsRoot = DEFAULT_ROOT,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
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
        poisson=arrivals is Arrivals.POISSON,
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
        for option, value in (("--server-pid", server_pid), ("--metrics", metrics)):
            if value is not None:
                raise UsageError("known of a spawned server", option, "leave it out")
        arms = _spawned(spawn, admission, _cpus(server_cpus), replace(asked, dialect=dialect or DEFAULT_DIALECT))
    else:
        for option, given in (("--admission", admission), ("--server-cpus", server_cpus)):
            if given is not None:
                raise UsageError("this is set where the server is started", option, "use --spawn")
        arms = [_elsewhere(str(server), dialect, server_pid, metrics, asked)]
    chosen = open_corpus(corpus).select(language=language, limit=limit)
    with progress_bar("s") as show:
        recorded = run_live(chosen, arms, settings, root, show)
    RunIndex(root, say).add(recorded)
    return print_live(recorded, markdown=markdown, as_json=as_json)


def _spawned(arguments: str, admission: Admission | None, cpus: Sequence[float | None], asked: Target) -> list[Arm]:
    from auricle.bench.live.server import spawned
    from auricle.bench.live.sweep import Arm

    switches = {None: [""], Admission.BOTH: ["--admission on", "--admission off"]}
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
