"""What the run folder of a live benchmark holds, beside what `auricle.bench.records` says of every run.

`run.json` adds:

    settings      LiveSettings as an object; keys and the values of headers are left out
    arms          [{name, spawned (command line or null), server_cpus, summary...}]
    levels        the summary of every level, as `summary.summarise` computes it from the events
    reference     by arm: how the reference texts of one stream at a time fared, or null
    capacity      by arm: {low, high, probes, void}, what the search answered (`capacity.Capacity`), or null
    certificate   whether the client was fit to measure; `void` lists why not

`events.jsonl` holds these kinds. Every `*_s` that is a moment is in seconds of the run's own clock, that of `t_s`;
offsets within a recording say so. Unknown is null.

    utterance     id, reference, language, speaker, audio_s; onset_s and end_s: first and last spoken sample, offsets in
                  the utterance; words: [[text, start_s, end_s], ...] offsets; timed_by: `alignment` (words of the
                  corpus), `vad`, or null with onset_s and end_s null
    programme     name; pieces: [[utterance, offset_s], ...], where each utterance begins in it; audio_s. What a stream
                  plays, whole and in order
    arm           arm, spawned, server_cpus, says (what the server told when it listened), lookahead_ms (of the model,
                  as the server's /health tells it), announced when it is up
    level         written when a level is over: level (a number of its own in the run), arm, phase (`reference`, one
                  stream at a time, unpaced; `level`; `probe`, of the search for capacity), live (streams at once),
                  per_s (Poisson arrivals a second, for as many on average; null with a fixed number), speed (null:
                  unpaced), began_s, counted_until_s (streams started later only keep up the load), ended_s, skipped
                  (Poisson arrivals not started)
    stream        one for every stream, at its end: level, stream (number in the level), client (process), counted
                  (false: it only kept up the load), programme, dialect, rate, chunk (samples), samples, speed,
                  connect_s, ready_s, start_s (when its first sample is captured), due_s [], sent_s [] (one value a
                  chunk that was sent), held [] (numbers of the chunks that waited because the server did not read),
                  messages [[at_s, covered_s, is_final, text, stamps], ...] (covered_s: the offset in the stream up to
                  which a message speaks, null where the dialect does not say; stamps: the server's own times or null),
                  end_of_audio_s (the server was told), closed_s, close_code, outcome (complete, refused, failed,
                  cancelled), error, retry_after_s
    client        level, client, cpu_s, wall_s, most_live, loop, limit (streams that one such process could play on time
                  against the null server on this machine, null when not measured): one load process over a level
    usage         level and `auricle.bench.sampler.Usage`: `children` are the spawned server's processes, `own` is the
                  process of the benchmark, which makes no load
    sample        arm and one reading of `auricle.bench.sampler`
    scrape        level, moment (`begin`, `end`), figures {name: value}: the server's own counters from its /metrics
    throttle      level, periods, throttled, throttled_s: from the server's cgroup over the level

The streams of a level that was interrupted have events, the level has none.

A stream was tried when it has an event; it was refused when its outcome is; else, when it did not complete, it was not
connected (no ready_s) or it was admitted and failed, `cancelled` included unless it was not counted. A cancelled stream
that was not counted was cut off by the benchmark, not by the server.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from auricle.bench.records import RunFolder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from auricle.bench.live.programmes import Programme
    from auricle.bench.live.speech import Timed
    from auricle.client.events import StreamRecord

KIND = "live"


class Recorder(RunFolder):
    """A run being recorded that remembers events by their level, None for those of no level, until told to forget."""

    def __init__(self, path: Path, kind: str) -> None:
        self.by_level: dict[int | None, list[dict[str, Any]]] = {}
        super().__init__(path, kind)

    def event(self, event: str, /, *, at_s: float | None = None, **fields: Any) -> None:
        """Write an event as RunFolder does, and remember it unless it is a sample."""
        at_s = time.perf_counter() if at_s is None else at_s
        super().event(event, at_s=at_s, **fields)
        if event != "sample":
            line = {"t_s": self.since_start_s(at_s), "event": event, **fields}
            self.by_level.setdefault(fields.get("level"), []).append(line)

    def forget(self, but: Collection[int]) -> None:
        """Forget the events of all levels but these."""
        self.by_level = {level: events for level, events in self.by_level.items() if level is None or level in but}


def write_utterance(folder: RunFolder, timed: Timed) -> None:
    """Write the event of an utterance."""
    utterance = timed.utterance
    folder.event(
        "utterance",
        id=utterance.id,
        reference=utterance.text,
        language=utterance.language,
        speaker=utterance.speaker,
        audio_s=utterance.duration_s,
        onset_s=timed.onset_s,
        end_s=timed.end_s,
        words=[[word.text, word.start, word.end] for word in utterance.words],
        timed_by=timed.timed_by,
    )


def write_programme(folder: RunFolder, programme: Programme) -> None:
    """Write the event of a programme."""
    pieces = [[piece.utterance, piece.offset_s] for piece in programme.pieces]
    folder.event("programme", name=programme.name, pieces=pieces, audio_s=programme.duration_s)


def write_stream(folder: RunFolder, level: int, number: int, client: int, record: StreamRecord) -> None:
    """Write the event of a stream; the times of the record are readings of `time.perf_counter()`."""
    at = folder.since_start_s
    messages = [
        [at(at_s), None if math.isnan(covered_s) else round(covered_s, 6), bool(is_final), text, record.stamped.get(n)]
        for n, (at_s, covered_s, is_final, text) in enumerate(
            zip(record.heard_s, record.covered_s, record.is_final, record.texts, strict=True)
        )
    ]
    folder.event(
        "stream",
        at_s=record.closed_s,
        level=level,
        stream=number,
        client=client,
        counted=record.counted,
        programme=record.clip,
        dialect=record.dialect,
        rate=record.rate,
        chunk=record.chunk,
        samples=record.samples,
        speed=record.speed,
        **{name: _at(folder, getattr(record, name)) for name in ("connect_s", "ready_s", "start_s")},
        due_s=_all(folder, record.due_s),
        sent_s=_all(folder, record.sent_s),
        held=list(record.held),
        messages=messages,
        **{name: _at(folder, getattr(record, name)) for name in ("end_of_audio_s", "closed_s")},
        close_code=record.close_code,
        outcome=record.outcome,
        error=record.error,
        retry_after_s=record.retry_after_s,
    )


def _at(folder: RunFolder, at_s: float | None) -> float | None:
    return None if at_s is None else folder.since_start_s(at_s)


def _all(folder: RunFolder, moments_s: Iterable[float]) -> list[Any]:
    return [folder.since_start_s(at_s) for at_s in moments_s]
