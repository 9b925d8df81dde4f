"""Models on a device for tests: a CUDA device through its graphs where there is one, else the CPU without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.model import DeviceModel
from auricle.fastconformer.device.whole import DeviceFastConformer
from auricle.fastconformer.network import filled
from tests.fastconformer.checkpoints import build

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.streaming.latency import LatencyClass

CPU = torch.device("cpu")


def on_device(name: str, folder: Path, device: torch.device = CPU) -> DeviceModel:
    """Return a model of `checkpoints` for live streams, in single precision."""
    archive = read_archive(build(name, folder))
    return DeviceModel(archive.config, filled(archive.config, archive.weights), device)


def whole(name: str, folder: Path, device: torch.device = CPU, precision: Precision = "fp32") -> DeviceFastConformer:
    """Return a model of `checkpoints` for recordings."""
    return DeviceFastConformer(read_archive(build(name, folder)), device, precision)


def same_class(latency: LatencyClass, classes: tuple[LatencyClass, ...]) -> LatencyClass:
    """Return the one of another model's classes that is equal."""
    return next(each for each in classes if each == latency)
