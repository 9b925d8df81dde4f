"""Models on a device for tests: a CUDA device through its graphs where there is one, else the CPU without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.model import DeviceModel
from auricle.fastconformer.device.whole import DeviceFastConformer
from auricle.fastconformer.model import tokenizer_of
from auricle.fastconformer.network import filled
from tests.fastconformer.checkpoints import build

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.tokens import Token

CPU = torch.device("cpu")


def on_device(name: str, folder: Path, device: torch.device = CPU, beam: int = 1) -> DeviceModel:
    """Return a model of `checkpoints` for live streams, in single precision."""
    return live(read_archive(build(name, folder)), device, beam=beam)


def live(archive: Archive, device: torch.device = CPU, precision: Precision = "fp32", beam: int = 1) -> DeviceModel:
    """Return a model for live streams."""
    network = filled(archive.config, archive.weights)
    return DeviceModel(archive.config, network, tokenizer_of(archive), device, precision, beam)


def whole(
    name: str, folder: Path, device: torch.device = CPU, precision: Precision = "fp32", beam: int = 1
) -> DeviceFastConformer:
    """Return a model of `checkpoints` for recordings."""
    return DeviceFastConformer(read_archive(build(name, folder)), device, precision, beam)


def same_class(latency: LatencyClass, classes: tuple[LatencyClass, ...]) -> LatencyClass:
    """Return the one of another model's classes that is equal."""
    return next(each for each in classes if each == latency)


def told(tokens: Sequence[Token]) -> list[tuple[int, int, int]]:
    """Return what tokens are, but for their probabilities, which are rounded otherwise on another device."""
    return [(token.index, token.frame, token.frames) for token in tokens]
