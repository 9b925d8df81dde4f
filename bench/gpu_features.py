"""Languages, key phrases, beams and int8 on an accelerator: tiny models, live and in files, against the CPU.

Key phrases must change what the streams say that asked for them, and nothing that another says; nothing may run without
its graph.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.device.whole import DeviceFastConformer
from bench.gpu_checks import LENGTHS, apart, on_device
from bench.gpu_live import play_all
from tests.fastconformer.checkpoints import build, recording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.tokens import Token

PHRASES = ("da", "ki la", "gu so")


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of a model: key phrases of every second stream, and languages in turn."""

    model: str
    beam: int = 1
    precision: Precision = "fp32"
    phrases: tuple[str, ...] = ()
    languages: tuple[str | None, ...] = (None,)

    def wishes(self) -> list[tuple[tuple[str, ...], str | None]]:
        """Return what each stream asks for."""
        count = len(self.languages)
        return [(self.phrases if place % 2 else (), self.languages[place % count]) for place in range(len(LENGTHS))]


LIVE = (
    Case("multilingual", languages=("en-US", "de", None)),
    Case("multilingual", phrases=PHRASES, languages=("de", "auto")),
    Case("rnnt_stream", phrases=PHRASES),
    Case("live_tdt", phrases=PHRASES),
    Case("rnnt_stream", precision="int8"),
    Case("rnnt_stream", beam=4),
    Case("live_tdt", beam=4, phrases=PHRASES),
)
FILES = (
    Case("rnnt", phrases=PHRASES),
    Case("tdt", phrases=PHRASES),
    Case("multilingual", languages=("de",)),
    Case("tdt", precision="int8"),
    Case("rnnt", beam=4),
    Case("tdt", beam=4, phrases=PHRASES),
)


def features(device: str = "cuda") -> list[dict[str, object]]:
    """Return for each case how far it is from the CPU, and what ran as graphs and without."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *(_live(case, read_archive(build(case.model, Path(folder))), device) for case in LIVE),
            *(_files(case, read_archive(build(case.model, Path(folder))), device) for case in FILES),
        ]


def _live(case: Case, archive: Archive, device: str) -> dict[str, object]:
    here, there = (on_device(archive, kind, case.precision, case.beam) for kind in (device, "cpu"))
    latency, same = here.classes[1], there.classes[1]
    streams = DeviceStreams(here, len(LENGTHS), (len(LENGTHS),))
    said, wishes = _said(streams, latency, case.wishes()), case.wishes()
    plain = _said(streams, latency, [((), language) for _, language in wishes])
    changed = [one != other for one, other in zip(said, plain, strict=True)]
    return {
        **_told(case),
        "live": True,
        **apart(said, _said(DeviceStreams(there, len(LENGTHS), (len(LENGTHS),)), same, wishes)),
        "changed_where_asked": sum(change for change, (phrases, _) in zip(changed, wishes, strict=True) if phrases),
        "changed_elsewhere": sum(change for change, (phrases, _) in zip(changed, wishes, strict=True) if not phrases),
        "graphed": streams.runs.graphed,
        "eager": streams.runs.eager,
    }


def _said(
    streams: DeviceStreams, latency: LatencyClass, wishes: Sequence[tuple[Sequence[str], str | None]]
) -> list[list[Token]]:
    return play_all(streams, latency, [recording(count, seed=count) for count in LENGTHS], asked=wishes)


def _files(case: Case, archive: Archive, device: str) -> dict[str, object]:
    models = [DeviceFastConformer(archive, torch.device(kind), case.precision, case.beam) for kind in (device, "cpu")]
    batch = [recording(count, seed=count) for count in LENGTHS]
    said, wanted = (
        one.decode(*one.encode(batch, language=case.languages[0]), phrases=one.spell(case.phrases)) for one in models
    )
    runs = models[0].runs
    return {**_told(case), "live": False, **apart(said, wanted), "graphed": runs.graphed, "eager": runs.eager}


def _told(case: Case) -> dict[str, object]:
    return {
        "model": case.model,
        "beam": case.beam,
        "precision": case.precision,
        "phrases": len(case.phrases),
        "languages": list(case.languages),
    }
