"""Whether a level held its bounds, from its streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.bench.live import latencies
from auricle.bench.live.slo import P95_BEYOND, Slo, Verdict, share, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auricle.bench.live.reading import Stream
    from auricle.bench.live.scoring import ScoredStream

MS_PER_S = 1000.0
FROM_WER: dict[str, Verdict] = {"not worse": "pass", "worse": "fail", "undecided": "undecided"}


def judge(
    slo: Slo, scored: Sequence[ScoredStream], outcomes: Mapping[str, Any], paired: Mapping[str, Any] | None, seed: int
) -> dict[str, Any]:
    """Return `verdict` and `criteria`, the verdict of each bound; None for one that this server's messages hide.

    The difference of the error rate is undecided where there is nothing to compare with.
    """
    criteria: dict[str, Verdict | None] = {}
    if slo.final_p95_ms is not None:
        values = [list(latencies.finals_of(one)) for one in scored]
        criteria["final"] = _beyond(values, slo.final_p95_ms, P95_BEYOND, seed)
    if slo.ttft_p95_ms is not None:
        values = [latencies.first_tokens([one.stream], from_onset=True) for one in scored]
        criteria["ttft"] = _beyond(values, slo.ttft_p95_ms, P95_BEYOND, seed)
    if slo.late_share is not None:
        criteria["late"] = _late([one.stream for one in scored], slo, seed)
    if slo.wer_margin_points is not None:
        criteria["wer"] = "undecided" if paired is None else FROM_WER[paired["not_worse"]]
    if slo.refused_share is not None:
        refused = outcomes["refused"] / outcomes["tried"] if outcomes["tried"] else 0.0
        criteria["refused"] = "pass" if refused <= slo.refused_share else "fail"
    return {"verdict": together(criteria), "criteria": criteria}


def _beyond(values: Sequence[Sequence[float]], bound_ms: float, most: float, seed: int) -> Verdict:
    beyond = [sum(value * MS_PER_S > bound_ms for value in own) for own in values]
    return share(beyond, [len(own) for own in values], most, seed)


def _late(streams: Sequence[Stream], slo: Slo, seed: int) -> Verdict | None:
    found = latencies.answered(streams)
    if slo.late_share is None:
        return None
    if found is None:  # a server that says nothing has not shown that it tells no coverage
        return None if any(stream.messages for stream in streams) else "undecided"
    late = [int((answers * MS_PER_S > slo.late_ms).sum()) for _, answers in found]
    return share(late, [len(answers) for _, answers in found], slo.late_share, seed)
