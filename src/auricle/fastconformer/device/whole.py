"""A model on a device: recordings, and live streams where it can, to whoever asks the same as on the CPU."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import nn

from auricle.fastconformer.describe import count_weights
from auricle.fastconformer.device.beam import BeamSearch
from auricle.fastconformer.device.decoder import Transducer
from auricle.fastconformer.device.files import FileDecoder, features_on
from auricle.fastconformer.device.int8 import THE_REST, Int8Linear
from auricle.fastconformer.device.model import DeviceModel
from auricle.fastconformer.device.operations import operations_for
from auricle.fastconformer.device.placing import Placing
from auricle.fastconformer.device.step import Runs
from auricle.fastconformer.encoder import Pointwise
from auricle.fastconformer.model import FastConformer, make_decoders, tokenizer_of
from auricle.fastconformer.network import filled, stored
from auricle.fastconformer.precision import cast
from auricle.fastconformer.transducer import Predictor
from auricle.tensors.packed import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.model import Head
    from auricle.fastconformer.network import Network
    from auricle.fastconformer.phrases import Phrases
    from auricle.fastconformer.precision import Precision
    from auricle.fastconformer.tokens import Token


class DeviceFastConformer(FastConformer):
    """A model whose features, encoder and transducer compute on a device.

    `runs` counts decoding with and without graphs. A CTC head is decoded on the CPU. Raises what `FastConformer` does.
    """

    def __init__(self, archive: Archive, device: torch.device, precision: Precision = "fp32", beam: int = 1) -> None:
        self.config = archive.config
        self.precision, self.beam, self.device = precision, beam, device
        self.tokenizer = tokenizer_of(archive)
        self._plain = filled(self.config, archive.weights)
        self.decoders = make_decoders(self.config, self._plain, beam)
        self.parameters = sum(value.numel() for value in self._plain.parameters())
        self.network = _network(archive, precision).to(device)
        self.weights = count_weights(stored(self.network))
        self.trained = count_weights(stored(self.network, besides=self.network.preprocessor))
        linear = [each for each in self.network.modules() if isinstance(each, nn.Linear | nn.Conv1d | Int8Linear)]
        self.kernels = Counter(each.kernel if isinstance(each, Int8Linear) else "torch" for each in linear)
        self.runs = Runs()
        self._decoder = self._on_device(self._plain)

    def for_streams(self) -> DeviceModel:
        """Return the model as live streams need it; raises UnsupportedError where it cannot be served live."""
        return DeviceModel(self.config, self._plain, self.tokenizer, self.device, self.precision, self.beam)

    @torch.inference_mode()
    def features(self, batch: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
        """Return features `(batch, frames, mels)` and their lengths, on the device."""
        if max(len(samples) for samples in batch) < self.config.features.hop_samples:
            return super().features(batch)
        return features_on(self.device, self.network.preprocessor, batch)

    @torch.inference_mode()
    def decode(
        self, frames: Tensor, lengths: Tensor, head: Head | None = None, phrases: Phrases = ()
    ) -> list[list[Token]]:
        """Return the tokens of each recording's encoder frames."""
        wanted = head if head is not None else next(iter(self.decoders))
        if self._decoder is None or wanted != "transducer" or not frames.shape[1]:
            return super().decode(frames.float().cpu(), lengths.cpu(), head, phrases)
        return self._decoder.decode(frames, lengths, phrases)

    def settle(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()

    def _on_device(self, network: Network) -> FileDecoder | None:
        config = self.config.transducer
        if config is None or network.joint is None or not isinstance(network.decoder, Predictor):
            return None
        parts = config, network.decoder, network.joint, self.config.vocabulary
        with torch.inference_mode():
            if self.beam > 1:
                return FileDecoder(BeamSearch(*parts, self.beam, self.device), self.device, self.runs)
            placing = Placing(self.device, torch.float32)
            return FileDecoder(Transducer(*parts, placing, operations_for(self.device)), self.device, self.runs)


def _network(archive: Archive, precision: Precision) -> Network:
    """Return the network of an archive in a precision: for int8 with weights alone of eight bits."""
    if precision != "int8":
        return filled(archive.config, archive.weights, precision)
    network = filled(archive.config, archive.weights)
    pack(network.encoder.layers, nn.Linear, Pointwise, form=Int8Linear)
    cast(network, THE_REST)
    return network
