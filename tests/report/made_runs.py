"""Runs of the file benchmark that were never run: folders with planted times and texts, in the layout of real ones."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from auricle.bench import environment, quality
from auricle.bench.records import RunFolder, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from auricle.bench.records import Run

INFO = {"family": "made", "precision": "fp32", "device": "cpu", "parameters": 1, "weights": [], "notes": []}
SETTINGS = {"arms": [], "runs": 6, "warmup": 0, "batch_size": 1, "language": None, "normaliser": "basic", "seed": 0}


def utterances(count: int, words: int = 10, speakers: int = 30) -> list[dict[str, Any]]:
    """Utterances of numbered words, ten seconds each."""
    return [
        {
            "id": f"u{number}",
            "reference": " ".join(f"w{number % 7}x{place}" for place in range(words)),
            "language": "en",
            "speaker": f"s{number % speakers}",
            "audio_s": 10.0,
        }
        for number in range(count)
    ]


def with_errors(text: str, wrong: int) -> str:
    """Return a text with its first words substituted."""
    words = text.split()
    return " ".join([*(f"not{word}" for word in words[:wrong]), *words[wrong:]])


def make_run(
    root: Path,
    arms: Mapping[str, Sequence[Sequence[float]]],
    spoken: Sequence[Mapping[str, Any]],
    wrong: Mapping[str, Sequence[int]] | None = None,
) -> Run:
    """Write a run: for each arm the seconds of each utterance in each pass, and how many words of it are wrong."""
    with RunFolder.create(root, "offline") as folder:
        folder.update(
            {
                "environment": environment.capture(),
                "settings": SETTINGS,
                "corpus": {
                    "name": "made",
                    "hash": f"{len(spoken):064d}",
                    "licence": None,
                    "utterances": len(spoken),
                    "duration_s": 10.0 * len(spoken),
                    "languages": ["en"],
                },
                "normaliser": quality.described("basic", ["en"]),
            }
        )
        for one in spoken:
            folder.event("utterance", **one)
        for arm, passes in arms.items():
            folder.event("loaded", arm=arm, info=INFO, load_s=1.5)
            folder.event("first", arm=arm, first_result_s=2.5)
            errors = (wrong or {}).get(arm, [0] * len(spoken))
            for number, times_s in enumerate(passes):
                for one, total_s, mistakes in zip(spoken, times_s, errors, strict=True):
                    _batch(folder, arm, number, one, total_s, mistakes)
                _usage(folder, arm, number)
        folder.finish({"arms": [{"name": arm} for arm in arms], "headline": {}})
    return read_run(folder.path)


def _batch(folder: RunFolder, arm: str, number: int, one: Mapping[str, Any], total_s: float, mistakes: int) -> None:
    folder.event(
        "batch",
        arm=arm,
        phase="run",
        run=number,
        ids=[one["id"]],
        audio_s=[one["audio_s"]],
        wall_s=total_s + 0.01,
        total_s=total_s,
        stages_s={"decode-audio": 0.01, "encoder": 0.7 * total_s, "decode": 0.2 * total_s},
        lanes=1,
        texts=[with_errors(one["reference"], mistakes)],
        error=None,
    )


def _usage(folder: RunFolder, arm: str, number: int) -> None:
    folder.event(
        "usage",
        arm=arm,
        phase="run",
        run=number,
        peak_rss_children_bytes=400_000_000 + number,
        peak_pss_children_bytes=300_000_000,
        cpu_children_s=9.0,
        duration_s=10.0,
        gpus=[],
    )


def rewritten(run: Run, root: Path, change: Callable[[dict[str, Any]], dict[str, Any]], **info: Any) -> Run:
    """Return a copy of a run whose events, and fields of run.json, are others."""
    folder = root / run.id
    folder.mkdir(parents=True)
    told = json.loads((run.path / "run.json").read_text(encoding="utf-8")) | info
    (folder / "run.json").write_text(json.dumps(told), encoding="utf-8")
    with gzip.open(folder / "events.jsonl.gz", "wt", encoding="utf-8") as file:
        for event in run.events():
            file.write(json.dumps(change(event)) + "\n")
    return read_run(folder)
