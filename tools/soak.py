"""Run the live server for hours at a share of its capacity and tell whether anything grew, drifted or broke.

    python tools/soak.py --engine null --minutes 60 --out soak-null.json
    python tools/soak.py --engine pocketsphinx --minutes 60 --share 0.7 --out soak-pocketsphinx.json

The capacity is what admission says, or, where the machine carries less, what a short probe of both server and client
says: they share it. Streams of all dialects turn over endlessly in real time; a few clients vanish in mid-stream, a few
pause. Every text is compared with the first of the same recording on the same dialect. Latency is from the due time of
a stream's last packet to its last final, whatever the engine does at the end of an utterance. Memory is that of the
server's whole process tree: the median of the last five minutes against that of minutes five to ten; runs under fifteen
minutes are told but not judged. The exit status is 1 when a bound is broken; Ctrl-C ends early and reports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import psutil
import uvloop

from auricle.audio import Audio, load
from auricle.client.clips import make_clip
from auricle.client.dialects import LIVE
from auricle.client.dialects.base import Target
from auricle.client.pacing import CLOCK, Schedule
from auricle.client.stream import Stream, new_record, settled
from auricle.corpus import open_corpus
from auricle.score.timing import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.client.clips import Clip
    from auricle.client.events import StreamRecord

PATHS = {"deepgram": "/v1/listen", "sherpa": "/sherpa", "openai-realtime": "/v1/realtime"}
NULL_SECONDS = (1.3, 2.1, 2.9, 3.7, 4.6, 5.8, 7.1, 8.3, 9.7, 12.0)
CHUNK_S = 0.1
VANISH, PAUSE = 0.05, 0.05
LONGEST_PAUSE_S = 5.0
PROBE_S = 15.0
PROBE_STREAMS = 60
USABLE = 0.85
"""Share of the processors that server and client together may take for the probe's capacity."""
SAMPLE_S = 60.0
JUDGED_MINUTES = 15
BASE_MINUTES = (5, 10)
END_MINUTES = 5
MOST_GROWTH = 0.02
MOST_DRIFT_MS_PER_HOUR = 5.0
KEPT_EXAMPLES = 20
WAIT_S = 60.0
LOOKS, LOOK_S = 20, 0.5
"""How often, and how far apart, the server is asked at the end whether all places are free."""


