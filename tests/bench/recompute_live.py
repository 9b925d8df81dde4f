"""Recompute the figures of a live run from its raw events, with nothing but the standard library.

    python recompute_live.py RUN_FOLDER

prints a JSON object of the shape of the run's own `levels` and `certificate`. It shares no code with Auricle: it is
written from the definitions of the metrics and the layout of the events. Where several best alignments exist, the split
of errors into S, D and I is not fixed; `substitutions` is then a pair of the least and the most. Limits of intervals
are pairs too, of what is tolerated, because resampling is random; exact ones are plain numbers.
"""

from __future__ import annotations

import functools
import gzip
import json
import math
import random
import re
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

Event = dict[str, Any]
NEVER = math.inf
CONFIDENCE_MISSED = 0.01
RESAMPLES = 1500
LATE_MS, BUSY_CPU = 20.0, 0.8
GARWOOD = ((0.0, 3.6889), (0.0253, 5.5716), (0.2422, 7.2247), (0.6187, 8.7673), (1.0899, 10.2416), (1.6235, 11.6683))
FEW_PARTS = len(GARWOOD)
DECIDES, PASSES = 10, 20


def words_of(text: str) -> tuple[str, ...]:
    """Normalise plain ASCII: letters and digits in lower case; raises ValueError for any other text."""
    if not text.isascii():
        raise ValueError(f"not plain ASCII: {text!r}")
    return tuple(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


@functools.cache
def distances(reference: tuple[str, ...], heard: tuple[str, ...]) -> tuple[int, int, int]:
    """Return the fewest errors, and the least and the most substitutions among them."""
    weight = 1 << 20
    found = []
    for sign in (1, -1):
        row = [number * weight for number in range(len(heard) + 1)]
        for wanted in reference:
            above, row = row, [row[0] + weight]
            for place, word in enumerate(heard):
                through = above[place] + (0 if word == wanted else weight + sign)
                row.append(min(through, above[place + 1] + weight, row[place] + weight))
        found.append(row[-1])
    errors = round(found[0] / weight)
    return errors, found[0] - errors * weight, errors * weight - found[1]


@functools.cache
def matches(reference: tuple[str, ...], heard: tuple[str, ...]) -> tuple[tuple[int | None, int | None], ...]:
    """Return an alignment as pairs of places, None where one has nothing.

    Of those with the fewest errors it has the most matches, which come as early as they can.
    """
    rows, columns, error = len(reference), len(heard), 1 << 20
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]

    def through(i: int, j: int) -> int:
        return cost[i + 1][j + 1] + (error if reference[i] != heard[j] else -1)

    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            options = [
                *([through(i, j)] if i < rows and j < columns else []),
                *([cost[i + 1][j] + error] if i < rows else []),
                *([cost[i][j + 1] + error] if j < columns else []),
            ]
            cost[i][j] = min(options, default=0)
    i = j = 0
    pairs: list[tuple[int | None, int | None]] = []
    while i < rows or j < columns:
        if i < rows and j < columns and cost[i][j] == through(i, j):
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif i < rows and cost[i][j] == cost[i + 1][j] + error:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return tuple(pairs)


def needed(share: float) -> int:
    """Return how many observations show a tail at 99 % confidence when none lies beyond: share^n <= 1 %."""
    count, left = 0, 1.0
    while left > CONFIDENCE_MISSED:
        count, left = count + 1, left * max(share, 1 - share)
    return count


def percentile(values: list[float], share: float, independent: int) -> float | None:
    """Return the smallest value with at least that share at or below it, None where too few bear it."""
    if independent < needed(share):
        return None
    return sorted(values)[math.ceil(Fraction(str(share)) * len(values)) - 1]


