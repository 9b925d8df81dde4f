"""`auricle bench`: measurements."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from auricle.cli.bench_live import bench_live
from auricle.cli.bench_profile import bench_profile
from auricle.cli.console import AsJson, print_json, progress_bar, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot

bench_app = typer.Typer(help="Measure quality, speed and memory.", no_args_is_help=True, rich_markup_mode=None)


@bench_app.callback()
def _bench() -> None:
    """Measure quality, speed and memory."""


@bench_app.command("offline")
def bench_offline(
    corpus: Annotated[str, typer.Option(help="Name from `auricle corpus list`, manifest or folder.")] = "demo",
    engine: Annotated[
        list[str] | None, typer.Option(metavar="E[:MODEL[:DEVICE[:PRECISION]]]", help="An arm; repeatable.")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option(min=1, help="CPU threads of every arm; repeatable.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Measured passes over the corpus, for every arm.")] = 5,
    warmup: Annotated[int, typer.Option(min=0, help="Passes before them.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Utterances recognised in one call.")] = 1,
    language: Annotated[str | None, typer.Option(help="Only utterances in this language.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first utterances.")] = None,
    utterance: Annotated[list[str] | None, typer.Option(help="Only this utterance; repeatable.")] = None,
    tell_language: Annotated[bool, typer.Option("--tell-language", help="Tell the engine the language.")] = False,
    normaliser: Annotated[
        str | None, typer.Option(help="none, basic, english, nonlatin; otherwise by language.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the order of arms and of the bootstrap.")] = 0,
    root: RunsRoot = DEFAULT_ROOT,
    per_file: Annotated[bool, typer.Option("--per-file", help="A row for each utterance.")] = False,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Reference and text of each utterance with errors.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Recognise a corpus several times with each arm, the arms taking turns; report quality, time and memory."""
    from auricle.bench.arms import make_arms
    from auricle.bench.index import RunIndex
    from auricle.bench.offline import OfflineSettings, run_offline
    from auricle.cli.reports import print_run
    from auricle.corpus import open_corpus
    from auricle.engines.registry import DEFAULT_ENGINE
    from auricle.errors import UsageError

    if per_file and batch_size > 1:
        raise UsageError("files of one batch have no time of their own", f"--batch-size {batch_size}", "use 1")
    if tell_language and language is None:
        raise UsageError("--tell-language needs --language", None, "say which, such as --language en")
    settings = OfflineSettings(
        arms=tuple(make_arms(engine or [DEFAULT_ENGINE], threads or [])),
        runs=runs,
        warmup=warmup,
        batch_size=batch_size,
        language=language if tell_language else None,
        normaliser=normaliser,
        seed=seed,
    )
    chosen = open_corpus(corpus).select(language=language, limit=limit, ids=utterance or ())
    with progress_bar("s of audio") as show:
        recorded = run_offline(chosen, settings, root, show)
    RunIndex(root, say).add(recorded)
    summary = print_run(recorded, per_file=per_file, alignment=alignment, markdown=markdown, as_json=as_json)
    if not as_json:
        print_json({"run": recorded.id, "path": str(recorded.path), "headline": recorded.info["headline"]})
    return 1 if any(arm["failures"] for arm in summary["arms"]) else 0


bench_app.command("live")(bench_live)
bench_app.command("profile")(bench_profile)


@bench_app.command("client")
def bench_client(
    dialect: Annotated[str, typer.Option(help="deepgram, sherpa or openai-realtime.")] = "deepgram",
    chunk_ms: Annotated[int, typer.Option(min=1, help="Audio in a packet.")] = 100,
    seconds: Annotated[float, typer.Option(min=1, help="Time of each attempt.")] = 8.0,
    as_json: AsJson = False,
) -> int:
    """Measure how many streams one load process of this machine plays on time, against a server that does nothing."""
    from auricle.bench.live.client_limit import Attempt, measure

    def tell(attempt: Attempt) -> None:
        late = "-" if attempt.late_p99_ms is None else f"{attempt.late_p99_ms:.1f} ms"
        verdict = "on time" if attempt.held else "late"
        say(f"{attempt.streams:5} streams: {verdict}, send lateness p99 {late}, CPU {100 * attempt.cpu:.0f} %")

    limit = measure(dialect, chunk_ms, seconds, tell)
    if as_json:
        print_json(asdict(limit))
    else:
        print(f"{limit.streams} streams of {chunk_ms} ms packets in one process ({dialect})")
    return 0