class Server:
    """`auricle serve` in a process of its own, on the first `cpus` processors if that is given."""

    def __init__(self, engine: str, workers: int | None, cpus: int | None, settings: list[str]) -> None:
        command = [sys.executable, "-m", "auricle", "serve", "--engine", engine, "--port", "0"]
        command += ["--workers", str(workers)] if workers else []
        command += [part for setting in settings for part in ("--set", setting)]
        own = os.sched_getaffinity(0)
        if cpus is not None:
            os.sched_setaffinity(0, sorted(own)[:cpus])
        self._popen = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        os.sched_setaffinity(0, own)
        self.command = command
        self.complaints = 0
        self.said: deque[str] = deque(maxlen=KEPT_EXAMPLES)
        self.url = ""
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._told.wait(WAIT_S)
        if not self.url:
            self._popen.kill()
            raise SystemExit(f"the server did not start: {' '.join(self.said)}")

    def tree(self) -> list[psutil.Process]:
        """The process and its descendants."""
        root = psutil.Process(self._popen.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU time of the tree."""
        return sum(sum(one.cpu_times()[:2]) for one in self.tree())

    def footprint(self) -> dict[str, int]:
        """Memory in bytes, open files, threads and processes of the tree."""
        tree = self.tree()
        memory = [one.memory_full_info() for one in tree]
        return {
            "rss": sum(one.rss for one in memory),
            "pss": sum(getattr(one, "pss", 0) for one in memory),
            "files": sum(one.num_fds() for one in tree),
            "threads": sum(one.num_threads() for one in tree),
            "processes": len(tree),
        }

    def health(self) -> dict[str, Any]:
        """What the server says of itself."""
        answer: dict[str, Any] = httpx.get(f"{self.url}/health", timeout=WAIT_S).json()
        return answer

    def stop(self) -> int:
        """Tell it to end, and return its exit status."""
        self._popen.terminate()
        try:
            return self._popen.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()

    def _read(self) -> None:
        for line in self._popen.stderr or ():
            if found := re.search(r"^serving .* on (http://\S+)$", line):
                self.url = found[1]
                self._told.set()
            elif " INFO " not in line:
                self.complaints += 1
                self.said.append(line.rstrip())
        self._told.set()


@dataclass
class Tally:
    """What became of the streams; the texts and a few examples are kept, and no events."""

    outcomes: Counter[str] = field(default_factory=Counter)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    compared: int = 0
    different: list[dict[str, str]] = field(default_factory=list)
    differences: int = 0
    failures: list[str] = field(default_factory=list)
    finals_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)

    def take(self, record: StreamRecord, kind: str) -> None:
        """Count a stream that has ended; `kind` is how its client behaved."""
        self.outcomes["run"] += 1
        if record.outcome != "complete":
            self.outcomes[record.outcome] += 1
            if record.outcome == "failed" and len(self.failures) < KEPT_EXAMPLES:
                self.failures.append(f"{record.dialect} {record.clip}: {record.error}")
        elif kind == "vanished":
            self.outcomes["vanished"] += 1
        else:
            self.outcomes.update(["complete", kind])
            self._compare(record)
            self._time(record)

    def latency(self) -> dict[str, float | int | None]:
        """Return the percentiles since the last call, in ms, of streams that were complete."""
        finals_ms, self.finals_ms = self.finals_ms, []
        late_ms, self.late_ms = self.late_ms, []
        names = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        shares = {name: percentile(finals_ms, share) if finals_ms else None for name, share in names.items()}
        worst = max(late_ms, default=None)
        return {"finals": len(finals_ms), **shares, "max": max(finals_ms, default=None), "client_late_max": worst}

    def _time(self, record: StreamRecord) -> None:
        """Note the last final, unless the server had ended the last utterance before the audio was over."""
        final_ms = 1000 * (record.heard_s[-1] - record.due_s[-1]) if record.heard_s else -1.0
        if final_ms >= 0:
            self.finals_ms.append(final_ms)
        self.late_ms.append(
            1000 * max(sent_s - due_s for sent_s, due_s in zip(record.sent_s, record.due_s, strict=True))
        )

    def _compare(self, record: StreamRecord) -> None:
        first = self.texts.setdefault((record.dialect, record.clip), record.text)
        self.compared += 1
        if record.text != first:
            self.differences += 1
            if len(self.different) < KEPT_EXAMPLES:
                self.different.append(
                    {"clip": record.clip, "dialect": record.dialect, "first": first, "now": record.text}
                )


class Load:
    """Keeps `streams` places busy until `stop` is set."""

    def __init__(self, url: str, clips: dict[str, list[Clip]], tally: Tally, seed: int) -> None:
        self._targets = {
            name: Target(url=url.replace("http", "ws") + path, dialect=name) for name, path in PATHS.items()
        }
        self._clips = clips
        self._tally = tally
        self._random = random.Random(seed)  # noqa: S311  a load is no secret
        self.stop = asyncio.Event()

    async def run(self, streams: int, ramp_s: float) -> None:
        """Return when every place has ended its last stream."""
        async with asyncio.TaskGroup() as places:
            for _ in range(streams):
                places.create_task(self._keep_busy(self._random.uniform(0, ramp_s)))

    async def _keep_busy(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while not self.stop.is_set():
            record, kind = await self._one()
            self._tally.take(record, kind)
            if record.outcome == "refused":
                await asyncio.sleep((record.retry_after_s or 1.0) * self._random.uniform(1.0, 1.5))

    async def _one(self) -> tuple[StreamRecord, str]:
        """Play one recording in one of three ways; a client that vanishes does so at a random moment."""
        dialect = self._random.choice(list(self._clips))
        clip, target, luck = self._random.choice(self._clips[dialect]), self._targets[dialect], self._random.random()
        kind = "vanished" if luck < VANISH else "paused" if luck < VANISH + PAUSE else "plain"
        record = new_record(target, clip, _schedule(clip))
        stream = Stream(target, record)
        with settled(record):
            try:
                await stream.open()
                await asyncio.sleep(self._random.uniform(0, CHUNK_S))
                if kind == "plain":
                    await stream.play(clip, _schedule(clip), CLOCK())
                else:
                    await self._interrupted(stream, clip, kind)
                if kind != "vanished":
                    await stream.finish()
            finally:
                await stream.close()
        return record, kind

    async def _interrupted(self, stream: Stream, clip: Clip, kind: str) -> None:
        cut = max(1, round(self._random.uniform(0.1, 0.9) * clip.samples))
        parts = _part(clip, 0, cut), _part(clip, cut, clip.samples)
        await stream.play(parts[0], _schedule(parts[0]), CLOCK())
        if kind == "paused":
            await asyncio.sleep(self._random.uniform(0.5, LONGEST_PAUSE_S))
            await stream.play(parts[1], _schedule(parts[1]), CLOCK())


def _schedule(clip: Clip) -> Schedule:
    return Schedule(clip.samples, clip.rate, round(CHUNK_S * clip.rate))


def _part(clip: Clip, first: int, end: int) -> Clip:
    width = len(clip.pcm) // clip.samples
    return replace(clip, samples=end - first, pcm=clip.pcm[first * width : end * width])


def recordings(engine: str) -> dict[str, list[Clip]]:
    """Return what is played, by dialect: noise of many lengths for the null engine, the demo corpus for others."""
    if engine == "null":
        generator = np.random.default_rng(0)
        audios = [
            Audio(generator.uniform(-0.5, 0.5, round(seconds * 16_000)).astype(np.float32), 16_000, f"noise-{seconds}")
            for seconds in NULL_SECONDS
        ]
    else:
        utterances = open_corpus("demo").utterances
        audios = [replace(load(utterance.audio), source=utterance.id) for utterance in utterances]
    targets = {name: Target(url="ws://", dialect=name) for name in LIVE}
    return {name: [make_clip(audio, target) for audio in audios] for name, target in targets.items()}


async def probe(server: Server, clips: dict[str, list[Clip]], seed: int) -> dict[str, Any]:
    """Return the streams that admission allows and those that the machine carries, with the client on it."""
    (admission, *_) = server.health()["live"]["capacity"].values()
    streams = max(1, min(PROBE_STREAMS, round((admission or PROBE_STREAMS) / 2)))
    load = Load(server.url, clips, Tally(), seed)
    running = asyncio.create_task(load.run(streams, ramp_s=1.0))
    await asyncio.sleep(2.0)
    before_s, began_s = server.cpu_s() + time.process_time(), time.monotonic()
    await asyncio.sleep(PROBE_S)
    cores = (server.cpu_s() + time.process_time() - before_s) / (time.monotonic() - began_s)
    load.stop.set()
    await running
    machine = int(USABLE * len(os.sched_getaffinity(0)) * streams / cores)
    used = machine if admission is None else min(admission, machine)
    return {"admission": admission, "machine": machine, "cores_per_stream": cores / streams, "used": used}


async def soak(options: argparse.Namespace, server: Server, report: dict[str, Any]) -> None:
    """Run the load for its time and sample the server; all that is found goes into `report` as it comes."""
    clips = recordings(options.engine)
    capacity = report["capacity"] = await probe(server, clips, options.seed)
    streams = report["streams"] = options.streams or max(1, round(options.share * capacity["used"]))
    tell(f"capacity {capacity}; {streams} streams for {options.minutes:g} minutes")
    tally, samples = Tally(), report["samples"]
    load = Load(server.url, clips, tally, options.seed + 1)
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        """End early; a second Ctrl-C does not wait for the streams."""
        load.stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    running = asyncio.create_task(load.run(streams, ramp_s=min(10.0, 6.0 * options.minutes)))
    every_s = min(SAMPLE_S, options.minutes * SAMPLE_S / 20)
    began_s, cpu_s = time.monotonic(), server.cpu_s()
    for turn in range(1, round(options.minutes * 60 / every_s) + 1):
        try:
            await asyncio.wait_for(load.stop.wait(), began_s + turn * every_s - time.monotonic())
            break
        except TimeoutError:
            now_s, total_s = time.monotonic() - began_s, server.cpu_s()
            cores = (total_s - cpu_s) / every_s
            cpu_s = total_s
            streams_now = (await asyncio.to_thread(server.health))["live"]["streams"]
            counts = {"live": streams_now, "cores": round(cores, 3), **tally.outcomes}
            own = psutil.Process().memory_info().rss
            found = {"minute": now_s / 60, **await asyncio.to_thread(server.footprint), **tally.latency(), **counts}
            samples.append({**found, "tool_rss": own, "differences": tally.differences})
            tell(_line(samples[-1]))
    load.stop.set()
    await running
    report["outcomes"] = dict(tally.outcomes)
    report["texts"] = {"recordings": len(tally.texts), "compared": tally.compared, "different": tally.differences}
    report["examples"] = {"different": tally.different, "failed": tally.failures}
    for _ in range(LOOKS):
        report["places_left"] = (await asyncio.to_thread(server.health))["live"]["streams"]
        if not report["places_left"]:
            break
        await asyncio.sleep(LOOK_S)


def _line(sample: dict[str, Any]) -> str:
    shown = {name: "-" if sample[name] is None else f"{sample[name]:.0f}" for name in ("p50", "p95", "p99", "max")}
    finals = " / ".join(shown.values())
    memory = f"rss {sample['rss'] / 1e6:.0f} pss {sample['pss'] / 1e6:.0f} MB"
    counts = {name: sample.get(name, 0) for name in ("run", "complete", "refused", "failed", "vanished", "differences")}
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{sample['minute']:6.1f} min  {memory}  {sample['files']} files  final {finals} ms  {told}"


def judge(report: dict[str, Any]) -> None:
    """Add growth and drift to the report, and every bound that was broken."""
    samples, broken = report["samples"], report["broken"]
    outcomes, texts = report.get("outcomes", {}), report.get("texts", {})
    if samples:
        minutes = samples[-1]["minute"]
        judged = minutes >= JUDGED_MINUTES - 0.5
        base, end = (BASE_MINUTES, END_MINUTES) if judged else ((minutes / 4, minutes / 2), minutes / 4)
        for kind in ("rss", "pss"):
            before = _median(one[kind] for one in samples if base[0] <= one["minute"] <= base[1])
            after = _median(one[kind] for one in samples if one["minute"] > minutes - end)
            report[kind] = {"before": before, "after": after, "growth": after / before - 1, "judged": judged}
        if judged and report["rss"]["growth"] > MOST_GROWTH:
            broken.append(f"memory grew by {report['rss']['growth']:.1%}")
        report["drift"] = drift = _drift([one for one in samples if one["minute"] >= base[0]])
        if judged and drift is not None and drift["low"] > MOST_DRIFT_MS_PER_HOUR:
            broken.append(f"latency drifts by {drift['ms_per_hour']:.1f} ms an hour")
    wrong = {
        "texts differ": texts.get("different", 0),
        "streams failed": outcomes.get("failed", 0),
        "places were not given back": report.get("places_left", 0),
        "is the server's exit status": report["exit_status"],
    }
    if not outcomes.get("complete"):
        broken.append("no stream was complete")
    broken += [f"{count} {what}" for what, count in wrong.items() if count]


def _median(values: Iterator[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else float("nan")


def _drift(samples: list[dict[str, Any]]) -> dict[str, float] | None:
    """Return the slope of the medians of final latency over time, with its 95 % limits (Theil and Sen)."""
    from scipy.stats import theilslopes

    points = [(one["minute"] / 60, one["p50"]) for one in samples if one["p50"] is not None]
    if len(points) < 5:  # noqa: PLR2004  fewer have no limits
        return None
    hours, medians_ms = zip(*points, strict=True)
    slope, _, low, high = theilslopes(medians_ms, hours, alpha=0.95)
    return {"ms_per_hour": float(slope), "low": float(low), "high": float(high)}


def tell(line: str) -> None:
    """Say how it goes, on stderr."""
    print(line, file=sys.stderr, flush=True)


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="null")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.7, help="of the capacity that is found")
    parser.add_argument("--streams", type=int, help="so many at once instead")
    parser.add_argument("--workers", type=int, help="front-end processes of the server")
    parser.add_argument("--cpus", type=int, help="processors of the server; the client has all")
    parser.add_argument("--set", action="append", default=[], help="a setting of the server, NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON of everything found")
    return parser.parse_args()


def main() -> None:
    """Run, judge, print, and exit with 1 when a bound was broken."""
    options = read_options()
    server = Server(options.engine, options.workers, options.cpus, options.set)
    shown = {name: value if value is None else str(value) for name, value in vars(options).items()}
    report: dict[str, Any] = {"options": shown, "command": server.command[1:], "samples": [], "broken": []}
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(soak(options, server, report))
    finally:
        report["exit_status"] = server.stop()
        report["complaints"] = {"lines": server.complaints, "last": list(server.said)}
        judge(report)
        if options.out is not None:
            options.out.write_text(json.dumps(report, indent=1) + "\n")
        print(json.dumps({name: value for name, value in report.items() if name not in {"samples", "examples"}}))
        tell("broken: " + "; ".join(report["broken"]) if report["broken"] else "nothing was broken")
    raise SystemExit(bool(report["broken"]))


if __name__ == "__main__":
    main()