def distribution(values: list[float], blocks: int) -> Event:
    """Return percentiles in ms; None as well where one lies among those that never came."""
    found: Event = {"n": len(values), "never": values.count(NEVER), "blocks": blocks}
    for share in (0.5, 0.9, 0.95, 0.99):
        value = percentile(values, share, blocks)
        found[f"p{100 * share:g}_ms"] = None if value in {None, NEVER} else value * 1000
    came = [value for value in values if value != NEVER]
    return found | {"max_ms": max(came) * 1000 if came else None}


def at_most(most: int, count: int, share: float) -> float:
    """Return how likely at most so many of `count` are, when each is with probability `share`."""
    if share in {0.0, 1.0}:
        return float(share == 0 or most >= count)
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(share) + (count - k) * math.log1p(-share)
        for k in range(most + 1)
    ]  # fmt: skip
    return math.fsum(map(math.exp, logs))


def limits(parts: list[float], wholes: list[float], *, signed: bool = False) -> tuple[Any, Any]:
    """Return the 95 % limits of sum(parts) ÷ sum(wholes): exact Poisson ones below six parts that are not zero.

    Otherwise pairs of what is tolerated: as far out as a plain bootstrap, by a third to four times.
    """
    total = sum(wholes)
    if sum(part != 0 for part in parts) < FEW_PARTS:
        usual = [abs(part) for part in parts if part]
        size = sum(usual) / len(usual) if usual else 1.0

        def sides(values: list[float]) -> tuple[float, float]:
            low, high = GARWOOD[len(values)]
            each = sum(values) / len(values) if values else size
            return low * each, high * each

        above, below = sides([part for part in parts if part > 0]), (0.0, 0.0)
        if signed:
            below = sides([-part for part in parts if part < 0])
        most = math.inf
        if not signed and all(wholes):
            most = max(1.0, *(part / whole for part, whole in zip(parts, wholes, strict=True)))
        return (above[0] - below[1]) / total, min(most, (above[1] - below[0]) / total)
    rng, count, ratio = random.Random(1), len(parts), sum(parts) / total
    draws = []
    for _ in range(RESAMPLES):
        chosen = rng.choices(range(count), k=count)
        draws.append(sum(parts[n] for n in chosen) / (sum(wholes[n] for n in chosen) or 1.0))
    draws.sort()
    low, high = ratio - draws[round(0.025 * RESAMPLES)], draws[round(0.975 * RESAMPLES)] - ratio
    spread, most = (low + high) / 2, 4.0
    bottom = [ratio - most * spread - 1e-9, ratio - spread / 3 + 1e-9]
    return (bottom if signed else [max(0.0, limit) for limit in bottom]), [
        ratio + spread / 3 - 1e-9,
        ratio + most * spread + 1e-9,
    ]


