"""Runs as reports read them: the summary from the raw events, and what an older record does not hold said exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.bench.records import read_run
from auricle.errors import RecordError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from auricle.bench.records import Run

INFO = ("environment", "settings", "corpus", "normaliser")
SETTINGS: dict[str, tuple[str, ...]] = {
    "offline": ("arms", "runs", "warmup", "batch_size", "normaliser", "seed"),
    "live": ("levels", "capacity_from", "slo", "normaliser", "seed", "chunk_ms", "speed"),
}
EVENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "offline": {
        "utterance": ("id", "reference", "language", "speaker", "audio_s"),
        "loaded": ("arm", "info", "load_s"),
        "first": ("arm", "first_result_s"),
        "batch": (
            *("arm", "phase", "run", "ids", "audio_s", "wall_s", "total_s", "stages_s", "lanes", "texts", "error"),
        ),
        "usage": ("arm", "phase", "run", "peak_rss_children_bytes", "cpu_children_s", "duration_s", "gpus"),
    },
    "live": {
        "utterance": ("id", "reference", "language", "speaker", "audio_s", "onset_s", "end_s", "words", "timed_by"),
        "programme": ("name", "pieces", "audio_s"),
        "arm": ("arm", "spawned", "server_cpus", "says", "lookahead_ms"),
        "level": (
            *("level", "arm", "phase", "live", "per_s", "speed", "began_s", "counted_until_s", "ended_s", "skipped"),
        ),
        "stream": (
            *("level", "stream", "client", "counted", "programme", "dialect", "rate", "chunk", "samples", "speed"),
            *("connect_s", "ready_s", "start_s", "due_s", "sent_s", "held", "messages", "end_of_audio_s", "closed_s"),
            *("outcome", "error"),
        ),
        "client": ("level", "client", "cpu_s", "wall_s", "most_live", "loop", "limit"),
    },
}


def open_run(name: str, root: Path, tell: Callable[[str], None]) -> Run:
    """Return a run by its folder, or by its name (or the start of it) in the folder of runs; see `RunIndex.get`."""
    from pathlib import Path

    from auricle.bench.index import RunIndex
    from auricle.bench.records import RUN_FILE

    if (Path(name) / RUN_FILE).exists():
        return read_run(Path(name))
    return RunIndex(root, tell).get(name)


def newest(root: Path, tell: Callable[[str], None]) -> Run:
    """Return the newest run that finished and has a summary; raises UsageError where there is none."""
    from auricle.bench.index import RunIndex

    index = RunIndex(root, tell)
    names = [row.id for row in index.list(None, None) if row.status == "finished" and row.kind in EVENTS]
    if not names:
        raise UsageError("no run has finished", root, "run `auricle bench` first, or name one")
    return index.get(names[0])


def missing(run: Run, events: Iterable[dict[str, Any]]) -> list[str]:
    """Return what a run's record does not hold and the figures need, such as `stream.held`; each once."""
    kind = run.info["kind"]
    if kind not in EVENTS:
        raise UsageError("a run of this kind has no summary", f"{run.id}: {kind}", f"one of {', '.join(EVENTS)}")
    found = [f"run.json: {name}" for name in INFO if run.info.get(name) is None]
    settings = run.info.get("settings") or {}
    found += [f"run.json: settings.{name}" for name in SETTINGS[kind] if settings and name not in settings]
    needed = EVENTS[kind]
    for event in events:
        found += [f"{event['event']}.{name}" for name in needed.get(event["event"], ()) if name not in event]
    return list(dict.fromkeys(found))


def events_of(run: Run) -> list[dict[str, Any]]:
    """Return the events of a run; raises RecordError that lists what an older version did not record."""
    events = list(run.events())
    if lacks := missing(run, events):
        version = ((run.info.get("environment") or {}).get("auricle") or {}).get("version") or "unknown"
        remedy = f"recorded by Auricle {version}; run the benchmark again with this one"
        raise RecordError(f"the record of {run.id} lacks what its figures need", ", ".join(lacks), remedy)
    return events


def summary_of(run: Run, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the summary of a run from its events, by its own settings or others."""
    return summarise(run.info["kind"], events_of(run), run.info["settings"] if settings is None else settings)


def summarise(kind: str, events: Iterable[dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of the events of one kind of run."""
    from auricle.bench import summary as offline
    from auricle.bench.live import summary as live

    return live.summarise(events, settings) if kind == "live" else offline.summarise(events, settings)
