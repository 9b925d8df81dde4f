"""Live streams against what NeMo 3.0.0's own cache-aware steps emitted, and NeMo's two defects there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fastconformer.checkpoints import recording
from tests.fastconformer.live import Recorder, play
from tests.fastconformer.steps import LOOKAHEADS, MODEL, SAMPLES, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from auricle.fastconformer.model import FastConformer

    Compared = tuple[NDArray[np.float32], NDArray[np.float32]]

TOLERANCE = 2e-5
NO_LOOKAHEAD = 3
# What a frame hears of the second one, through the left context and the convolutions of all layers, and fades.
FORGOTTEN = 30


@pytest.fixture(scope="module")
def compared(built: Callable[[str], FastConformer]) -> Callable[[int, int], Compared]:
    """NeMo's frames and ours, of one lookahead and length."""
    model = built(MODEL)

    def frames(lookahead: int, samples: int) -> Compared:
        streams = Recorder(model, 1)
        (one,) = play(streams, streams.classes[lookahead], [recording(samples)])
        with np.load(STEPS) as recorded:
            return recorded[f"{lookahead}/{samples}/frames"], streams.taken(one.stream).numpy()

    return frames


@pytest.mark.parametrize("lookahead", [number for number in range(LOOKAHEADS) if number != NO_LOOKAHEAD])
@pytest.mark.parametrize("samples", SAMPLES)
def test_every_frame_that_nemo_emits_is_ours(
    lookahead: int, samples: int, compared: Callable[[int, int], Compared]
) -> None:
    theirs, ours = compared(lookahead, samples)
    np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("lookahead", [2, NO_LOOKAHEAD])
@pytest.mark.parametrize("samples", SAMPLES)
def test_nemo_drops_a_last_frame_that_has_fewer_than_eight_feature_frames_and_we_do_not(
    lookahead: int, samples: int, compared: Callable[[int, int], Compared]
) -> None:
    theirs, ours = compared(lookahead, samples)
    assert len(theirs) == len(ours) - 1


@pytest.mark.parametrize("samples", SAMPLES)
def test_without_lookahead_the_second_frame_of_nemo_is_wrong_until_it_is_forgotten(
    samples: int, compared: Callable[[int, int], Compared]
) -> None:
    """Its second chunk follows one real feature frame and zeros that stand for none; the offline pass has none."""
    theirs, ours = compared(NO_LOOKAHEAD, samples)
    difference = np.abs(ours[: len(theirs)] - theirs).max(axis=1)
    assert difference[0] <= TOLERANCE
    assert difference[1] > 1e-3
    assert difference[FORGOTTEN:].max() <= TOLERANCE
