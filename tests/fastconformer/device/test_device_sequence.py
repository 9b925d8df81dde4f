"""A step on a device is one fixed sequence of operations whatever the streams say, so that it can be a CUDA graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.streaming.streams import Fed
from tests.fastconformer.checkpoints import RATE_HZ, build, recording
from tests.fastconformer.device.devices import live, whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from auricle.fastconformer.precision import Precision

READS = ("item", "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "by_mask")
"""What makes the host wait for the device, or shapes depend on what is heard."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch says nothing of its types
    """Keeps which operations ran, in order, with the shapes of what they were given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nor here
        self.ran: list[str] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if operation.overloadpacket in {torch.ops.aten.index, torch.ops.aten.index_put_} and any(
            one is not None and one.dtype == torch.bool for one in args[1]
        ):
            self.ran.append("aten.by_mask")
        given = [tuple(one.shape) if isinstance(one, torch.Tensor) else type(one) for one in args]
        self.ran.append(f"{operation} {given}")
        return operation(*args, **(kwargs or {}))


def runs_of(ran: Sequence[str]) -> list[list[str]]:
    """Return what ran before the first time that the host read something, and between that and the next times."""
    runs: list[list[str]] = [[]]
    for one in ran:
        if one.split()[0].split(".")[1] in READS:
            runs.append([])
        else:
            runs[-1].append(one)
    return runs


@pytest.mark.parametrize(
    ("name", "precision", "beam", "phrases"),
    [
        ("rnnt_stream", "fp32", 1, ()),
        ("multilingual", "fp32", 1, ("da", "ki la")),
        ("live_tdt", "int8", 1, ("da",)),
        ("live_tdt", "fp32", 3, ()),
        ("rnnt_stream", "fp32", 3, ("da", "ki la")),
    ],
    ids=str,
)
def test_every_run_of_a_step_is_the_same_sequence_whatever_is_heard(
    name: str, precision: Precision, beam: int, phrases: tuple[str, ...], tmp_path: Path
) -> None:
    streams = DeviceStreams(live(read_archive(build(name, tmp_path)), precision=precision, beam=beam), 4, (4,))
    latency = streams.classes[1]
    opened = [streams.open(latency, phrases), streams.open(latency), streams.open(latency)]
    audio = recording(3 * RATE_HZ, seed=1)
    silence = np.zeros_like(audio)
    first, more = [], []
    for turn, (sound, count) in enumerate([(silence, 3), (audio, 3), (audio, 1), (audio, 2), (audio, 3)]):
        ended = turn == 3
        fed = [Fed(one, sound[: one.wanted - 7 * ended], is_last=ended) for one in opened[:count]]
        before = streams.runs.more
        with Operations() as operations:
            streams.step(fed)
        # The host reads how many rows are not done, after each run, and nothing else.
        start, *after, _ = runs_of(operations.ran)
        assert len(after) == streams.runs.more - before
        first.append(start)
        more += after
    assert all(each == first[0] for each in first)
    assert all(each == more[0] for each in more)
    assert (streams.runs.graphed, streams.runs.eager) == (0, len(first) + len(more))


@pytest.mark.parametrize(("name", "beam", "phrases"), [("tdt", 1, ()), ("tdt", 1, ("da",)), ("rnnt", 3, ("da",))])
def test_every_run_of_decoding_recordings_is_the_same_sequence(
    name: str, beam: int, phrases: tuple[str, ...], tmp_path: Path
) -> None:
    model = whole(name, tmp_path, beam=beam)
    decoder, sequences = model._decoder, []
    assert decoder is not None
    for seed in range(2):
        frames = model.encode([recording(samples, seed) for samples in (40_000, 9_999 + 7 * seed)])
        model.decode(*frames, phrases=model.spell(phrases))
        (shape,) = decoder._shapes.values()
        with Operations() as operations, torch.inference_mode():
            shape._run(boosted=bool(phrases))
        assert len(runs_of(operations.ran)) == 1
        sequences.append(operations.ran)
    assert sequences[0] == sequences[1]
    assert len(sequences[0]) > 10
