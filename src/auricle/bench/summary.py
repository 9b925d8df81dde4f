"""The figures of a file benchmark, computed from its raw events alone, so that anyone can compute them again.

For each arm, over the measured passes: `total` is the time inside the engine, `wall` from the files to the texts. RTF
is median total over audio; RTFx is audio over median wall of a whole pass. A stage's share is of total times lanes
(workers that run at the same time); `decode-audio` lies outside total. Error rates are of the first measured pass;
`texts_repeat` tells whether every pass gave the same texts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from auricle.bench.arm_service import DECODE_AUDIO
from auricle.bench.quality import alignments, quality
from auricle.score.timing import median_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auricle.score.align import Alignment

Event = dict[str, Any]
ENCODE_STAGES = frozenset({"features", "encoder"})
MS_PER_S = 1000.0


@dataclass(slots=True)
class _ArmEvents:
    """The events of one arm, sorted by what they are."""

    loaded: Event = field(default_factory=dict)
    first_result_s: float | None = None
    passes: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    usage: list[Event] = field(default_factory=list)


def summarise(events: Iterable[Event], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a run: one entry for each arm that finished a measured pass, in order of loading."""
    utterances, arms = _sorted(events)
    summaries = [_arm(name, arm, utterances, settings) for name, arm in arms.items() if _whole(arm, utterances)]
    return {"arms": summaries}


def aligned(events: Iterable[Event], settings: Mapping[str, Any]) -> Iterator[tuple[str, str, Alignment]]:
    """Yield arm, utterance and word alignment for all that has errors in the first measured pass."""
    utterances, arms = _sorted(events)
    for name, arm in arms.items():
        for batches in _whole(arm, utterances)[:1]:
            for utterance, alignment in alignments(utterances, _texts(batches), settings):
                yield name, utterance, alignment


def _sorted(events: Iterable[Event]) -> tuple[dict[str, Event], dict[str, _ArmEvents]]:
    utterances: dict[str, Event] = {}
    arms: dict[str, _ArmEvents] = defaultdict(_ArmEvents)
    for event in events:
        kind = event["event"]
        if kind == "utterance":
            utterances[event["id"]] = event
        elif kind == "loaded":
            arms[event["arm"]].loaded = event
        elif kind == "first":
            arms[event["arm"]].first_result_s = event["first_result_s"]
        elif kind == "batch" and event["phase"] == "run":
            arms[event["arm"]].passes[event["run"]].append(event)
        elif kind == "usage":
            arms[event["arm"]].usage.append(event)
    return utterances, arms


def headline(summary: dict[str, Any]) -> dict[str, str]:
    """Return the few figures that sum a run up, for listings."""
    return {
        arm["name"]: f"WER {100 * arm['wer']['rate']:.1f} %, RTF {arm['rtf']:.3f}"
        for arm in summary["arms"]
        if arm["wer"] is not None
    }


def _whole(arm: _ArmEvents, utterances: dict[str, Event]) -> list[list[Event]]:
    """Return the passes over the whole corpus."""
    return [
        batches for _, batches in sorted(arm.passes.items()) if sum(len(b["ids"]) for b in batches) == len(utterances)
    ]


def _arm(name: str, arm: _ArmEvents, utterances: dict[str, Event], settings: Mapping[str, Any]) -> dict[str, Any]:
    passes = _whole(arm, utterances)
    texts = [_texts(batches) for batches in passes]
    audio_s = sum(sum(batch["audio_s"]) for batch in passes[0])
    totals_s = [sum(batch["total_s"] for batch in batches) for batches in passes]
    walls_s = [sum(batch["wall_s"] for batch in batches) for batches in passes]
    return {
        "name": name,
        "info": arm.loaded.get("info"),
        "runs": len(passes),
        "audio_s": audio_s,
        "load_s": arm.loaded.get("load_s"),
        "first_result_s": arm.first_result_s,
        "total_s": _spread(totals_s),
        "wall_s": _spread(walls_s),
        "rtf": median(totals_s) / audio_s,
        "rtfx": audio_s / median(walls_s),
        "stages": _stages(passes),
        **quality(utterances, texts[0], settings),
        "words": sum(len((text or "").split()) for text in texts[0].values()),
        "texts_repeat": all(other == texts[0] for other in texts),
        "failures": sum(text is None for text in texts[0].values()),
        "errors": sorted({batch["error"] for batches in passes for batch in batches if batch["error"]}),
        "memory": _memory(arm.usage),
        "files": _files(passes) if settings["batch_size"] == 1 else None,
    }


