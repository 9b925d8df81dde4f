from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.audio import split_at_silence
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 1_000


def cut_up(samples: NDArray[np.float32], block: int) -> Iterator[NDArray[np.float32]]:
    yield from (samples[first : first + block] for first in range(0, len(samples), block))


@settings(deadline=None)
@given(length=st.integers(0, 20_000), block=st.integers(1, 3_000), max_s=st.floats(0.4, 6), seed=st.integers(0, 5))
def test_every_sample_comes_once_in_order_in_pieces_that_fit(length: int, block: int, max_s: float, seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, length).astype(np.float32)
    pieces = list(split_at_silence(cut_up(samples, block), RATE, max_s, "speech.wav"))
    position = 0
    for start_s, piece in pieces:
        assert start_s == position / RATE
        assert 0 < piece.duration_s <= max_s
        assert (piece.rate, piece.source) == (RATE, "speech.wav")
        np.testing.assert_array_equal(piece.samples, samples[position : position + len(piece.samples)])
        position += len(piece.samples)
    assert position == length


@settings(deadline=None)
@given(block=st.integers(1, 5_000))
def test_where_the_cuts_are_does_not_depend_on_the_blocks(block: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 12_000).astype(np.float32)
    pieces = [start_s for start_s, _ in split_at_silence(cut_up(samples, block), RATE, 3.0, "x")]
    assert pieces == [start_s for start_s, _ in split_at_silence([samples], RATE, 3.0, "x")]


def test_a_cut_is_placed_in_the_middle_of_a_pause() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000).astype(np.float32)
    for pause_s in (8.0, 16.5, 25.0):
        samples[int(pause_s * RATE) : int((pause_s + 0.2) * RATE)] *= np.float32(0.01)
    starts = [start_s for start_s, _ in split_at_silence([samples], RATE, 10.0, "x")]
    assert starts == pytest.approx([0.0, 8.1, 16.6, 25.1], abs=0.06)


def test_a_pause_before_the_last_third_is_not_used() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 15_000).astype(np.float32)
    samples[2_000:2_500] = 0
    starts = [start_s for start_s, _ in split_at_silence([samples], RATE, 10.0, "x")]
    assert len(starts) == 2
    assert 10.0 * 2 / 3 <= starts[1] <= 10.0


def test_in_silence_the_pieces_are_as_long_as_they_may_be() -> None:
    pieces = list(split_at_silence([np.zeros(25_000, np.float32)], RATE, 10.0, "x"))
    assert [piece.duration_s for _, piece in pieces] == pytest.approx([9.95, 9.95, 5.1], abs=0.001)


def test_a_recording_that_fits_is_not_cut() -> None:
    ((start_s, piece),) = split_at_silence([np.ones(500, np.float32), np.ones(500, np.float32)], RATE, 1.0, "x")
    assert (start_s, len(piece.samples)) == (0.0, 1000)


def test_nothing_gives_no_piece() -> None:
    assert list(split_at_silence([], RATE, 10.0, "x")) == []


def test_pieces_too_short_to_search_are_refused() -> None:
    with pytest.raises(UsageError, match=r"pieces are too short .*0\.2 s"):
        list(split_at_silence([np.ones(500, np.float32)], RATE, 0.2, "x"))


def test_memory_does_not_grow_with_the_length() -> None:
    second = np.random.default_rng(0).uniform(-1, 1, 16_000).astype(np.float32)
    tracemalloc.start()
    for _ in split_at_silence((second for _ in range(600)), 16_000, 30.0, "x"):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
