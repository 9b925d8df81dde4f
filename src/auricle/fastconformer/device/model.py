"""A model laid out for live streams on one device in one type of number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from auricle.errors import UnsupportedError
from auricle.fastconformer.device.beam import BeamMemory, BeamSearch
from auricle.fastconformer.device.decoder import Transducer
from auricle.fastconformer.device.decoding import TransducerMemory
from auricle.fastconformer.device.encoder import DeviceEncoder
from auricle.fastconformer.device.features import DeviceFeatures
from auricle.fastconformer.device.int8 import kept_in
from auricle.fastconformer.device.operations import operations_for
from auricle.fastconformer.device.placing import Placing
from auricle.fastconformer.device.prompts import DevicePrompts
from auricle.fastconformer.precision import DTYPES
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.transducer import Predictor

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.fastconformer.boosting import Library
    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.device.decoding import StreamDecoder
    from auricle.fastconformer.network import Network
    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.tokens import Tokenizer


class DeviceModel:
    """The weights of a network whose own layers are not packed; only the encoder has the precision, the rest fp32.

    `beam` is how many hypotheses are followed. Raises UnsupportedError naming the option for which the model cannot be
    served live on a device.
    """

    def __init__(
        self,
        config: ModelConfig,
        network: Network,
        tokenizer: Tokenizer,
        device: torch.device,
        precision: Precision = "fp32",
        beam: int = 1,
    ) -> None:
        if config.transducer is None or network.joint is None or not isinstance(network.decoder, Predictor):
            raise UnsupportedError("live streams on a device need a transducer", config.family, "serve it on the CPU")
        self.config = config
        self.tokenizer = tokenizer
        self.beam = beam
        self.device = device
        self.precision = precision
        self.dtype = DTYPES[kept_in(precision)]
        self.classes = latency_classes(config)
        self.pre_encode = network.encoder.pre_encode
        self.log_mel = network.preprocessor
        placing, single, operations = (
            Placing(device, self.dtype, int8=precision == "int8"),
            Placing(device, torch.float32),
            operations_for(device),
        )
        with torch.inference_mode():
            self.features = DeviceFeatures(config.features, network.preprocessor, device)
            self.encoder = DeviceEncoder(network.encoder, self.classes, placing, operations)
            parts = config.transducer, network.decoder, network.joint, config.vocabulary
            self.decoder: Transducer | BeamSearch = Transducer(*parts, single, operations)
            if beam > 1:
                self.decoder = BeamSearch(*parts, beam, device)
            kernel = network.prompt_kernel
            self._prompts = None if kernel is None else DevicePrompts(kernel, config.encoder.width, single)

    def stream_decoder(self, slots: int, library: Library) -> StreamDecoder:
        """Return what the decoder keeps of so many live streams, whose key phrases are in a library."""
        if isinstance(self.decoder, BeamSearch):
            return BeamMemory(self.decoder, slots, library)
        return TransducerMemory(self.decoder, slots, library)

    def told(self, frames: Tensor, prompts: Tensor) -> Tensor:
        """Return encoder frames `(rows, frames, width)` of a model that is told a prompt for each row, `(rows,)`."""
        return frames if self._prompts is None else self._prompts(frames, prompts)