class Stream:
    """One stream with the words of its utterances and what was heard of each."""

    def __init__(self, event: Event, pieces: list[tuple[Event, float]]) -> None:
        self.event = event
        self.pieces = pieces
        self.complete = event["outcome"] == "complete"
        self.finals = [m for m in event["messages"] if m[2] and m[3]]
        self.text = " ".join(m[3] for m in self.finals) if self.complete else None
        self.references = [words_of(piece["reference"]) for piece, _ in pieces]
        self.heard, self.lasts = self._split()

    def captured_s(self, offset_s: float) -> float | None:
        """Return when the sample at that offset was captured."""
        start_s, speed = self.event["start_s"], self.event["speed"]
        return None if start_s is None or speed is None else start_s + offset_s / speed

    def _split(self) -> tuple[list[tuple[str, ...]], list[float | None]]:
        """Return the words heard of each utterance, and the moment of the final that holds the last of them."""
        if self.text is None:
            return [()] * len(self.pieces), [None] * len(self.pieces)
        moments = [m[0] for m in self.finals for _ in words_of(m[3])]
        heard, joined = words_of(self.text), sum(self.references, ())
        owners = [number for number, reference in enumerate(self.references) for _ in reference]
        split: list[list[int]] = [[] for _ in self.pieces]
        owner = owners[0] if owners else 0
        for place, word in matches(joined, heard):
            owner = owner if place is None else owners[place]
            if word is not None:
                split[owner].append(word)
        return (
            [tuple(heard[word] for word in own) for own in split],
            [moments[own[-1]] if own else None for own in split],
        )

    def emissions(self) -> list[float]:
        """Return for each timed reference word how long after its end the first message held it."""
        joined = sum(self.references, ())
        first = [NEVER] * len(joined)
        before = ""
        for at_s, _, is_final, text, *_ in self.event["messages"]:
            so_far = f"{before} {text}"
            before = so_far if is_final else before
            heard = words_of(so_far)
            for place, word in matches(joined, heard):
                if place is not None and word is not None and joined[place] == heard[word]:
                    first[place] = min(first[place], at_s)
        ends = [offset_s + end_s for piece, offset_s in self.pieces for _, _, end_s in piece["words"]]
        assert len(ends) in {0, len(joined)}
        spoken = [self.captured_s(end_s) for end_s in ends]
        return [
            NEVER if begin_s is None else at_s - begin_s
            for begin_s, at_s in zip(spoken, first[: len(ends)], strict=True)
        ]

    def chunks(self) -> list[float] | None:
        """Return for each chunk how long after it was due the first message covered it."""
        told = self.event
        covering = [(m[0], m[1]) for m in told["messages"] if m[1] is not None]
        if told["speed"] is None or (self.complete and not covering):
            return None
        found = []
        for number in range(math.ceil(told["samples"] / told["chunk"])):
            end_s = min((number + 1) * told["chunk"], told["samples"]) / told["rate"]
            at_s = next((at_s for at_s, covered_s in covering if covered_s >= end_s - 0.001), NEVER)
            found.append(at_s - told["due_s"][number] if number < len(told["due_s"]) else NEVER)
        return found


def error_rate(streams: list[Stream], *, characters: bool) -> Event | None:
    """Return errors ÷ reference length over all utterances that were admitted."""
    units: dict[str, list[float]] = {}
    total = [0, 0, 0, 0, 0]
    speakers = {}
    for stream in streams:
        for (piece, _), reference, heard in zip(stream.pieces, stream.references, stream.heard, strict=True):
            wanted, found = (tuple(" ".join(one)) if characters else one for one in (reference, heard))
            errors, least, most = distances(wanted, found)
            sums = units.setdefault(piece["id"], [0, 0])
            sums[0], sums[1] = sums[0] + errors, sums[1] + len(wanted)
            for place, value in enumerate((errors, least, most, len(wanted), len(found))):
                total[place] += value
            speakers[piece["id"]] = piece["speaker"] or piece["id"]
    errors, least, most, length, heard_length = total
    if not length:
        return None
    low, high = limits(*blocks(units, speakers))
    return {
        "rate": errors / length,
        "substitutions": [least, most],
        "errors": errors,
        "insertions_minus_deletions": heard_length - length,
        "reference_length": length,
        "low": low,
        "high": high,
        "resampled": "blocks" if len(set(speakers.values())) >= 20 else "utterances",
    }


def blocks(units: dict[str, list[float]], speakers: dict[str, str]) -> tuple[list[float], list[float]]:
    """Return the sums of what is resampled: speakers where there are twenty, else utterances."""
    if len({speakers[name] for name in units}) >= 20:
        joined: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for name, sums in units.items():
            own = joined[speakers[name]]
            own[0], own[1] = own[0] + sums[0], own[1] + sums[1]
        units = dict(joined)
    return [sums[0] for sums in units.values()], [sums[1] for sums in units.values()]


