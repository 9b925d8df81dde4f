"""Latencies of a level, each from an event that the schedule sets to one that the client saw.

What never came is an observation that is longer than any other, not one that is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.bench.drift import pooled_slope
from auricle.client.dialects import HTTP
from auricle.score.bootstrap import ratio_limits
from auricle.score.timing import percentile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from auricle.bench.live.reading import Stream
    from auricle.bench.live.scoring import ScoredStream

    Floats = NDArray[np.float64]

NEVER = math.inf
MS_PER_S = 1000.0
QUANTILES = (0.5, 0.9, 0.95, 0.99)
COVERAGE_TOLERANCE_S = 0.001


def distribution(values_s: Sequence[float], blocks: int) -> dict[str, Any]:
    """Return n, how many never came, and percentiles in ms, each None where so many independent blocks do not bear it.

    Blocks are streams; of chunks they are seconds where there are more of them.

    A percentile that lies among those that never came is None too.
    """
    found: dict[str, Any] = {"n": len(values_s), "never": sum(value == NEVER for value in values_s), "blocks": blocks}
    for quantile in QUANTILES:
        value = percentile(values_s, quantile, blocks)
        found[f"p{100 * quantile:g}_ms"] = None if value is None or value == NEVER else value * MS_PER_S
    came = [value for value in values_s if value != NEVER]
    return found | {"max_ms": max(came) * MS_PER_S if came else None}


def connect(streams: Sequence[Stream]) -> dict[str, Any]:
    """Return connect -> ready; an upload, whose answer is the first sign that it was connected, shows none."""
    told = [stream.event for stream in streams if stream.event["connect_s"] is not None]
    values = [
        NEVER if event["ready_s"] is None else event["ready_s"] - event["connect_s"]
        for event in told
        if event["dialect"] != HTTP
    ]
    return distribution(values, len(values))


def first_token(streams: Sequence[Stream], *, from_onset: bool) -> dict[str, Any]:
    """Return capture of the first spoken sample (or, raw, of the first sample) -> first partial or final with words."""
    values = first_tokens(streams, from_onset=from_onset)
    return distribution(values, len(values))


def first_tokens(streams: Sequence[Stream], *, from_onset: bool) -> list[float]:
    """Return it for every stream; those whose speech onset nothing tells are left out of the first kind."""
    values = []
    for stream in streams:
        piece, offset_s = stream.pieces[0]
        if from_onset and piece["onset_s"] is None:
            continue
        begin_s = stream.captured_s(offset_s + piece["onset_s"] if from_onset else 0.0)
        if begin_s is None and stream.outcome == "complete":
            continue
        heard_s = next((message.at_s for message in stream.messages if message.text.strip()), None)
        values.append(NEVER if begin_s is None or heard_s is None else heard_s - begin_s)
    return values


def final(scored: Sequence[ScoredStream]) -> dict[str, Any]:
    """Return last spoken sample of an utterance -> the final that holds the last word heard of it."""
    values = [list(finals_of(one)) for one in scored]
    return distribution([value for own in values for value in own], sum(map(bool, values)))


def finals_of(scored: ScoredStream) -> Iterator[float]:
    """Yield it for the utterances of a stream that have words and a known end."""
    for part in scored.parts:
        if part.utterance["end_s"] is None or not part.reference:
            continue
        spoken_s = scored.stream.captured_s(part.offset_s + part.utterance["end_s"])
        if spoken_s is None and scored.stream.outcome == "complete":
            continue
        yield NEVER if spoken_s is None or part.last_word_s is None else part.last_word_s - spoken_s


def finalize(streams: Sequence[Stream]) -> dict[str, Any]:
    """Return the end of the audio told -> the last final after it; a stream whose last final was before has none."""
    values = []
    for stream in streams:
        told_s = stream.event["end_of_audio_s"]
        if told_s is None:
            continue
        after = [message.at_s for message in stream.messages if message.is_final and message.at_s >= told_s]
        if after:
            values.append(after[-1] - told_s)
        elif stream.outcome != "complete":
            values.append(NEVER)
    return distribution(values, len(values))


def chunks_of(stream: Stream) -> Floats | None:
    """Return due -> first message that covers it, for each chunk in seconds; None where no message tells coverage.

    A chunk that was never sent, because the stream had failed, was never answered.
    """
    told = stream.event
    covered = [(message.at_s, message.covered_s) for message in stream.messages if message.covered_s is not None]
    if told["speed"] is None or (not covered and stream.outcome == "complete"):
        return None
    answers = np.full(stream.chunks, NEVER)
    due = np.asarray(told["due_s"], dtype=np.float64)
    if covered and len(due):
        reach = np.maximum.accumulate([offset_s for _, offset_s in covered]) + COVERAGE_TOLERANCE_S
        moments = np.append([at_s for at_s, _ in covered], NEVER)
        ends = np.minimum((np.arange(len(due)) + 1) * told["chunk"], told["samples"]) / told["rate"]
        answers[: len(due)] = moments[np.searchsorted(reach, ends)] - due
    return answers


def answered(streams: Sequence[Stream]) -> list[tuple[Stream, Floats]] | None:
    """Return the chunk latencies of all streams that have any; None where no message says what it covers."""
    if not any(message.covered_s is not None for stream in streams for message in stream.messages):
        return None
    return [(stream, answers) for stream in streams if (answers := chunks_of(stream)) is not None]


def chunk_figures(streams: Sequence[Stream], late_s: float, seed: int) -> dict[str, Any]:
    """Return chunk latency, the share that is late and the drift; None each where no message says what it covers."""
    found = answered(streams)
    if not found:
        return {"chunk": None, "late": None, "drift": None}
    values = [float(value) for _, answers in found for value in answers]
    late = np.array([float((answers > late_s).sum()) for _, answers in found])
    total = np.array([float(len(answers)) for _, answers in found])
    low, high = ratio_limits(late, total, seed=seed)[:2] if len(found) > 1 else (None, None)
    return {
        "chunk": distribution(values, max(len(found), _seconds(found))),
        "late": {
            "bound_ms": late_s * MS_PER_S,
            "late": int(late.sum()),
            "chunks": int(total.sum()),
            "share": float(late.sum() / total.sum()),
            "low": low,
            "high": high,
        },
        "drift": drift(found, seed),
    }


def _seconds(found: Sequence[tuple[Stream, Floats]]) -> int:
    """Return in how many seconds of the level chunks were due: those of one second are not independent."""
    return len({int(due_s) for stream, _ in found for due_s in stream.event["due_s"]})


def drift(found: Sequence[tuple[Stream, Floats]], seed: int) -> dict[str, Any] | None:
    """Return the pooled slope of chunk latency over stream time, as `pooled_slope` does.

    Chunks that were never answered have no place on the line.
    """
    return pooled_slope((_line(stream, answers) for stream, answers in found), seed)


def _line(stream: Stream, answers: Floats) -> tuple[Floats, Floats]:
    told = stream.event
    known = np.flatnonzero(np.isfinite(answers))
    return (known + 1) * told["chunk"] / told["rate"] / told["speed"], answers[known] * MS_PER_S


def emission(scored: Sequence[ScoredStream]) -> dict[str, Any] | None:
    """Return the end of a reference word -> the first message that holds it; None where no word is timed.

    `coverage` is the share of the timed words that were ever emitted; `untimed` counts the words that are not timed.
    """
    values: list[float] = []
    untimed = streams = 0
    for one in scored:
        before = len(values)
        for ends, moments in zip(one.word_ends(), one.emitted(), strict=True):
            if ends is None:
                untimed += len(moments)
                continue
            values += [_since(one.stream.captured_s(end_s), at_s) for end_s, at_s in zip(ends, moments, strict=True)]
        streams += len(values) > before
    if not values:
        return None
    coverage = sum(value != NEVER for value in values) / len(values)
    return distribution(values, streams) | {"coverage": coverage, "untimed": untimed}


def _since(begin_s: float | None, at_s: float | None) -> float:
    return NEVER if begin_s is None or at_s is None else at_s - begin_s
