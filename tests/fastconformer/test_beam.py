"""Beam search is NeMo's, greedy decoding at a beam of one, and the same whether frames come in chunks or at once."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch

from auricle.fastconformer.beam import BeamDecoder
from auricle.fastconformer.boosting import Boost
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.hypotheses import Trail, best_of
from auricle.fastconformer.loading import load
from auricle.fastconformer.transducer import Predictor
from tests.fastconformer.beam_cases import CASES, GOLDEN, Case, archive, audio
from tests.fastconformer.checkpoints import RATE_HZ, recording
from tests.fastconformer.homophones import BEHIND, digits, homophone, phrase, spoken, texts, turned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.tokens import Token

SCORE_TOLERANCE = 2e-4
"""Of a sum of up to some hundred log-probabilities in single precision."""
MEMORISED = Path(__file__).parents[1] / "data" / "memorised" / "auricle-memorised.nemo"
RANDOM = ("rnnt", "rnnt_stream", "tdt", "tdt_slow", "hybrid_tdt", "hybrid_stream", "live_tdt")


class Expected(NamedTuple):
    """What NeMo found in one recording."""

    tokens: list[int]
    frames: list[int]
    score: float


def expected(case: Case) -> list[Expected]:
    with np.load(GOLDEN) as file:
        counts, tokens, frames, scores = (file[f"{case}/{key}"] for key in ("counts", "tokens", "frames", "scores"))
    cuts = np.cumsum(counts)[:-1]
    parts = zip(np.split(tokens, cuts), np.split(frames, cuts), scores, strict=True)
    return [Expected(one.tolist(), places.tolist(), float(score)) for one, places, score in parts]


def beam_of(model: FastConformer, size: int, config: TransducerConfig | None = None) -> BeamDecoder:
    network, config = model.network, config or model.config.transducer
    assert config is not None
    assert isinstance(network.decoder, Predictor)
    assert network.joint is not None
    return BeamDecoder(config, network.decoder, network.joint, model.config.vocabulary, size)


def encoded(model: FastConformer, case: Case, data: Path) -> tuple[Tensor, Tensor]:
    return model.encode(audio(case, data), model.contexts[case.lookahead])


def searched(
    decoder: BeamDecoder, frames: Tensor, lengths: Tensor, chunks: Sequence[int] = (), boost: Boost | None = None
) -> tuple[list[list[Token]], list[float]]:
    """Return tokens and scores; with `chunks`, the frames come in chunks of those lengths, then the rest."""
    beams = decoder.start(len(frames), None if boost is None else boost.states)
    trails = [Trail(decoder.size) for _ in frames]
    projected = decoder.project(frames)
    for heard in np.cumsum(np.array(chunks, int)).tolist():
        there = lengths.clamp(max=heard)
        beams = decoder.search(beams, projected, there, torch.zeros_like(lengths) > 0, trails, boost)
    beams = decoder.search(beams, projected, lengths, torch.ones_like(lengths) > 0, trails, boost)
    best = best_of(beams)
    scores = beams.scores.gather(1, best[:, None])[:, 0].tolist()
    return [trail.tokens(which) for trail, which in zip(trails, best.tolist(), strict=True)], scores


def plain(tokens: Sequence[Sequence[Token]]) -> list[list[tuple[int, int, int]]]:
    return [[(token.index, token.frame, token.frames) for token in one] for one in tokens]


@pytest.fixture(scope="module", autouse=True)
def inference() -> object:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("case", [case for case in CASES if case.beam], ids=str)
def test_tokens_frames_and_scores_are_nemos(case: Case, data: Path) -> None:
    with TemporaryDirectory() as folder:
        model = load(archive(case, data, Path(folder)))
    config = model.config.transducer
    assert config is not None
    assert case.beam is not None
    if case.model == "tdt_slow":
        # NeMo takes the place of a duration in their list for the duration itself: right for 0, 1, 2, 3, 4 alone.
        assert config.durations == (0, 2)
        config = replace(config, durations=(0, 1))
    tokens, scores = searched(beam_of(model, case.beam, config), *encoded(model, case, data))
    for found, score, wanted in zip(tokens, scores, expected(case), strict=True):
        assert [token.index for token in found] == wanted.tokens
        assert [token.frame for token in found] == wanted.frames
        assert score == pytest.approx(wanted.score, abs=SCORE_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if not case.beam], ids=str)
def test_greedy_decoding_with_phrases_is_nemos(case: Case, data: Path) -> None:
    with TemporaryDirectory() as folder:
        model = load(archive(case, data, Path(folder)))
    frames, lengths = encoded(model, case, data)
    phrases = tuple(model.tokenizer.spell(each) for each in case.phrases)
    found = model.decode(frames, lengths, phrases=phrases)
    assert [[token.index for token in one] for one in found] == [one.tokens for one in expected(case)]
    assert [[token.frame for token in one] for one in found] == [one.frames for one in expected(case)]
    assert plain(found) != plain(model.decode(frames, lengths))


@pytest.mark.parametrize("name", RANDOM)
def test_a_beam_of_one_is_greedy_decoding_on_random_weights(built: Callable[[str], FastConformer], name: str) -> None:
    model = built(name)
    frames, lengths = model.encode([recording(samples, seed) for seed, samples in enumerate((40_000, 56_000, 23_000))])
    greedy, found = model.decode(frames, lengths), beam_of(model, 1).decode(frames, lengths)
    assert sum(map(len, greedy)) > 20
    assert plain(found) == plain(greedy)
    for ours, theirs in zip(found, greedy, strict=True):
        assert [one.probability for one in ours] == pytest.approx([one.probability for one in theirs], abs=1e-5)


@pytest.mark.parametrize("which", ["digits", "memorised"])
def test_a_beam_of_one_is_greedy_decoding_on_what_was_learned(which: str) -> None:
    model = digits() if which == "digits" else load(MEMORISED)
    audio = [spoken(text) for text in texts()]
    frames, lengths = model.encode(audio)
    assert plain(beam_of(model, 1).decode(frames, lengths)) == plain(model.decode(frames, lengths))


@pytest.mark.parametrize("name", RANDOM)
def test_chunks_of_any_size_give_what_the_whole_gives(built: Callable[[str], FastConformer], name: str) -> None:
    model, rng = built(name), random.Random(name)
    decoder = beam_of(model, rng.randint(2, 6))
    frames, lengths = model.encode([recording(samples, seed) for seed, samples in enumerate((40_000, 56_000, 23_000))])
    boost = Boost.alike(model.spell(["da", "ki la", "ge do"]), len(frames))
    for phrases in (None, boost):
        whole = searched(decoder, frames, lengths, (), phrases)
        for chunks in ([1] * frames.shape[1], [rng.randint(0, 9) for _ in range(20)]):
            tokens, scores = searched(decoder, frames, lengths, chunks, phrases)
            assert tokens == whole[0]
            assert scores == whole[1]


@pytest.mark.parametrize("name", ["rnnt", "tdt"])
def test_a_recording_is_the_same_in_any_company(built: Callable[[str], FastConformer], name: str) -> None:
    model = built(name)
    decoder = beam_of(model, 4)
    frames, lengths = model.encode([recording(samples, seed) for seed, samples in enumerate((40_000, 56_000, 23_000))])
    together = decoder.decode(frames, lengths)
    for row in range(3):
        alone = frames[row : row + 1, : lengths[row]], lengths[row : row + 1]
        assert plain(decoder.decode(*alone)) == plain(together[row : row + 1])


def test_nothing_is_heard_in_no_frames(built: Callable[[str], FastConformer]) -> None:
    model = built("rnnt")
    frames, _ = model.encode([recording(16_000)])
    assert beam_of(model, 3).decode(frames, torch.tensor([0])) == [[]]


def test_what_all_hypotheses_agree_on_is_never_taken_back(built: Callable[[str], FastConformer]) -> None:
    model = built("rnnt")
    decoder = beam_of(model, 4)
    frames, lengths = model.encode([recording(56_000)])
    beams, trails, projected = decoder.start(1), [Trail(4)], decoder.project(frames)
    settled: list[Token] = []
    for heard in range(1, frames.shape[1] + 1):
        ends = torch.tensor([heard == frames.shape[1]])
        beams = decoder.search(beams, projected, lengths.clamp(max=heard), ends, trails)
        tokens = trails[0].tokens(int(best_of(beams)))
        assert tokens[: len(settled)] == settled
        settled = tokens[: trails[0].agreed((beams.scores[0] > -np.inf).tolist())]
    assert len(settled) > 20


@pytest.mark.parametrize("size", [2, 4])
def test_a_phrase_turns_the_planted_word_right_in_the_recording_that_asked(size: int) -> None:
    model = homophone()
    decoder = beam_of(model, size)
    frames, lengths = model.encode([spoken(text) for text in texts()])
    trees = Boost.alike(model.spell([phrase(texts()[0])]), len(frames))
    without = searched(decoder, frames, lengths)
    assert [model.tokenizer.text(one) for one in without[0]] == texts()
    asked = replace(trees, states=torch.tensor([1] + [0] * (len(frames) - 1)))
    tokens, scores = searched(decoder, frames, lengths, (), asked)
    assert model.tokenizer.text(tokens[0]) == turned(texts()[0])
    assert (tokens[1:], scores[1:]) == (without[0][1:], without[1][1:])
    place = texts()[0].split().index("six")
    assert tokens[0][place].probability == pytest.approx(without[0][0][place].probability * np.exp(-BEHIND), rel=1e-2)


@pytest.mark.parametrize("size", [1, 4])
def test_phrases_make_up_no_words_in_silence(size: int) -> None:
    model, samples = digits(), 8 * RATE_HZ
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * 1e-3
    frames, lengths = model.encode([np.zeros(samples, np.float32), noise])
    phrases = model.spell(["one two three four", "zero", "nine nine nine"])
    decoder = beam_of(model, size) if size > 1 else model.decoder()
    assert not isinstance(decoder, CtcHead)
    assert decoder.decode(frames, lengths, Boost.alike(phrases, 2)) == [[], []]
