"""Error rates of a level, and how they differ from those of one stream at a time.

An utterance that was played several times in a level is one unit of the bootstrap, its errors and words summed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from auricle.score.align import Counts
from auricle.score.bootstrap import MIN_SOUND, Interval, block_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auricle.bench.live.scoring import ScoredStream

NONE = Counts(0, 0, 0, 0)
Worse = Literal["not worse", "worse", "undecided"]


@dataclass(slots=True)
class Tally:
    """What was heard of one utterance: errors over all times that it was attempted."""

    block: str
    attempts: int = 0
    words: Counts = field(default=NONE)
    characters: Counts = field(default=NONE)


def tally(scored: Iterable[ScoredStream]) -> dict[str, Tally]:
    """Sum the errors of every utterance by its id; streams that were refused must not be among them."""
    tallies: dict[str, Tally] = {}
    for stream in scored:
        for part in stream.parts:
            name = part.utterance["id"]
            one = tallies.setdefault(name, Tally(part.utterance["speaker"] or name))
            one.attempts += 1
            one.words += part.words
            one.characters += part.characters
    return tallies


def rate(tallies: Mapping[str, Tally], unit: Literal["words", "characters"], seed: int) -> dict[str, Any] | None:
    """Return errors over reference words (or characters) with a 95 % interval; None without any word."""
    counts = [getattr(one, unit) for one in tallies.values()]
    total = sum(counts, NONE)
    if not total.reference_length:
        return None
    blocks = [one.block for one in tallies.values()]
    limits = block_interval([one.errors for one in counts], [one.reference_length for one in counts], blocks, seed=seed)
    return {"rate": total.errors / total.reference_length, **asdict(total), **_limits(limits)}


def paired(
    base: Mapping[str, Tally], level: Mapping[str, Tally], margin_points: float, seed: int
) -> dict[str, Any] | None:
    """Return the word error rate of a level minus that of the base, over the utterances that both attempted.

    Each counts as often as the level attempted it. `not_worse` is non-inferiority by `margin_points`, one-sided at
    97.5 %, undecided below ten units. None when they share no word.
    """
    shared = [name for name in level if name in base]
    lengths = [float(level[name].words.reference_length) for name in shared]
    if not sum(lengths):
        return None
    before = [level[name].attempts * base[name].words.errors / base[name].attempts for name in shared]
    after = [level[name].words.errors for name in shared]
    extra = [late - early for late, early in zip(after, before, strict=True)]
    limits = block_interval(extra, lengths, [level[name].block for name in shared], signed=True, seed=seed)
    return {
        "rate_base": sum(before) / sum(lengths),
        "rate": sum(after) / sum(lengths),
        "difference": sum(extra) / sum(lengths),
        "utterances": len(shared),
        "only_level": len(level) - len(shared),
        "not_worse": _not_worse(limits, margin_points / 100),
        "margin_points": margin_points,
        **_limits(limits),
    }


def differing(base: Mapping[str, str], scored: Sequence[ScoredStream]) -> dict[str, int]:
    """Count the completed streams with a base text of their programme, and those whose text is another."""
    pairs = [
        (base[one.stream.event["programme"]], one.stream.text)
        for one in scored
        if one.stream.text is not None and one.stream.event["programme"] in base
    ]
    return {"compared": len(pairs), "different": sum(before != after for before, after in pairs)}


def texts(scored: Sequence[ScoredStream]) -> dict[str, str]:
    """Return the first completed text of every programme."""
    found: dict[str, str] = {}
    for one in scored:
        if one.stream.text is not None:
            found.setdefault(one.stream.event["programme"], one.stream.text)
    return found


def losses(scored: Sequence[ScoredStream]) -> dict[str, int]:
    """Count utterances of completed streams: those with nothing heard, and those cut short."""
    found: dict[str, int] = defaultdict(int, empty=0, truncated=0)
    for one in scored:
        if one.stream.text is not None:
            found["empty"] += sum(part.is_empty for part in one.parts)
            found["truncated"] += sum(part.is_truncated for part in one.parts)
    return dict(found)


def _limits(limits: Interval) -> dict[str, Any]:
    return {
        "low": limits.low,
        "high": limits.high,
        "method": limits.method,
        "resampled": limits.resampled,
        "units": limits.units,
        "caveat": limits.caveat,
    }


def _not_worse(limits: Interval, margin: float) -> Worse:
    if limits.units < MIN_SOUND:
        return "undecided"
    if limits.high < margin:
        return "not worse"
    return "worse" if limits.low > margin else "undecided"