def _texts(batches: Sequence[Event]) -> dict[str, str | None]:
    return {name: text for batch in batches for name, text in zip(batch["ids"], batch["texts"], strict=True)}


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Return median, least and most, and the 95 % interval of the median where there are enough values for one.

    Least to most of n values holds the median with probability 1 - 2^(1-n), which is given as `range_confidence`.
    """
    interval = median_interval(values)
    return {
        "median": interval.value,
        "min": min(values),
        "max": max(values),
        "low": interval.low,
        "high": interval.high,
        "n": len(values),
        "range_confidence": 1 - 2.0 ** (1 - len(values)),
    }


def _stages(passes: Sequence[Sequence[Event]]) -> dict[str, Any]:
    """Return the stage table: medians over the passes of the sums within a pass, and what no stage accounts for."""
    names = list(dict.fromkeys(name for batches in passes for batch in batches for name in batch["stages_s"]))
    sums_s = {
        name: [sum(batch["stages_s"].get(name, 0.0) for batch in batches) for batches in passes] for name in names
    }
    inner = [name for name in names if name != DECODE_AUDIO]
    accounted_s = [sum(sums_s[name][run] for name in inner) for run in range(len(passes))]
    available_s = [sum(batch["lanes"] * batch["total_s"] for batch in batches) for batches in passes]
    residual_s = [available - accounted for available, accounted in zip(available_s, accounted_s, strict=True)]
    return {
        "lanes": max(batch["lanes"] for batches in passes for batch in batches),
        "rows": [
            {
                "stage": name,
                "median_ms": MS_PER_S * median(sums_s[name]),
                "share": None if name == DECODE_AUDIO else median(sums_s[name]) / median(available_s),
            }
            for name in names
        ],
        "sum_ms": MS_PER_S * median(accounted_s),
        "residual_ms": MS_PER_S * median(residual_s),
        "residual_share": median(residual_s) / median(available_s),
    }


def _memory(usage: Sequence[Event]) -> dict[str, Any]:
    """Return the peaks over all passes, warm-up included; those of the arm's processes are the sampler's children."""
    gpus = [gpu for event in usage for gpu in event["gpus"]]
    measured = [event for event in usage if event["phase"] == "run"]
    return {
        "peak_rss_bytes": _peak(event["peak_rss_children_bytes"] for event in usage),
        "peak_pss_bytes": _peak(event["peak_pss_children_bytes"] for event in usage),
        "cpu_cores": median(event["cpu_children_s"] / event["duration_s"] for event in measured),
        "peak_device_bytes": _peak(gpu["peak_memory_used_bytes"] for gpu in gpus),
        "mean_gpu_utilisation_percent": _peak(gpu["mean_utilisation_percent"] for gpu in gpus),
        "peak_power_w": _peak(gpu["peak_power_w"] for gpu in gpus),
        "min_sm_clock_mhz": min((gpu["min_sm_clock_mhz"] for gpu in gpus if gpu["min_sm_clock_mhz"]), default=None),
    }


def _peak(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _files(passes: Sequence[Sequence[Event]]) -> list[dict[str, Any]]:
    """Return a row for each utterance: medians over the passes, and its text."""
    by_id: dict[str, list[Event]] = defaultdict(list)
    for batches in passes:
        for batch in batches:
            by_id[batch["ids"][0]].append(batch)
    return [_file(name, calls) for name, calls in by_id.items()]


def _file(name: str, calls: Sequence[Event]) -> dict[str, Any]:
    total_s = median(call["total_s"] for call in calls)
    encode_s = [sum(s for stage, s in call["stages_s"].items() if stage in ENCODE_STAGES) for call in calls]
    decode_s = [
        sum(s for stage, s in call["stages_s"].items() if stage not in ENCODE_STAGES | {DECODE_AUDIO}) for call in calls
    ]
    text = calls[0]["texts"][0]
    return {
        "id": name,
        "audio_s": calls[0]["audio_s"][0],
        "total_ms": MS_PER_S * total_s,
        "encode_ms": MS_PER_S * median(encode_s),
        "decode_ms": MS_PER_S * median(decode_s),
        "wall_ms": MS_PER_S * median(call["wall_s"] for call in calls),
        "rtf": total_s / calls[0]["audio_s"][0] if calls[0]["audio_s"][0] else None,
        "words": len((text or "").split()),
        "text": text,
    }
