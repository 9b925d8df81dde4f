"""A model in ONNX Runtime: recordings, and live streams where it can, to whoever asks the same as in torch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.errors import UnsupportedError
from auricle.fastconformer.config import SUBSAMPLING
from auricle.fastconformer.describe import WeightCount
from auricle.fastconformer.export.manifest import (
    CTC,
    FEATURES,
    FILES,
    JOINT,
    LIVE,
    PREDICTION,
    PROJECTION,
    TOKENIZER,
    read_manifest,
)
from auricle.fastconformer.features import LogMel
from auricle.fastconformer.model import FastConformer
from auricle.fastconformer.network import Network
from auricle.fastconformer.ort.live import OrtChunkEncoder
from auricle.fastconformer.ort.networks import OrtCtcHead, OrtJoint, OrtPredictor, call
from auricle.fastconformer.ort.session import Session, Settings, summary
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.tokens import Tokenizer
from auricle.fastconformer.transducer import GreedyDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from auricle.fastconformer.config import AttentionContext, FeatureConfig
    from auricle.fastconformer.model import Decoder, Head
    from auricle.fastconformer.ort.session import Placed
    from auricle.fastconformer.streaming.encoder import ChunkSteps
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.streaming.state import EncoderState

_SIZES = {"batch": 1, "features": SUBSAMPLING, "frames": 1}


class OrtFastConformer(FastConformer):
    """The model of a folder that `export` wrote; `placed` is where each operator of each graph really ran.

    Raises ModelError for a folder that is not whole, UnsupportedError for what a provider would leave to the CPU.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.manifest = read_manifest(folder)
        if self.manifest.layout != "onnx":
            what = f"the folder has the layout of {self.manifest.layout}"
            raise UnsupportedError(what, folder, f"load it in {self.manifest.layout}, or export it --to onnx")
        self.config = self.manifest.config
        self.precision, self.beam = self.manifest.precision, 1
        self._folder, self._settings = folder, settings
        self.placed: dict[str, list[Placed]] = {}
        self.tokenizer = Tokenizer((folder / TOKENIZER).read_bytes(), self.config.vocabulary)
        with torch.device("meta"):
            self.network = Network(self.config)
        self.network.preprocessor = _features(self.config.features, folder)
        self.network.requires_grad_(requires_grad=False)
        self.parameters = self.manifest.parameters
        self.weights = self.trained = [WeightCount(**one.model_dump()) for one in self.manifest.weights]
        self._files = self._session(FILES, _SIZES)
        self._live = self._live_session()
        self.decoders = self._decoders()
        self.kernels = Counter[str]()
        for each in self.placed.values():
            self.kernels.update(summary(each))

    def encode_features(
        self, features: Tensor, lengths: Tensor, context: AttentionContext | None = None, language: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return encoder frames `(batch, frames, width)` and their lengths, of features `(batch, frames, mels)`."""
        self.config.prompt(language)
        if context not in {None, self.manifest.context}:
            raise UnsupportedError("the folder was exported for another context", context, "export it for this one")
        if not features.shape[1]:
            return torch.empty(len(features), 0, self.config.encoder.width), lengths
        frames, lengths = call(self._files, features.transpose(1, 2), lengths)
        return frames.transpose(1, 2), lengths

    def chunk_encoder(self, classes: Sequence[LatencyClass]) -> ChunkSteps:
        """Return what computes chunks of live streams in these latency classes."""
        del classes
        if self._live is None:
            raise UnsupportedError("the folder holds no graph for live streams", self._folder, "use it for files")
        return OrtChunkEncoder(self._live, self.config.encoder)

    def chunk_state(self, latency: LatencyClass) -> EncoderState:
        """Return the state of live streams, on the device that computes them."""
        state = super().chunk_state(latency)
        if self._settings.device != "cpu":
            state.move(torch.device("cuda", 0))
        return state

    def _session(self, name: str, sizes: dict[str, int]) -> Session:
        session = Session(self._folder / name, self._settings, sizes)
        self.placed[name] = session.placed
        return session

    def _live_session(self) -> Session | None:
        if LIVE not in self.manifest.files:
            return None
        latency = latency_classes(self.config)[0]
        features = latency.frames * SUBSAMPLING
        return self._session(LIVE, {"batch": 1, "features": features, "ring": latency.ring})

    def _decoders(self) -> dict[Head, Decoder]:
        config, width = self.config, self.config.encoder.width
        decoders: dict[Head, Decoder] = {}
        if config.transducer is not None:
            predictor = OrtPredictor(config.transducer, self._session(PREDICTION, _SIZES))
            joint = OrtJoint(self._session(PROJECTION, _SIZES), self._session(JOINT, _SIZES))
            decoders["transducer"] = GreedyDecoder(config.transducer, predictor, joint, config.vocabulary)
        if CTC in self.manifest.files:
            decoders["ctc"] = OrtCtcHead(width, config.vocabulary, self._session(CTC, _SIZES))
        return decoders


def _features(config: FeatureConfig, folder: Path) -> LogMel:
    """Return the features' layer with the window and the mel filters that it was exported with."""
    made = LogMel(config)
    with np.load(folder / FEATURES) as stored:
        made.featurizer.window = torch.from_numpy(stored["window"])
        made.featurizer.fb = torch.from_numpy(stored["fb"])
    return made
