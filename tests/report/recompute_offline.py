"""Recompute the figures of a file benchmark from its raw events, with nothing but the standard library.

    python recompute_offline.py RUN_FOLDER

prints a JSON object with an entry for each arm. It shares no code with Auricle.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any


def distance(wanted: list[str], heard: list[str]) -> int:
    """Return the fewest words to change."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(wanted):
        above, row = row, [number + 1]
        for place, other in enumerate(heard):
            row.append(min(above[place] + (word != other), above[place + 1] + 1, row[place] + 1))
    return row[-1]


def words(text: str | None) -> list[str]:
    """Normalise plain ASCII."""
    return re.sub(r"[^a-z0-9]+", " ", (text or "").lower()).split()


def recompute(folder: Path) -> dict[str, Any]:
    """Return the figures by arm."""
    with gzip.open(folder / "events.jsonl.gz", "rt", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    references = {event["id"]: event["reference"] for event in events if event["event"] == "utterance"}
    found: dict[str, Any] = {}
    for arm in dict.fromkeys(event["arm"] for event in events if event["event"] == "batch"):
        batches = [e for e in events if e["event"] == "batch" and e["arm"] == arm and e["phase"] == "run"]
        numbers = sorted({batch["run"] for batch in batches})
        by_pass = [[batch for batch in batches if batch["run"] == number] for number in numbers]
        totals = [sum(batch["total_s"] for batch in one) for one in by_pass]
        walls = [sum(batch["wall_s"] for batch in one) for one in by_pass]
        audio_s = sum(sum(batch["audio_s"]) for batch in by_pass[0])
        errors = length = 0
        for batch in by_pass[0]:
            for name, text in zip(batch["ids"], batch["texts"], strict=True):
                errors += distance(words(references[name]), words(text))
                length += len(words(references[name]))
        stages = dict.fromkeys(stage for batch in batches for stage in batch["stages_s"])
        usage = [e for e in events if e["event"] == "usage" and e["arm"] == arm]
        found[arm] = {
            "wer": errors / length,
            "total_s": [median(totals), min(totals), max(totals)],
            "wall_s": [median(walls), min(walls), max(walls)],
            "rtf": median(totals) / audio_s,
            "rtfx": audio_s / median(walls),
            "stages_ms": {
                stage: 1000 * median(sum(b["stages_s"].get(stage, 0.0) for b in one) for one in by_pass)
                for stage in stages
            },
            "stage_values_ms": {
                stage: sorted(1000 * b["stages_s"][stage] for b in batches if stage in b["stages_s"])
                for stage in stages
            },
            "rtfs": [batch["total_s"] / sum(batch["audio_s"]) for batch in batches],
            "rss_mb": max(one["peak_rss_children_bytes"] for one in usage) / 1_000_000,
        }
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(recompute(Path(sys.argv[1]))))
