"""`auricle bench profile`: where one engine's time goes, by component and by operator."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.console import AsJson, progress_bar, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot
from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.engines.loading import LoadRequest

DEFAULT_FILES = 25


class ModeOption(StrEnum):
    """What is played."""

    AUTO = "auto"
    LIVE = "live"
    FILES = "files"


def bench_profile(
    engine: Annotated[
        str | None, typer.Option(metavar="E[:MODEL[:DEVICE[:PRECISION]]]", help="Engine, and what it is to load.")
    ] = None,
    corpus: Annotated[str, typer.Option(help="Name from `auricle corpus list`, manifest or folder.")] = "demo",
    files: Annotated[int, typer.Option(min=1, help="The first utterances of the corpus, so many.")] = DEFAULT_FILES,
    language: Annotated[str | None, typer.Option(help="Only utterances in this language.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or int8.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the engine.")] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Hypotheses that the decoder follows.")] = None,
    mode: Annotated[
        ModeOption, typer.Option(help="live streams or files; auto: streams where the engine serves them.")
    ] = ModeOption.AUTO,
    chunk_ms: Annotated[int | None, typer.Option(min=1, help="Chunk of live streams; else the engine's own.")] = None,
    streams: Annotated[int, typer.Option(min=1, help="Live streams that are stepped together.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Measured passes over the utterances.")] = 3,
    warmup: Annotated[int, typer.Option(min=0, help="Passes before them, counted nowhere.")] = 1,
    operators: Annotated[
        bool, typer.Option("--operators/--no-operators", help="Then look at torch's operators, in a run apart.")
    ] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the pictures; otherwise that of the run.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    root: RunsRoot = DEFAULT_ROOT,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Play a corpus to an engine as fast as it goes; show the time of each component and operator, and draw it."""
    from auricle.bench.index import RunIndex
    from auricle.bench.profile.record import ProfileSettings
    from auricle.bench.profile.run import run_profile
    from auricle.cli.profile_reports import print_profile
    from auricle.corpus import open_corpus
    from auricle.engines.registry import DEFAULT_ENGINE

    if streams > 1 and mode is ModeOption.FILES:
        raise UsageError("files are played one at a time", f"--streams {streams}", "leave it out")
    request = replace(_request(engine or DEFAULT_ENGINE, device, precision), threads=threads, beam=beam)
    settings = ProfileSettings(request, runs, warmup, chunk_ms, streams, mode.value, operators, seed)
    chosen = open_corpus(corpus).select(language=language, limit=files)
    with progress_bar("s of audio") as show:
        recorded = run_profile(chosen, settings, root, show)
    RunIndex(root, say).add(recorded)
    return print_profile(recorded, output or recorded.path, markdown=markdown, as_json=as_json)


def _request(text: str, device: str | None, precision: str | None) -> LoadRequest:
    """Read what to load; raises UsageError where a device or a precision is named twice."""
    from auricle.bench.arms import parse_arm

    arm = parse_arm(text)
    parts = text.split(":")
    if device is not None and arm.device != "cpu":
        raise UsageError("the device is named twice", f"{text} and --device {device}", "name it once")
    if precision is not None and arm.precision is not None:
        raise UsageError("the precision is named twice", f"{text} and --precision {precision}", "name it once")
    if not parts[0]:
        raise UsageError("not an engine", text, "write engine[:model[:device[:precision]]]")
    return replace(arm, device=device or arm.device, precision=precision or arm.precision)
