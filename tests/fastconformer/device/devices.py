"""Models on a device for tests: a CUDA device through its graphs where there is one, else the CPU without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.device.decoder import Transducer
from auricle.fastconformer.device.files import DeviceFiles
from auricle.fastconformer.device.model import DeviceModel
from auricle.fastconformer.device.operations import operations_for
from auricle.fastconformer.device.placing import Placing
from auricle.fastconformer.network import filled
from auricle.fastconformer.transducer import Predictor
from tests.fastconformer.checkpoints import build

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.fastconformer.streaming.latency import LatencyClass

CPU = torch.device("cpu")


def on_device(name: str, folder: Path, device: torch.device = CPU) -> DeviceModel:
    """Return a model of `checkpoints` for live streams, in single precision."""
    archive = read_archive(build(name, folder))
    return DeviceModel(archive.config, filled(archive.config, archive.weights), device)


def for_files(name: str, folder: Path, device: torch.device = CPU) -> DeviceFiles:
    """Return a model of `checkpoints` for recordings, in single precision."""
    archive = read_archive(build(name, folder))
    config, network = archive.config, filled(archive.config, archive.weights)
    assert config.transducer is not None
    assert network.joint is not None
    assert isinstance(network.decoder, Predictor)
    placing = Placing(device, torch.float32)
    with torch.inference_mode():
        decoder = Transducer(
            config.transducer, network.decoder, network.joint, config.vocabulary, placing, operations_for(device)
        )
    return DeviceFiles(network.to(device), decoder, device)


def same_class(latency: LatencyClass, classes: tuple[LatencyClass, ...]) -> LatencyClass:
    """Return the one of another model's classes that is equal."""
    return next(each for each in classes if each == latency)
