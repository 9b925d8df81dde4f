"""The Triton kernels against the same operations in torch, compiled on a CUDA device or else interpreted."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from auricle.fastconformer.device.inputs import Inputs, Row
from auricle.fastconformer.device.operations import FIELDS, Norm, Operations, Places, Rule, Strided, Taps, Walks
from auricle.fastconformer.device.torch_operations import TorchOperations
from auricle.fastconformer.streaming.latency import LatencyClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

HEADS, PER_HEAD, SLOTS = 2, 24, 6
WIDTH = HEADS * PER_HEAD
TOLERANCE = 2e-6


@pytest.fixture
def kernels() -> Operations:
    from auricle.fastconformer.device.triton_operations import TritonOperations

    return TritonOperations()


@pytest.fixture
def device() -> torch.device:
    torch.manual_seed(0)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def latency(frames: int, left: int) -> LatencyClass:
    samples = 1280 * frames
    return LatencyClass(left, frames, samples, samples - 1080, 80 * frames, 0.0)


def block(kind: LatencyClass, device: torch.device) -> Inputs:
    """A fresh stream, one of a chunk's age, an old one at its end, and a row without a stream."""
    audio = np.zeros(kind.chunk_samples, np.float32)
    inputs = Inputs(4, kind, SLOTS - 1, device)
    inputs.put([
        Row(2, 0, audio[: kind.first_samples]), Row(0, 1, audio), Row(3, 40, audio, 9000, max(1, kind.frames - 1)),
    ])  # fmt: skip
    inputs.send()
    return inputs


def both(work: Callable[[Operations, Tensor], Tensor], state: Tensor, kernels: Operations) -> None:
    """Hold one form to the other, in what it returns and in what it leaves in the slots."""
    states = state.clone(), state.clone()
    found, wanted = work(kernels, states[0]), work(TorchOperations(), states[1])
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(states[0][:-1], states[1][:-1], rtol=0, atol=TOLERANCE, equal_nan=True)


@pytest.mark.parametrize(("frames", "left"), [(1, 5), (3, 6)])
def test_attention_reads_and_writes_rings_as_torch_does(
    frames: int, left: int, kernels: Operations, device: torch.device
) -> None:
    """The fresh stream's slot holds what is not a number, and rings are longer than this class needs."""
    kind = latency(frames, left)
    inputs = block(kind, device)
    places = Places(
        torch.randn(HEADS, PER_HEAD, 16, device=device),
        torch.randn(HEADS, 16, device=device),
        torch.randn(HEADS, PER_HEAD, device=device),
    )
    projected = torch.randn(4 * frames, 3 * WIDTH, device=device)
    rings = torch.randn(SLOTS, 2, HEADS, kind.ring + 2, PER_HEAD, device=device)
    rings[2] = torch.nan
    both(
        lambda do, state: do.attend(
            projected, places, state[:, 0].contiguous(), state[:, 1].contiguous(), inputs, kind
        ),
        rings,
        kernels,
    )
    written = [rings.clone(), rings.clone()]
    for do, state in zip((kernels, TorchOperations()), written, strict=True):
        keys, values = (each.contiguous() for each in state.unbind(1))
        do.attend(projected, places, keys, values, inputs, kind)
        state.copy_(torch.stack((keys, values), dim=1))
    assert torch.equal(written[0][:-1].nan_to_num(7.0), written[1][:-1].nan_to_num(7.0))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("frames", [1, 3, 11])
def test_convolution_takes_up_where_each_slot_stood(
    norm: bool, frames: int, kernels: Operations, device: torch.device
) -> None:
    inputs = block(latency(frames, 2 * frames), device)
    scale = Norm(torch.randn(WIDTH, device=device), torch.randn(WIDTH, device=device), 1e-5) if norm else None
    taps = Taps(torch.randn(9, WIDTH, device=device), torch.randn(WIDTH, device=device), scale)
    gated = torch.randn(4 * frames, 2 * WIDTH, device=device)
    state = torch.randn(SLOTS, 8, WIDTH, device=device)
    state[2] = torch.nan
    both(lambda do, before: do.convolve(gated, taps, before, inputs, frames), state, kernels)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("relu", [True, False])
