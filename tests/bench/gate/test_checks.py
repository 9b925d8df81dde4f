"""The checks of the gate on planted texts and frames: what is sound passes, each kind of garbage is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auricle.audio import Audio
from auricle.bench.gate.checks import Check, judge, overall
from auricle.bench.gate.hearing import Heard, Sample
from auricle.engines.contract import ModelInfo
from auricle.errors import UsageError

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero"]
INFO = ModelInfo(
    engine="planted", name="m", family="f", languages=(), sample_rate=16_000, device="cpu", precision="fp32"
)
COUNT = 200


def samples() -> list[Sample]:
    """Two hundred recordings of ten words, each of other words than the last, by twenty-five speakers."""
    silence = np.zeros(16_000 * 5, np.float32)
    texts = [" ".join(np.random.default_rng(number).permutation(WORDS)) for number in range(COUNT)]
    return [
        Sample(f"u{number:03}", Audio(silence, 16_000), text, f"s{number % 25}") for number, text in enumerate(texts)
    ]


SAMPLES = samples()
TRUE = {sample.id: sample.text for sample in SAMPLES}
FRAMES = {sample.id: np.random.default_rng(7).standard_normal((40, 16)).astype(np.float32) for sample in SAMPLES[:3]}


def heard(texts: dict[str, str] | None = None, frames: dict[str, np.ndarray] | None = None) -> Heard:
    """What a recogniser heard, the same in each way; without texts every word is right."""
    texts = TRUE if texts is None else texts
    return Heard(INFO, {"together": texts, "alone": dict(texts)}, FRAMES if frames is None else frames)


def changed(texts: dict[str, str], every: int, to: str = "ten") -> dict[str, str]:
    """The texts with the first word of every so many replaced."""
    return {
        name: " ".join([to, *text.split()[1:]]) if number % every == 0 else text
        for number, (name, text) in enumerate(texts.items())
    }


def verdict(candidate: Heard, reference: Heard | None = None, margin: float = 0.5) -> tuple[str, str]:
    """The outcome and its reasons."""
    outcome, reasons = overall(judge(reference or heard(), candidate, SAMPLES, margin))
    return outcome, "; ".join(reasons)


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_the_same_texts_pass_with_what_was_found() -> None:
    outcome, told = verdict(heard(frames={name: frames * 1.01 for name, frames in FRAMES.items()}))
    assert outcome == "passed"
    assert "together: 200 of 200 texts equal, 100.00 % of words" in told
    assert "not worse by 0.5 points on 200 samples" in told


def test_many_more_errors_fail_and_too_few_samples_decide_nothing() -> None:
    worse = heard(changed(TRUE, 4))
    assert verdict(worse)[0] == "failed"
    assert "difference +2.50 points" in verdict(worse)[1]
    assert verdict(worse, margin=10.0)[0] == "passed"
    assert verdict(heard(changed(TRUE, 40)))[0] == "not enough evidence"


def test_what_is_better_than_the_reference_passes() -> None:
    assert verdict(heard(), heard(changed(TRUE, 4)))[0] == "passed"


def test_a_reference_that_does_not_know_the_corpus_is_itself_the_measure() -> None:
    other = {name: " ".join(f"x{word}" for word in text.split()) for name, text in TRUE.items()}
    outcome, told = verdict(heard(dict(other)), heard(other))
    assert outcome == "passed"
    assert "the reference makes 100 % errors here, so its own texts are the measure" in told
    assert verdict(heard(changed(other, 4)), heard(other))[0] == "failed"


def test_the_margin_must_be_above_nothing() -> None:
    with pytest.raises(UsageError, match="margin"):
        judge(heard(), heard(), SAMPLES, 0.0)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_frames_that_are_no_numbers_fail_by_recording(broken: float) -> None:
    frames = {name: value.copy() for name, value in FRAMES.items()}
    frames["u001"][3, 4:6] = broken
    outcome, told = verdict(heard(frames=frames))
    assert outcome == "failed"
    assert "the candidate's encoder gave 2 numbers that are not finite, in u001" in told


def test_frames_that_have_nothing_to_do_with_the_reference_fail() -> None:
    other = {name: frames[::-1].copy() for name, frames in FRAMES.items()}
    outcome, told = verdict(heard(frames=other))
    assert outcome == "failed"
    assert "encoder frames differ from the reference's by" in told
    nothing = {name: np.zeros_like(frames) for name, frames in FRAMES.items()}
    assert verdict(heard(frames=nothing))[0] == "failed"


def test_confidences_that_are_none_fail() -> None:
    candidate = heard()
    candidate.doubtful.append("u007")
    assert "confidences that are none, in u007" in verdict(candidate)[1]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "1 of 400 texts are empty where the reference has one: u005"), ("one " * 60, "1 of 400 texts run away")],
)
def test_one_text_that_is_missing_or_runs_away_fails(text: str, says: str) -> None:
    candidate = heard()
    candidate.texts["together"] = TRUE | {"u005": text}
    outcome, told = verdict(candidate)
    assert outcome == "failed"
    assert says in told


def test_other_texts_altogether_are_told_as_divergence() -> None:
    outcome, told = verdict(heard(dict.fromkeys(TRUE, "a b c d e f g h i j")))
    assert outcome == "failed"
    assert "the texts diverge, together: 0 of 200 texts equal, 0.00 % of words" in told


@pytest.mark.parametrize(
    ("text", "says"), [("", "nothing"), ("a b c", "one text in all"), (None, "more words than can be said")]
)
def test_a_reference_that_is_garbage_itself_admits_nothing(text: str | None, says: str) -> None:
    texts = {name: f"{name} word " * 60 if text is None else text for name in TRUE}
    outcome, told = verdict(heard(dict(texts)), heard(texts))
    assert outcome == "failed"
    assert f"the reference itself hears {says}" in told


def test_texts_that_change_in_a_batch_fail_as_far_as_the_references_do_not() -> None:
    candidate = heard()
    candidate.texts["alone"] = changed(TRUE, 4)
    checks = judge(heard(), candidate, SAMPLES, 0.5)
    shapes = named(checks, "block shapes")
    assert shapes.outcome == "failed"
    assert "alone and together: 50 texts change, 2.50 % of words; 0 texts, 0.00 % of the reference" in shapes.told
    reference = heard()
    reference.texts["alone"] = changed(TRUE, 4, to="eleven")
    assert named(judge(reference, candidate, SAMPLES, 0.5), "block shapes").outcome == "passed"


@pytest.mark.parametrize("who", ["candidate", "reference"])
def test_an_engine_that_failed_fails_with_its_error(who: str) -> None:
    broken = replace(heard(), failure="the stage 'encoder' failed")
    checks = judge(*((heard(), broken) if who == "candidate" else (broken, heard())), SAMPLES, 0.5)
    assert [check.told for check in checks] == [
        f"the {who} could not recognise the samples: the stage 'encoder' failed"
    ]
