"""ONNX Runtime over an export of Auricle's, and over one of NeMo's with all but the encoder as Auricle has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import torch

from auricle.fastconformer.loading import load
from auricle.fastconformer.ort.session import Settings
from auricle.fastconformer.ort.whole import OrtFastConformer
from auricle.fastconformer.streaming.features import ChunkFeatures
from tools.cpu_speed_arm import FRAME_S, RATE_HZ
from tools.cpu_speed_auricle import Live as TorchLive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.transducer import GreedyDecoder

_EARLIER = 9
"""Feature frames before a chunk that NeMo's pre-encoder is given again."""


class Live(TorchLive):
    """Auricle's streams on an exported folder."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = OrtFastConformer(Path(model), Settings(threads=threads))
        self._right = right


class NemoLive:
    """NeMo's streaming encoder in ONNX Runtime, its caches bound to memory that takes turns."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        torch.set_num_threads(threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session: Any = onnxruntime.InferenceSession(
            str(Path(model, "encoder.onnx")), options, providers=["CPUExecutionProvider"]
        )
        # Features and greedy decoding are those of the other arms: only the encoder differs.
        self._model = load(Path(model).with_name(f"{Path(model).name.rsplit('-', 1)[0]}.nemo"))
        self._features = ChunkFeatures(self._model.config.features, self._model.network.preprocessor)
        self._frames = right + 1
        self._samples = round(self._frames * FRAME_S * RATE_HZ)

    @torch.inference_mode()
    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Start the streams."""
        hop = self._model.config.features.hop_samples
        silent = self._features.history + _EARLIER * hop - 2 * hop
        self._audio = np.stack([np.concatenate((np.zeros(silent, np.float32), one)) for one in audio])
        self._heard = 0
        shapes = {one.name: [len(audio), *one.shape[1:]] for one in self._session.get_inputs()}
        shapes["cache_last_channel"][2] = self._model.contexts[0].left or 0
        shapes["cache_last_time"][3] = self._model.config.encoder.conv_left
        names = ("cache_last_channel", "cache_last_time")
        self._caches = [{name: np.zeros(shapes[name], np.float32) for name in names} for _ in range(2)]
        self._length = np.zeros(len(audio), np.int64)
        self._decoder: GreedyDecoder = self._model.decoder()  # type: ignore[assignment]  # the models are transducers
        self._memory = self._decoder.start(len(audio))
        self._said: list[list[int]] = [[] for _ in audio]
        return 0.0

    @torch.inference_mode()
    def step(self) -> None:
        """Advance all streams by a chunk."""
        from auricle.fastconformer.transducer import Walk

        hop, count = self._model.config.features.hop_samples, len(self._audio)
        stop = self._heard + self._features.history + self._samples + _EARLIER * hop
        features = self._features(torch.from_numpy(self._audio[:, self._heard : stop]), None)
        self._heard += self._samples
        frames = self._encoded(features.transpose(1, 2).contiguous().numpy(), count)
        walks = [Walk(frames.shape[1]) for _ in range(count)]
        self._decoder.walk(walks, frames, self._memory, whole=True)
        for said, walk in zip(self._said, walks, strict=True):
            said += [token.index for token in walk.tokens]
            self._model.tokenizer.text(walk.tokens)

    def _encoded(self, features: NDArray[np.float32], count: int) -> torch.Tensor:
        before, after = self._caches
        binding = self._session.io_binding()
        binding.bind_cpu_input("audio_signal", features)
        binding.bind_cpu_input("length", np.full(count, features.shape[2], np.int64))
        binding.bind_cpu_input("cache_last_channel_len", self._length)
        for name in before:
            binding.bind_cpu_input(name, before[name])
            binding.bind_output(f"{name}_next", "cpu", 0, np.float32, after[name].shape, after[name].ctypes.data)
        for name in ("outputs", "cache_last_channel_next_len"):
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        self._caches = [after, before]
        outputs, self._length = (one.numpy() for one in (binding.get_outputs()[-2], binding.get_outputs()[-1]))
        return torch.from_numpy(outputs[:, :, : self._frames]).transpose(1, 2)

    def tokens(self) -> list[list[int]]:
        """Return the labels so far."""
        return self._said
