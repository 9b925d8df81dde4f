"""A model laid out for live streams on one device in one type of number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.errors import UnsupportedError
from auricle.fastconformer.device.decoder import Transducer
from auricle.fastconformer.device.encoder import DeviceEncoder
from auricle.fastconformer.device.features import DeviceFeatures
from auricle.fastconformer.device.operations import operations_for
from auricle.fastconformer.device.placing import Placing
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.transducer import Predictor

if TYPE_CHECKING:
    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.network import Network

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class DeviceModel:
    """The weights of a network whose own layers are not packed; features and decoder stay in single precision.

    Raises UnsupportedError naming the option for which the model cannot be served live on a device.
    """

    def __init__(self, config: ModelConfig, network: Network, device: torch.device, precision: str = "fp32") -> None:
        if config.transducer is None or network.joint is None or not isinstance(network.decoder, Predictor):
            raise UnsupportedError("live streams on a device need a transducer", config.family, "serve it on the CPU")
        if config.prompts is not None:
            raise UnsupportedError("live streams on a device take no prompts", "prompt_kernel", "serve it on the CPU")
        self.config = config
        self.device = device
        self.precision = precision
        self.dtype = DTYPES[precision]
        self.classes = latency_classes(config)
        self.pre_encode = network.encoder.pre_encode
        self.log_mel = network.preprocessor
        placing, single, operations = (
            Placing(device, self.dtype),
            Placing(device, torch.float32),
            operations_for(device),
        )
        with torch.inference_mode():
            self.features = DeviceFeatures(config.features, network.preprocessor, device)
            self.encoder = DeviceEncoder(network.encoder, self.classes, placing, operations)
            self.decoder = Transducer(
                config.transducer, network.decoder, network.joint, config.vocabulary, single, operations
            )
