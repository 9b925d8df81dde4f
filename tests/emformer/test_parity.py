"""The runtime against what torchaudio 2.11.0 made of the same weights and audio, whole and live."""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING

import pytest

from auricle.emformer.config import FIRST_SAMPLES, SEGMENT_SAMPLES
from auricle.emformer.files import find
from auricle.emformer.loading import load
from tests.emformer.checkpoints import MODELS, build
from tests.emformer.golden import CASES, GRID, LIVE_GRID, SAMPLED, Case, Expected, expected
from tests.emformer.speech import heard

torch = pytest.importorskip("torch", reason="pip install 'auricle[torch]'")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _pytest.mark.structures import ParameterSet
    from torch import Tensor

    from auricle.emformer.model import Emformer
    from auricle.emformer.trail import Trail

TOLERANCE = 1e-5


def cases(*, live: bool) -> list[ParameterSet]:
    """Return the cases; those of which most labels come are slow."""
    return [
        pytest.param(
            case, id=str(case), marks=[pytest.mark.slow] if case.model == "talkative" and case.beam > 1 else []
        )
        for case in CASES
        if case.live == live
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Emformer]:
    folders: dict[str, Path] = {}

    @cache
    def loaded(name: str, beam: int) -> Emformer:
        if name not in folders:
            folders[name] = build(name, tmp_path_factory.mktemp("models"))
        return load(find(folders[name]), beam)

    return loaded


@pytest.mark.parametrize("name", MODELS)
def test_features_and_encoder_frames_are_torchaudios(name: str, model: Callable[[str, int], Emformer]) -> None:
    one = model(name, 1)
    for (seed, samples), told in zip(enumerate(GRID), expected(Case(name, 1, live=False)), strict=True):
        features = one.hear(heard(name, samples, seed))
        torch.testing.assert_close(
            features[: len(told.features)], torch.from_numpy(told.features), atol=TOLERANCE, rtol=0
        )
        frames = one.encode(features)
        check_frames(frames, told)


@pytest.mark.parametrize("name", MODELS)
def test_live_features_and_encoder_frames_are_torchaudios(name: str, model: Callable[[str, int], Emformer]) -> None:
    from auricle.emformer.streams import Fed, LiveStreams

    one = model(name, 1)
    streams = LiveStreams(one, len(LIVE_GRID))
    found: list[Tensor] = []
    encoder = streams._encoder
    encoder.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    try:
        for (seed, samples), told in zip(enumerate(LIVE_GRID), expected(Case(name, 1, live=True)), strict=True):
            found.clear()
            stream, audio = streams.open(), heard(name, samples, seed)
            streams.step([Fed(stream, audio, is_last=True)])
            check_frames(torch.cat(found).flatten(0, 1), told)
    finally:
        encoder._forward_hooks.clear()


@pytest.mark.parametrize("case", cases(live=False))
def test_all_hypotheses_of_recordings_are_torchaudios(case: Case, model: Callable[[str, int], Emformer]) -> None:
    one = model(case.model, case.beam)
    frames = [one.encode(one.hear(heard(case.model, samples, seed))) for seed, samples in enumerate(case.samples)]
    check(one, case, one.decode(frames))


@pytest.mark.parametrize("case", cases(live=True))
def test_all_hypotheses_of_live_streams_together_are_torchaudios(
    case: Case, model: Callable[[str, int], Emformer]
) -> None:
    from auricle.emformer.streams import Fed, LiveStreams

    one = model(case.model, case.beam)
    streams = LiveStreams(one, len(case.samples))
    recordings = [(streams.open(), heard(case.model, samples, seed)) for seed, samples in enumerate(case.samples)]
    done: dict[int, Trail] = {}
    for start, end in itertools.pairwise(
        (0, *range(FIRST_SAMPLES, max(case.samples) + SEGMENT_SAMPLES, SEGMENT_SAMPLES))
    ):
        going = [(index, *each) for index, each in enumerate(recordings) if index not in done]
        fed = [Fed(stream, audio[start:end], is_last=end >= len(audio)) for _, stream, audio in going]
        for (index, _, _), each, trail in zip(going, fed, streams.step(fed), strict=True):
            if each.is_last:
                done[index] = trail
    check(one, case, [done[index] for index in range(len(recordings))])


def check_frames(frames: Tensor, told: Expected) -> None:
    assert len(frames) == told.length
    torch.testing.assert_close(frames[::SAMPLED], torch.from_numpy(told.encoded), atol=TOLERANCE, rtol=0)


def check(model: Emformer, case: Case, trails: list[Trail]) -> None:
    for trail, told in zip(trails, expected(case), strict=True):
        found = [[token.label for token in trail.tokens(which)] for which in range(case.beam)]
        assert found == told.hypotheses
        assert model.tokenizer.text(trail.tokens()) == " ".join(told.text.split())
