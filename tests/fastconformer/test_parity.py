"""The runtime against what NeMo 3.0.0 made of the same seeded checkpoints and audio."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.fastconformer.config import AttentionContext
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.golden import CASES, GRID, TEN_MINUTES, Case, expected, sampled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.model import FastConformer

    Encoded = tuple[Tensor, Tensor]

TOLERANCE = 1e-5
# The mean over 60,000 feature frames and the softmax over 7,500 keys are summed in another order.
LONG_TOLERANCE = 2e-5


def context(case: Case, model: FastConformer) -> AttentionContext:
    return model.contexts[case.lookahead] if case.window is None else AttentionContext(*case.window)


@cache
def recordings(samples: tuple[int, ...]) -> list[NDArray[np.float32]]:
    return [recording(count, seed) for seed, count in enumerate(samples)]


@pytest.fixture(scope="module")
def together(built: Callable[[str], FastConformer]) -> Callable[[Case], Encoded]:
    """The encoder frames of all recordings of a case in one batch."""

    @cache
    def encoded(case: Case) -> Encoded:
        model = built(case.model)
        return model.encode(recordings(case.samples), context(case, model), case.language)

    return encoded


@pytest.mark.parametrize("case", CASES, ids=str)
def test_encoder_frames_in_a_batch_are_those_of_nemo(case: Case, together: Callable[[Case], Encoded]) -> None:
    frames, lengths = together(case)
    tolerance = LONG_TOLERANCE if case.samples == TEN_MINUTES else TOLERANCE
    for row, length, wanted in zip(frames.numpy(), lengths.tolist(), expected(case), strict=True):
        assert length == wanted.length
        np.testing.assert_allclose(sampled(row[:length]), wanted.encoded, rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", [case for case in CASES if case.samples == GRID], ids=str)
def test_encoder_frames_of_one_recording_are_those_of_nemo(case: Case, built: Callable[[str], FastConformer]) -> None:
    model = built(case.model)
    for audio, wanted in zip(recordings(case.samples), expected(case), strict=True):
        frames, lengths = model.encode([audio], context(case, model), case.language)
        assert lengths.tolist() == [wanted.length]
        np.testing.assert_allclose(sampled(frames[0].numpy()), wanted.encoded, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tokens_frames_and_text_are_those_of_nemo(
    case: Case, built: Callable[[str], FastConformer], together: Callable[[Case], Encoded]
) -> None:
    model = built(case.model)
    for tokens, wanted in zip(model.decode(*together(case), case.head), expected(case), strict=True):
        sure = wanted.sure
        assert [token.index for token in tokens[:sure]] == wanted.tokens[:sure]
        assert [token.frame for token in tokens[:sure]] == wanted.frames[:sure]
        if wanted.settled:
            assert len(tokens) == sure
            assert model.tokenizer.text(tokens) == wanted.text


@pytest.mark.parametrize("case", [case for case in CASES if case.samples == GRID], ids=str)
def test_a_recording_decodes_alike_in_any_company(case: Case, built: Callable[[str], FastConformer]) -> None:
    model = built(case.model)
    audio = recordings(case.samples)
    asked = (context(case, model), case.head, case.language)
    alone = [model.transcribe([one], *asked)[0] for one in audio]
    for order in ([*range(len(audio))], [3, 10, 3, 0], [9, 8]):
        batch = [audio[index] for index in order]
        for index, found in zip(order, model.transcribe(batch, *asked), strict=True):
            assert found.text == alone[index].text
            for word, wanted in zip(found.words, alone[index].words, strict=True):
                assert (word.text, word.start, word.end) == (wanted.text, wanted.start, wanted.end)
                assert word.confidence == pytest.approx(wanted.confidence, abs=1e-4)


def test_the_recordings_reach_from_one_frame_to_ten_minutes() -> None:
    lengths = [one.length for case in CASES for one in expected(case)]
    assert min(lengths) == 1
    assert max(lengths) == pytest.approx(TEN_MINUTES[0] / 1280, abs=1)


def test_nemo_said_something_in_every_case_and_left_some_frames_silent() -> None:
    for case in CASES:
        results = expected(case)
        spoken = sum(len(one.tokens) for one in results)
        assert spoken > len(case.samples)
        assert sum(one.sure for one in results) > spoken // 50
        assert len({frame for one in results for frame in one.frames}) < max(one.length for one in results)


def test_most_recordings_hold_no_tie() -> None:
    settled = [one.settled for case in CASES for one in expected(case)]
    assert sum(settled) > 0.9 * len(settled)