def test_strided_convolution_zeroes_what_lies_outside_a_recording(
    channels: int, relu: bool, kernels: Operations, device: torch.device
) -> None:
    inputs = block(latency(1, 5), device)
    convolution = Strided(torch.randn(3, 3, 5, device=device), torch.randn(5, device=device))
    x = torch.randn(4, 8, 11, channels, device=device)
    first, real = torch.tensor([-7, 1, 300, 5], device=device), torch.tensor([1 << 40, 6, 304, 1 << 40], device=device)
    state = torch.randn(SLOTS, channels, 11, device=device)
    both(lambda do, rows: do.stride(x, rows, convolution, inputs, first, real, relu=relu), state, kernels)


@pytest.mark.parametrize("twice", [True, False])
def test_sums_are_normed_once_or_twice(twice: bool, kernels: Operations, device: torch.device) -> None:
    x, y = torch.randn(2, 5, WIDTH, device=device)
    one, other = (Norm(torch.randn(WIDTH, device=device), torch.randn(WIDTH, device=device), 1e-5) for _ in range(2))
    for found, wanted in zip(
        *(
            do.add_norms(x, y, 0.5, one, other) if twice else do.add_norm(x, y, 0.5, one)
            for do in (kernels, TorchOperations())
        ),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("durations", [None, (0, 1, 2, 4)])
@pytest.mark.parametrize("count", [1, 3, 5])
@pytest.mark.parametrize("whole", [True, False])
def test_a_search_finds_the_same_labels(
    durations: tuple[int, ...] | None, count: int, whole: bool, kernels: Operations, device: torch.device
) -> None:
    """Rows that are done, that stand anywhere in a chunk, and that have given all labels that a frame may give."""
    rows, blank = 7, 11
    rule = Rule(blank, None if durations is None else torch.tensor(durations, device=device), 3)
    for seed in range(4):
        torch.manual_seed(seed)
        scores = torch.randn(rows, count, 24, device=device)
        scores[..., blank] += 1.5
        start = torch.randint(0, count + 2 if whole else 9, (rows,), device=device)
        length = torch.tensor([0, 1, 2, 3, 5, 9, 20], device=device)
        found = []
        for do in (kernels, TorchOperations()):
            walks = empty_walks(rows, device)
            walks.length.copy_(length.clamp(max=count) if whole else length)
            walks.frame.copy_(start)
            walks.last.copy_(start)
            walks.emitted.copy_(torch.arange(rows))
            told = torch.zeros(FIELDS, rows, dtype=torch.int32, device=device)
            do.search(scores, torch.zeros_like(start) if whole else start, walks, rule, told)
            found.append((walks, told))
        (walks, told), (others, wanted) = found
        for name in ("frame", "last", "emitted", "label", "found"):
            assert torch.equal(getattr(walks, name), getattr(others, name)), name
        assert torch.equal(told[0], wanted[0])
        assert torch.equal(told[1:3] * walks.found, wanted[1:3] * walks.found)
        probabilities = [each[3].view(torch.float32)[walks.found] for each in (told, wanted)]
        torch.testing.assert_close(*probabilities, rtol=0, atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_scores_that_are_not_numbers_name_no_label_that_is_not_there(kernels: Operations, device: torch.device) -> None:
    walks = empty_walks(3, device)
    walks.length.fill_(2)
    told = torch.zeros(FIELDS, 3, dtype=torch.int32, device=device)
    scores = torch.full((3, 2, 24), torch.nan, device=device)
    kernels.search(scores, torch.zeros_like(walks.frame), walks, Rule(11, None, 3), told)
    assert bool((walks.label <= 11).all())


def test_a_recurrent_layer_moves_on_only_where_something_was_found(kernels: Operations, device: torch.device) -> None:
    gates = torch.randn(5, 80, device=device)
    state = torch.randn(2, 2, 5, 20, device=device)
    found = []
    for do in (kernels, TorchOperations()):
        walks = empty_walks(5, device)
        walks.hidden, walks.cells = state[0].clone(), state[1].clone()
        walks.found.copy_(torch.tensor([1, 0, 1, 1, 0]))
        found.append((do.recur(gates, walks, 1), walks.hidden, walks.cells))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)
    assert torch.equal(found[0][1][:, [1, 4]], state[0][:, [1, 4]])


def empty_walks(rows: int, device: torch.device) -> Walks:
    nothing = torch.zeros(rows, 1, device=device)
    frame, last, emitted, label, length, phrases = torch.zeros(6, rows, dtype=torch.int64, device=device)
    found = torch.zeros(rows, dtype=torch.bool, device=device)
    return Walks(nothing[None], length, frame, last, emitted, label, found, phrases, nothing, nothing, nothing)
