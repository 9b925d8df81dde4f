"""The search for many streams gives each what it would have alone, and follows what its hypotheses say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.emformer.files import find
from auricle.emformer.loading import load
from auricle.emformer.trail import Link, Token, Trail
from tests.emformer.checkpoints import build
from tests.emformer.speech import heard

torch = pytest.importorskip("torch", reason="pip install 'auricle[torch]'")

if TYPE_CHECKING:
    from auricle.emformer.model import Emformer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Emformer:
    return load(find(build("talkative", tmp_path_factory.mktemp("model"))), 6)


def test_recordings_of_all_lengths_are_decoded_as_if_alone(model: Emformer) -> None:
    frames = [
        model.encode(model.hear(heard("talkative", size, size))) for size in (0, 9_000, 300, 30_000, 9_001, 14_000)
    ]
    together = [trail.tokens() for trail in model.decode(frames)]
    assert together[3]
    for tokens, one in zip(together, frames, strict=True):
        alone = model.decode([one])[0].tokens()
        assert [(each.label, each.frame) for each in tokens] == [(each.label, each.frame) for each in alone]
        assert [each.probability for each in tokens] == pytest.approx([each.probability for each in alone], rel=1e-4)


def test_tokens_rise_in_time_and_are_likely_by_a_share(model: Emformer) -> None:
    frames = model.encode(model.hear(heard("talkative", 40_000, 1)))
    (trail,) = model.decode([frames])
    for which in range(model.beam):
        tokens = trail.tokens(which)
        assert [token.frame for token in tokens] == sorted(token.frame for token in tokens)
        assert all(0 <= token.frame < len(frames) and 0 < token.probability <= 1 for token in tokens)


def test_a_poisoned_slot_does_not_reach_the_next_stream(model: Emformer) -> None:
    from auricle.emformer.streams import Fed, LiveStreams

    audio = heard("talkative", 20_000, 3)
    streams = LiveStreams(model, 1)
    stream = streams.open()
    (clean,) = streams.step([Fed(stream, audio, is_last=True)])
    streams.step([Fed(stream, np.full(20_000, np.nan, np.float32), is_last=True)])
    (again,) = streams.step([Fed(stream, audio, is_last=True)])
    assert again.tokens() == clean.tokens()


def test_a_trail_settles_what_all_hypotheses_begin_with() -> None:
    first = Link(Token(3, 0, 0.5), None, 1)
    second = Link(Token(4, 2, 0.5), first, 2)
    trail = Trail(2)
    trail.grow([second, first], 4)
    assert (trail.settled, [token.label for token in trail.tokens()]) == (1, [3, 4])
    assert [token.label for token in trail.tokens(1)] == [3]
    third = Link(Token(5, 5, 0.5), second, 3)
    trail.grow([third, second], 4)
    assert (trail.settled, trail.frames, [token.label for token in trail.tokens()]) == (2, 8, [3, 4, 5])