def paired(base: list[Stream], level: list[Stream]) -> Event | None:
    """Return the difference of the word error rates over the utterances of both, each as often as in the level."""

    def sums(streams: list[Stream]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        for stream in streams:
            for (piece, _), reference, heard in zip(stream.pieces, stream.references, stream.heard, strict=True):
                own = found[piece["id"]]
                own[0], own[1], own[2] = own[0] + 1, own[1] + distances(reference, heard)[0], own[2] + len(reference)
        return found

    before, after = sums(base), sums(level)
    speakers = {piece["id"]: piece["speaker"] or piece["id"] for stream in level for piece, _ in stream.pieces}
    shared = [name for name in after if name in before]
    words = sum(after[name][2] for name in shared)
    if not words:
        return None
    early = {name: after[name][0] * before[name][1] / before[name][0] for name in shared}
    units = {name: [after[name][1] - early[name], after[name][2]] for name in shared}
    low, high = limits(*blocks(units, speakers), signed=True)
    return {
        "rate_base": sum(early.values()) / words,
        "rate": sum(after[name][1] for name in shared) / words,
        "difference": sum(extra for extra, _ in units.values()) / words,
        "utterances": len(shared),
        "only_level": len(after) - len(shared),
        "low": low,
        "high": high,
    }


def differing(base: dict[str, str], level: list[Stream]) -> Event:
    """Count the complete streams whose programme has a base text, and those with another text."""
    both = [(base[s.event["programme"]], s.text) for s in level if s.text is not None and s.event["programme"] in base]
    return {"compared": len(both), "different": sum(one != other for one, other in both)}


def texts(streams: list[Stream]) -> dict[str, str]:
    """Return the first complete text of each programme."""
    return {s.event["programme"]: s.text for s in reversed(streams) if s.text is not None}


def stability(streams: list[Stream]) -> Event | None:
    """Return words shown and later changed ÷ words shown, utterance by utterance."""
    shown = changed = 0
    for stream in streams:
        before: tuple[str, ...] = ()
        for _, _, is_final, text, *_ in stream.event["messages"]:
            now = tuple(text.split())
            pairs = [(one, other) for one, other in matches(before, now) if one is not None and other is not None]
            same = sum(before[one] == now[other] for one, other in pairs)
            changed, shown = changed + len(before) - same, shown + len(now) - same
            before = () if is_final else now
    return {"shown": shown, "changed": changed, "upwr": changed / shown} if shown else None


def losses(streams: list[Stream]) -> Event:
    """Count utterances of complete streams that are empty, and those whose last two words or more are lost."""
    empty = truncated = 0
    for stream in (one for one in streams if one.complete):
        for reference, heard in zip(stream.references, stream.heard, strict=True):
            empty += bool(reference) and not heard
            lost = [place is not None and word is None for place, word in matches(reference, heard)][-2:]
            truncated += bool(heard) and lost == [True, True]
    return {"empty": empty, "truncated": truncated}


def first_tokens(streams: list[Stream], *, from_onset: bool) -> list[float]:
    """Return capture of the first (spoken) sample -> first message with words."""
    found = []
    for stream in streams:
        piece, offset_s = stream.pieces[0]
        if from_onset and piece["onset_s"] is None:
            continue
        begin_s = stream.captured_s(offset_s + piece["onset_s"] if from_onset else 0.0)
        at_s = next((m[0] for m in stream.event["messages"] if m[3].strip()), NEVER)
        found.append(NEVER if begin_s is None else at_s - begin_s)
    return found


def first_token_parts(streams: list[Stream]) -> Event | None:
    """Return the medians of what the time to first token is made of, by the server's stamps."""
    found = []
    for stream in streams:
        told, (piece, offset_s) = stream.event, stream.pieces[0]
        first = next((m for m in told["messages"] if m[3].strip()), None)
        if first is None or first[1] is None or not first[4] or piece["onset_s"] is None:
            continue
        at_s, covered_s, _, _, at = first
        onset_s, number = stream.captured_s(offset_s + piece["onset_s"]), 0
        while (number + 1) * told["chunk"] / told["rate"] < covered_s - 1e-6 * told["chunk"]:
            number += 1
        if onset_s is None or number >= len(told["due_s"]):
            continue
        due_s, sent_s = told["due_s"][number], told["sent_s"][number]
        found.append({
            "speech": due_s - onset_s,
            "client": sent_s - due_s,
            "network": at_s - sent_s - (at["sent"] - at["received"]),
            "event_loop": (at["ready"] - at["received"]) + (at["sent"] - at["stepped"]),
            "tick_wait": at["tick"] - at["ready"],
            "queue": at["step"] - at["tick"],
            "compute": at["stepped"] - at["step"],
        })  # fmt: skip
    if not found:
        return None
    values = {name: [1000 * one[name] for one in found] for name in found[0]}
    return {"n": len(found), **{f"{name}_ms": percentile(own, 0.5, len(own)) for name, own in values.items()}}


def finals(stream: Stream) -> list[float]:
    """Return last spoken sample -> the final that completes the utterance, for each that has words."""
    found = []
    for (piece, offset_s), reference, at_s in zip(stream.pieces, stream.references, stream.lasts, strict=True):
        if piece["end_s"] is not None and reference:
            begin_s = stream.captured_s(offset_s + piece["end_s"])
            found.append(NEVER if at_s is None or begin_s is None else at_s - begin_s)
    return found


def finalizes(streams: list[Stream]) -> list[float]:
    """Return end of audio told -> last final after it."""
    found = []
    for stream in streams:
        told_s = stream.event["end_of_audio_s"]
        after = [m[0] for m in stream.event["messages"] if m[2] and told_s is not None and m[0] >= told_s]
        if after:
            found.append(after[-1] - told_s)
        elif told_s is not None and not stream.complete:
            found.append(NEVER)
    return found


def chunk_figures(streams: list[Stream], late_s: float) -> Event:
    """Return chunk latency, the share that is late and the drift; None where messages do not say what they cover."""
    if not any(m[1] is not None for stream in streams for m in stream.event["messages"]):
        return {"chunk": None, "late": None, "drift": None}
    told = [(stream.event, values) for stream in streams if (values := stream.chunks()) is not None]
    every = [value for _, values in told for value in values]
    late = [float(sum(value > late_s for value in values)) for _, values in told]
    low, high = limits(late, [float(len(values)) for _, values in told]) if len(told) > 1 else (None, None)
    tops, bottoms = [], []
    for event, values in told:
        line = [
            ((number + 1) * event["chunk"] / event["rate"] / event["speed"], 1000 * value)
            for number, value in enumerate(values)
            if value != NEVER
        ]
        if len(line) > 1:
            mean_x, mean_y = (math.fsum(point[axis] for point in line) / len(line) for axis in (0, 1))
            tops.append(math.fsum((x - mean_x) * (y - mean_y) for x, y in line))
            bottoms.append(math.fsum((x - mean_x) ** 2 for x, _ in line))
    drift = None
    if tops:
        sides = limits(tops, bottoms, signed=True) if len(tops) >= DECIDES else (None, None)
        drift = {"ms_per_s": sum(tops) / sum(bottoms), "low": sides[0], "high": sides[1], "streams": len(tops)}
    seconds = {int(due_s) for event, _ in told for due_s in event["due_s"]}
    return {
        "chunk": distribution(every, max(len(told), len(seconds))),
        "late": {
            "bound_ms": late_s * 1000,
            "late": int(sum(late)),
            "chunks": len(every),
            "share": sum(late) / len(every),
            "low": low,
            "high": high,
        },
        "drift": drift,
    }


def timings(streams: list[Stream], slo: Event) -> Event:
    """Return the latencies of a paced level."""
    onsets, starts = (first_tokens(streams, from_onset=flag) for flag in (True, False))
    ends, told = [finals(stream) for stream in streams], finalizes(streams)
    words = [stream.emissions() for stream in streams]
    every = [value for own in words for value in own]
    emission = None
    if every:
        coverage = sum(value != NEVER for value in every) / len(every)
        emission = distribution(every, sum(map(bool, words))) | {"coverage": coverage}
    return {
        "ttft": distribution(onsets, len(onsets)),
        "ttft_parts": first_token_parts(streams),
        "ttft_from_start": distribution(starts, len(starts)),
        "final": distribution([value for own in ends for value in own], sum(map(bool, ends))),
        "finalize": distribution(told, len(told)),
        "emission": emission,
        **chunk_figures(streams, slo["late_ms"] / 1000),
    }


def holds(low: Any, high: Any, bound: float) -> str:
    """Judge a share by its limits; `unknown` where they are no plain numbers and what is tolerated leaves it open."""
    lows, highs = (limit if isinstance(limit, list) else [limit] for limit in (low, high))
    if max(highs) <= bound:
        return "pass"
    if min(lows) > bound:
        return "fail"
    return "undecided" if min(highs) > bound and max(lows) <= bound else "unknown"


def beyond(values: list[list[float]], bound_s: float, most: float) -> str:
    """Judge the share of values beyond a bound, stream by stream; fewer than twenty do not pass."""
    told = [own for own in values if own]
    late = [float(sum(value > bound_s for value in own)) for own in told]
    if len(told) < 2:
        return "fail" if told and late[0] == len(told[0]) else "undecided"
    found = holds(*limits(late, [float(len(own)) for own in told]), most)
    return "undecided" if found == "pass" and len(told) < PASSES else found


def verdict(slo: Event, streams: list[Stream], counts: Event, difference: Event | None) -> Event:
    """Judge a level by the bounds of the run."""
    found: dict[str, str | None] = {}
    if slo["final_p95_ms"] is not None:
        found["final"] = beyond([finals(one) for one in streams], slo["final_p95_ms"] / 1000, 0.05)
    if slo["ttft_p95_ms"] is not None:
        onsets = [first_tokens([one], from_onset=True) for one in streams]
        found["ttft"] = beyond(onsets, slo["ttft_p95_ms"] / 1000, 0.05)
    if slo["late_share"] is not None:
        told = [values for one in streams if (values := one.chunks()) is not None]
        is_told = any(m[1] is not None for one in streams for m in one.event["messages"])
        found["late"] = beyond(told, slo["late_ms"] / 1000, slo["late_share"]) if is_told else None
        if not any(one.event["messages"] for one in streams):
            found["late"] = "undecided"
    if slo["wer_margin_points"] is not None:
        found["wer"] = "undecided"
        if difference is not None and difference["utterances"] >= DECIDES:
            found["wer"] = holds(difference["low"], difference["high"], slo["wer_margin_points"] / 100 - 1e-12)
    if slo["refused_share"] is not None:
        found["refused"] = "pass" if counts["refused"] <= slo["refused_share"] * counts["tried"] else "fail"
    known = {one for one in found.values() if one is not None}
    whole = "pass" if known == {"pass"} else "undecided"
    if "unknown" in known:
        whole = "unknown"
    return {"verdict": "fail" if "fail" in known else whole, "criteria": found}


def outcomes(event: Event, streams: list[Event]) -> Event:
    """Count the streams that count; `held` is the median of those open at 200 moments after the first quarter."""
    counted = [told for told in streams if told["counted"]]
    ends = {name: sum(told["outcome"] == name for told in counted) for name in ("complete", "refused")}
    held = None
    if event["counted_until_s"] is not None:
        begin_s, end_s = event["began_s"], event["counted_until_s"]
        begin_s += (end_s - begin_s) / 4
        live = [told for told in streams if told["outcome"] != "refused" and told["ready_s"] is not None]
        moments = [begin_s + (end_s - begin_s) * number / 199 for number in range(200)]
        held = median(sum(t["ready_s"] <= at_s < t["closed_s"] for t in live) for at_s in moments)
    lost = [told for told in counted if told["outcome"] not in ends]
    unconnected = sum(told["ready_s"] is None for told in lost)
    ends |= {"unconnected": unconnected, "failed": len(lost) - unconnected}
    return {"tried": len(counted), "held": held, **ends, "skipped": event["skipped"]}


def throughput(streams: list[Event]) -> Event:
    """Return audio seconds ÷ wall seconds, from the first to the last of the complete streams that count.

    The audio is that of every stream that did not fail, as much as was sent by then; of uploads, those answered.
    """
    complete = [told for told in streams if told["counted"] and told["outcome"] == "complete"]
    if not complete:
        return {"audio_s": 0.0, "wall_s": None, "rtfx": None}
    until_s = max(told["closed_s"] for told in complete)
    wall_s, audio_s = until_s - min(told["connect_s"] for told in complete), 0.0
    for told in streams:
        sent = min(told["samples"], told["chunk"] * sum(at_s <= until_s for at_s in told["sent_s"]))
        if told["outcome"] == "complete" and told["closed_s"] <= until_s:
            audio_s += told["samples"] / told["rate"]
        elif told["outcome"] == "complete" or (told["outcome"] == "cancelled" and not told["counted"]):
            audio_s += sent / told["rate"] if told["dialect"] != "openai-http" else 0.0
    return {"audio_s": audio_s, "wall_s": wall_s, "rtfx": audio_s / wall_s}


def client(streams: list[Event], clients: list[Event]) -> Event:
    """Return how late chunks were sent that the server did not hold back, and whether the client was fit."""
    late = [
        1000 * (sent_s - due_s)
        for told in streams
        if told["speed"] is not None
        for number, (due_s, sent_s) in enumerate(zip(told["due_s"], told["sent_s"], strict=True))
        if number not in told["held"]
    ]
    known = [percentile(late, share, len(late)) for share in (0.99, 0.5)]
    slow = sum(value > LATE_MS for value in late)
    is_late = slow > 0 and 1 - at_most(slow - 1, len(late), 0.01) <= CONFIDENCE_MISSED + 1e-12
    cpu = max((one["cpu_s"] / one["wall_s"] for one in clients), default=None)
    limit = max((one["limit"] for one in clients if one["limit"] is not None), default=None)
    most_live = max((one["most_live"] for one in clients), default=0)
    reasons = (is_late, cpu is not None and cpu > BUSY_CPU, limit is not None and most_live > limit)
    return {
        "late_p50_ms": known[1],
        "late_p99_ms": known[0],
        "late_max_ms": max(late, default=None),
        "late": slow,
        "chunks": len(late),
        "held": sum(len(told["held"]) for told in streams),
        "cpu": cpu,
        "processes": len(clients),
        "most_live": sum(one["most_live"] for one in clients),
        "limit": limit,
        "void": sum(reasons),
    }


def server(level: Event, held: float | None, of: dict[str, list[Event]]) -> Event:
    """Return what the server took, from the samples of its processes and its own counters."""
    usage = next(iter(of["usage"]), None)
    scrapes = {told["moment"]: told["figures"] for told in of["scrape"]}
    begin, end = scrapes.get("begin", {}), scrapes.get("end", {})

    def grown(name: str) -> float | None:
        return end[name] - begin.get(name, 0.0) if scrapes and name in end else None

    def mean(name: str) -> float | None:
        total, count = grown(f"{name}_sum"), grown(f"{name}_count")
        return None if total is None or not count else total / count

    step_s, audio_s = grown("auricle_step_seconds_sum"), grown("auricle_audio_out_seconds_total{kind=live}")
    named = {"queue_wait": "queue_wait_seconds", "step": "step_seconds", "loop_lag": "loop_lag_seconds"}
    found: Event = {
        f"{name}_mean_ms": None if (value := mean(f"auricle_{metric}")) is None else 1000 * value
        for name, metric in named.items()
    }
    found["step_streams_mean"] = mean("auricle_step_streams")
    found["duty"] = None if step_s is None else step_s / (level["ended_s"] - level["began_s"])
    found["headroom"] = audio_s / step_s / held if step_s and audio_s is not None and held else None
    if usage is not None:
        found["cpu_cores"] = usage["cpu_children_s"] / usage["duration_s"]
        found |= {f"peak_{kind}_bytes": usage[f"peak_{kind}_children_bytes"] for kind in ("rss", "pss")}
    return found


def recompute(folder: Path) -> Event:
    """Return the levels and the certificate of a run."""
    settings = json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"]
    with gzip.open(folder / "events.jsonl.gz", "rt", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines]
    utterances = {event["id"]: event for event in events if event["event"] == "utterance"}
    pieces = {
        event["name"]: [(utterances[name], at_s) for name, at_s in event["pieces"]]
        for event in events
        if event["event"] == "programme"
    }
    parts: dict[tuple[int, str], list[Event]] = defaultdict(list)
    for event in events:
        if "level" in event:
            parts[event["level"], event["event"]].append(event)
    told = [event for event in events if event["event"] == "level"]
    streams: dict[int, list[Stream]] = {}
    for event in told:
        own = sorted(parts[event["level"], "stream"], key=lambda one: int(one["stream"]))
        streams[event["level"]] = [
            Stream(one, pieces[one["programme"]]) for one in own if one["counted"] and one["outcome"] != "refused"
        ]
    levels = []
    for event in told:
        level = _level(event, {kind: parts[event["level"], kind] for kind in ("stream", "client", "usage", "scrape")})
        levels.append(level | _scores(event, streams, told, level["streams"], settings))
    sound = {(one["arm"], one["live"]) for one in levels if one["phase"] == "probe" and not one["client"]["void"]}
    paced = [
        one["client"]
        for one in levels
        if one["speed"] is not None
        and not (one["phase"] == "probe" and one["client"]["void"] and (one["arm"], one["live"]) in sound)
    ]
    worst = {
        name: max((one[name] for one in paced if one[name] is not None), default=None)
        for name in ("late_p99_ms", "late_max_ms", "cpu", "limit")
    }
    return {"levels": levels, "certificate": {**worst, "void": sum(one["void"] for one in paced)}}


def _level(event: Event, of: dict[str, list[Event]]) -> Event:
    told = outcomes(event, of["stream"])
    until_s = event["counted_until_s"]
    return {
        **{name: event[name] for name in ("level", "arm", "phase", "live", "speed")},
        "seconds": None if until_s is None else until_s - event["began_s"],
        "streams": told,
        **throughput(of["stream"]),
        "server": server(event, told["held"], of),
        "client": client(of["stream"], of["client"]),
    }


def _scores(event: Event, streams: dict[int, list[Stream]], told: list[Event], counts: Event, settings: Event) -> Event:
    own = [one for one in told if one["arm"] == event["arm"]]
    reference = next((one["level"] for one in own if one["phase"] == "reference"), None)
    single = next((one["level"] for one in own if one["phase"] != "reference" and one["live"] == 1), None)
    base = single if reference is None else reference
    if reference is not None:
        is_sound = all(stream.complete for stream in streams[reference])
        if single is not None and differing(texts(streams[reference]), streams[single])["different"]:
            is_sound = False
        base = reference if is_sound else single
    mine = streams[event["level"]]
    found: Event = {
        "wer": error_rate(mine, characters=False),
        "cer": error_rate(mine, characters=True),
        **losses(mine),
        "connect": distribution(connects(mine), len(connects(mine))),
        "upwr": stability(mine),
    }
    if base is not None and base != event["level"]:
        found["paired"] = paired(streams[base], mine)
        found["differing"] = differing(texts(streams[base]), mine)
    if event["speed"] is None:
        return found
    found["slo"] = verdict(settings["slo"], mine, counts, found.get("paired"))
    return found | timings(mine, settings["slo"])


def connects(streams: list[Stream]) -> list[float]:
    """Return connect -> ready; uploads do not show it."""
    known = [stream.event for stream in streams if stream.event["connect_s"] is not None]
    told = [event for event in known if event["dialect"] != "openai-http"]
    return [NEVER if one["ready_s"] is None else one["ready_s"] - one["connect_s"] for one in told]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(recompute(Path(sys.argv[1])), indent=1) + "\n")
