"""Runs the gate: loads a candidate and a reference one after the other, has both hear, and keeps the verdict."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.audio import Audio
from auricle.bench.gate.checks import Check, judge, overall
from auricle.bench.gate.hearing import Sample, hear
from auricle.corpus.noise import make_noise, mix
from auricle.engines.loading import UNCHECKED, files_of, load, subject_of
from auricle.errors import ModelError, UsageError
from auricle.models import verdicts
from auricle.models.store import resolve
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from auricle.bench.gate.hearing import Heard
    from auricle.corpus import Corpus
    from auricle.engines.loading import LoadRequest
    from auricle.models.verdicts import Outcome, Verdict

MARGIN_POINTS = 0.5
ENOUGH_WORDS = 1_200
"""Where one sample of so many words' changes by a word, the interval still ends below half a point."""

MOST_COPIES = 9
FULL = "fp32"
NOISE_DB = (25.0, 20.0, 15.0)
"""How much louder speech is than the noise in copies, in turn."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to check: the margin in points of WER, copies of each sample in noise (None: enough), samples in a batch."""

    margin_points: float = MARGIN_POINTS
    copies: int | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if not self.margin_points > 0:
            raise UsageError("the margin must be above 0 points", self.margin_points)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate found of `candidate` against `reference`; `verdict` is None where nothing could be loaded."""

    outcome: Outcome
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    candidate: dict[str, Any]
    reference: dict[str, Any]
    verdict: Verdict | None = None


def check(
    candidate: LoadRequest,
    reference: LoadRequest,
    corpus: Corpus,
    settings: Settings,
    tell: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Check a candidate against a reference on a corpus, and keep the verdict if the reference is in fp32.

    A model that cannot be loaded because its files are wrong has failed. Raises NotInstalledError, UsageError,
    UnsupportedError for a precision that the engine does not have, and CorpusError.
    """
    path = None if candidate.model is None else resolve(candidate.model).path
    samples = make_samples(corpus, settings.copies)
    unchecked = replace(candidate, precision=f"{candidate.precision or ''}{UNCHECKED}")
    try:
        found = _heard(unchecked, samples, settings.batch, lambda what: tell(f"candidate {what}"))
    except ModelError as error:
        return _unloaded("failed", f"the candidate cannot be loaded: {error}", candidate, reference)
    try:
        expected = _heard(reference, samples, settings.batch, lambda what: tell(f"reference {what}"))
    except ModelError as error:
        return _unloaded("not enough evidence", f"the reference cannot be loaded: {error}", candidate, reference)
    if found.info.precision == expected.info.precision:
        raise UsageError("candidate and reference have the same precision", found.info.precision, "name another")
    checks = tuple(judge(expected, found, samples, settings.margin_points))
    outcome, reasons = overall(checks)
    figures = {
        "corpus": corpus.name,
        "corpus_hash": corpus.hash,
        "samples": len(samples),
        "copies": sum(sample.copy for sample in samples),
        "margin_points": settings.margin_points,
        "reference": expected.info.precision,
        "checks": [asdict(one) for one in checks],
    }
    verdict = make_verdict(found, path, outcome, reasons, figures)
    if expected.info.precision == FULL:
        verdicts.keep(verdict)
    return Judgement(outcome, reasons, checks, _about(found), _about(expected), verdict)


def make_samples(corpus: Corpus, copies: int | None = None) -> list[Sample]:
    """Decode the utterances of a corpus, and add copies in pink noise, so many of each; None: until there are enough.

    The noise follows from the place of the utterance in the corpus, so that the same samples come out every time.
    """
    words = sum(len(utterance.text.split()) for utterance in corpus.utterances)
    wanted = math.ceil(ENOUGH_WORDS / max(words, 1)) - 1 if copies is None else copies
    samples = []
    for number, utterance in enumerate(corpus.utterances):
        audio = utterance.load()
        speaker = utterance.speaker or utterance.id
        samples.append(Sample(utterance.id, audio, utterance.text, speaker))
        for copy in range(min(wanted, MOST_COPIES)):
            rng = np.random.default_rng([number, copy])
            level = NOISE_DB[copy % len(NOISE_DB)]
            noisy = mix(audio.samples, make_noise("pink", len(audio.samples), rng), level, audio.rate)
            name = f"{utterance.id} in noise {copy + 1}"
            samples.append(Sample(name, Audio(noisy, audio.rate, name), utterance.text, speaker, copy=True))
    return samples


def make_verdict(
    heard: Heard, path: Path | None, outcome: Outcome, reasons: Sequence[str], figures: dict[str, Any]
) -> Verdict:
    """Return the verdict on a loaded model as it is kept."""
    files = files_of(heard.info, path)
    return verdicts.Verdict(
        model=heard.info.name,
        subject=subject_of(heard.info, files),
        hashes=verdicts.hashes_of(files),
        outcome=outcome,
        reasons=tuple(reasons),
        figures=json.loads(json.dumps(figures)),
        checked_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _unloaded(outcome: Outcome, told: str, candidate: LoadRequest, reference: LoadRequest) -> Judgement:
    return Judgement(outcome, (told,), (Check("loads", outcome, told, {}),), asdict(candidate), asdict(reference))


def _heard(request: LoadRequest, samples: Sequence[Sample], batch: int, tell: Callable[[str], None]) -> Heard:
    tell("loading")
    recognizer = load(request, Tracer())
    try:
        return hear(recognizer, samples, batch, tell)
    finally:
        recognizer.unload()


def _about(heard: Heard) -> dict[str, Any]:
    info = heard.info
    return {
        "engine": info.engine,
        "model": info.name,
        "precision": info.precision,
        "device": info.device,
        "provider": info.provider,
        "weights": [asdict(group) for group in info.weights],
        "bytes_per_slot": None if info.streaming is None else info.streaming.bytes_per_slot,
        "notes": info.notes,
    }
