"""The two small checkpoints that are kept in the repository, decoded at every lookahead they were trained for."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.corpus.manifest import read_manifest
from auricle.fastconformer.loading import load
from auricle.score.normalise import get
from auricle.score.wer import Scored, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.corpus.types import Utterance
    from auricle.fastconformer.model import FastConformer

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "src" / "auricle" / "checkpoints" / "auricle-digits-en.nemo"
MEMORISED = ROOT / "tests" / "data" / "memorised" / "auricle-memorised.nemo"
DEMO = ROOT / "src" / "auricle" / "corpus" / "demo" / "manifest.jsonl"
LOOKAHEADS = (13, 6, 1, 0)
LARGEST_BYTES = 10_000_000
RATE_HZ = 16_000


@cache
def model(path: Path) -> FastConformer:
    return load(path)


@cache
def utterances(manifest: Path) -> tuple[Utterance, ...]:
    reading = read_manifest(manifest)
    assert not reading.problems
    return reading.corpus.utterances


@cache
def samples(utterance: Utterance) -> NDArray[np.float32]:
    return utterance.load().samples


def texts(path: Path, chosen: Sequence[Utterance], lookahead: int, batch: int) -> list[str]:
    one = model(path)
    context = one.contexts[LOOKAHEADS.index(lookahead)]
    found = []
    for first in range(0, len(chosen), batch):
        found += one.transcribe([samples(utterance) for utterance in chosen[first : first + batch]], context)
    return [transcript.text for transcript in found]


@pytest.mark.parametrize("path", [DIGITS, MEMORISED], ids=lambda path: path.stem)
def test_a_checkpoint_is_small_has_a_card_and_the_lookaheads(path: Path) -> None:
    assert path.stat().st_size < LARGEST_BYTES
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "CC BY-SA 4.0" in card if path == DIGITS else "Apache-2.0" in card
    contexts = [(context.left, context.right, context.chunked) for context in model(path).contexts]
    assert contexts == [(70, right, True) for right in LOOKAHEADS]


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_what_was_memorised_is_recognised_word_for_word(lookahead: int) -> None:
    known = utterances(MEMORISED.with_name("manifest.jsonl"))
    assert {utterance.language for utterance in known} == {"en", "hi"}
    found = texts(MEMORISED, known, lookahead, batch=8)
    wrong = {one.id: text for one, text in zip(known, found, strict=True) if text != one.text}
    assert wrong == {}


def test_what_was_memorised_is_heard_and_not_guessed() -> None:
    """With every second second of the audio silenced, the words in it are lost."""
    known = utterances(MEMORISED.with_name("manifest.jsonl"))
    holed = []
    for utterance in known:
        audio = samples(utterance).copy()
        for start in range(RATE_HZ, len(audio), 2 * RATE_HZ):
            audio[start : start + RATE_HZ] = 0
        holed.append(audio)
    found = model(MEMORISED).transcribe(holed)
    results = [Scored(one.id, one.text, text.text, one.id) for one, text in zip(known, found, strict=True)]
    assert score(results, get("none")).rate > 0.2


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_the_digits_of_the_demo_corpus_are_recognised(lookahead: int) -> None:
    spoken = [utterance for utterance in utterances(DEMO) if utterance.id.startswith("demo-digits")]
    found = texts(DIGITS, spoken, lookahead, batch=12)
    results = [Scored(one.id, one.text, text, one.id) for one, text in zip(spoken, found, strict=True)]
    assert score(results, get("none")).rate < 0.03


@pytest.mark.parametrize("lookahead", LOOKAHEADS)
def test_silence_and_faint_noise_hold_no_digits(lookahead: int) -> None:
    one = model(DIGITS)
    noise = np.random.default_rng(0).standard_normal(20 * RATE_HZ).astype(np.float32) * 1e-3
    found = one.transcribe([np.zeros(20 * RATE_HZ, np.float32), noise], one.contexts[LOOKAHEADS.index(lookahead)])
    assert [transcript.text for transcript in found] == ["", ""]
