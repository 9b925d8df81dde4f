"""Runs of `auricle bench live` against a planted server, and which of the server's streams each of the run's is."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.bench.planted_server import Plan, PlantedServer, StreamLog
from tests.bench.planted_speech import DEFAULT, Shape, make_corpus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAME_START_S = 0.25
LIMIT_S = 200.0

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is on the disk, and what the command printed."""

    folder: Path
    info: dict[str, Any]
    events: list[Event]
    returncode: int
    output: str

    def of(self, kind: str) -> list[Event]:
        """Return the events of a kind."""
        return [event for event in self.events if event["event"] == kind]

    def level(self, live: int) -> int:
        """Return the number of the level of so many streams."""
        return next(int(e["level"]) for e in self.of("level") if e["phase"] == "level" and e["live"] == live)

    def streams(self, level: int) -> list[Event]:
        """Return the counted streams of a level."""
        return [event for event in self.of("stream") if event["level"] == level and event["counted"]]

    def references(self, programme: str) -> list[str]:
        """Return the words that a programme speaks."""
        pieces = next(event["pieces"] for event in self.of("programme") if event["name"] == programme)
        texts = {event["id"]: event["reference"] for event in self.of("utterance")}
        return [word for utterance, _ in pieces for word in texts[utterance].split()]


def command(root: Path, *options: str) -> list[str]:
    """Return the command line of a run."""
    return [sys.executable, "-m", "auricle", "bench", "live", "--runs-folder", str(root), *options]


def bench(root: Path, *options: str) -> Run:
    """Run the command and read what it recorded."""
    done = subprocess.run(command(root, *options), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return read(root, done.returncode, done.stdout + done.stderr)


def read(root: Path, returncode: int, output: str) -> Run:
    """Read the newest run under a root."""
    folders = sorted(path.parent for path in root.glob("*/run.json"))
    assert folders, output
    with gzip.open(folders[-1] / "events.jsonl.gz", "rt", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    info = json.loads((folders[-1] / "run.json").read_text(encoding="utf-8"))
    return Run(folders[-1], info, events, returncode, output)


def paired(run: Run, level: int, logs: Sequence[StreamLog]) -> list[tuple[Event, StreamLog]]:
    """Return the admitted counted streams of a level, each with the server's log of it.

    They are the same when they began within `SAME_START_S` of each other by the clocks of both, and said the same.
    """
    zero_s = datetime.fromisoformat(run.info["started"]).timestamp() + time.monotonic() - time.time()
    free = [log for log in logs if log.arrived]
    pairs = []
    for event in run.streams(level):
        if event["outcome"] == "refused":
            continue
        words = run.references(event["programme"])
        same = [log for log in free if [word.text for word in log.words] == words[: len(log.words)]]
        log = min(same, key=lambda log: abs(log.start_s - zero_s - event["start_s"]))
        assert abs(log.start_s - zero_s - event["start_s"]) < SAME_START_S
        free.remove(log)
        pairs.append((event, log))
    return pairs


@dataclass(frozen=True, slots=True)
class Planted:
    """A run and the log of the server that it measured."""

    run: Run
    logs: list[StreamLog]
    refused_s: list[float]
    accept_s: float

    def level(self, live: int) -> dict[str, Any]:
        """Return what was measured with so many streams."""
        number = self.run.level(live)
        return next(level for level in self.run.info["levels"] if level["level"] == number)

    def truth(self, live: int) -> list[tuple[Event, StreamLog]]:
        """Return the admitted streams of that level, each with the server's log."""
        return paired(self.run, self.run.level(live), self.logs)

    def complete(self, live: int) -> list[StreamLog]:
        """Return the logs of those that were not cut off."""
        return [log for _, log in self.truth(live) if not log.dropped]


def sweep(
    folder: Path, plan: Plan, *options: str, dialect: str = "deepgram", shape: Shape = DEFAULT, utterances: int = 6
) -> Planted:
    """Measure a planted server on a corpus."""
    manifest = make_corpus(folder / "corpus", utterances, shape)
    with PlantedServer(plan) as server:
        run = bench(folder / "runs", "--server", server.url(dialect), "--corpus", str(manifest), *options)
    return Planted(run, server.streams, server.refused_s, plan.accept_s)
