"""NeMo as it is meant to be run on a CPU: batched cache-aware steps with batched greedy decoding."""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tools.cpu_speed_arm import FRAME_S, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


def load(path: str, right: int, threads: int) -> Any:
    """Return the model of an archive with greedy decoding of all streams at once, at a lookahead of `right` frames."""
    torch.set_num_threads(threads)
    import_module("nemo.utils").logging.setLevel(40)
    model = import_module("nemo.collections.asr").models.ASRModel.restore_from(path, map_location="cpu").eval()
    model.encoder.set_default_att_context_size([model.encoder.att_context_size[0], right])
    decoding = model.cfg.decoding
    with import_module("omegaconf").open_dict(decoding):
        decoding.strategy = "greedy_batch"
        decoding.greedy = {"max_symbols": 10, "loop_labels": True, "use_cuda_graph_decoder": False}
    model.change_decoding_strategy(decoding, verbose=False)
    return model


class Live:
    """Streams in one batch, stepped by `conformer_stream_step` from NeMo's own buffer of features."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        self._model = load(model, right, threads)
        self._chunk_s = (right + 1) * FRAME_S

    @torch.inference_mode()
    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Compute all features, which NeMo's buffer does beforehand; return a step's share, as timed on one."""
        streaming = import_module("nemo.collections.asr.parts.utils.streaming_utils")
        self._buffer = streaming.CacheAwareStreamingAudioBuffer(self._model, online_normalization=False)
        self._buffer.preprocess_audio(audio[0])
        start = time.process_time()
        self._buffer.append_audio(audio[0])
        spent_s = time.process_time() - start
        for row in audio[1:]:
            self._buffer.append_audio(row)
        self._chunks: Iterator[tuple[Any, Any]] = iter(self._buffer)
        self._cache = self._model.encoder.get_initial_cache_state(batch_size=len(audio))
        self._said: Any = None
        self._hypotheses: Any = None
        return spent_s * len(audio) * self._chunk_s * RATE_HZ / len(audio[0])

    @torch.inference_mode()
    def step(self) -> None:
        """Advance all streams by a chunk."""
        chunk, lengths = next(self._chunks)
        first = self._hypotheses is None
        self._said, _, *cache, self._hypotheses = self._model.conformer_stream_step(
            processed_signal=chunk,
            processed_signal_length=lengths,
            cache_last_channel=self._cache[0],
            cache_last_time=self._cache[1],
            cache_last_channel_len=self._cache[2],
            keep_all_outputs=self._buffer.is_buffer_empty(),
            previous_hypotheses=self._hypotheses,
            previous_pred_out=self._said,
            drop_extra_pre_encoded=0 if first else self._model.encoder.streaming_cfg.drop_extra_pre_encoded,
            return_transcription=True,
        )
        self._cache = cache

    def tokens(self) -> list[list[int]]:
        """Return the labels so far."""
        return [list(map(int, one.y_sequence)) for one in self._hypotheses]


class Offline:
    """Whole recordings in one batch."""

    def __init__(self, model: str, right: int, threads: int) -> None:
        self._model = load(model, right, threads)

    def open(self, audio: Sequence[NDArray[np.float32]]) -> float:
        """Keep the recordings."""
        self._audio = torch.from_numpy(np.stack(audio))
        return 0.0

    @torch.inference_mode()
    def step(self) -> None:
        """Recognise all recordings."""
        lengths = torch.full((len(self._audio),), self._audio.shape[1])
        encoded, sizes = self._model.forward(input_signal=self._audio, input_signal_length=lengths)
        self._found = self._model.decoding.rnnt_decoder_predictions_tensor(encoded, sizes, return_hypotheses=True)

    def tokens(self) -> list[list[int]]:
        """Return the labels of each recording."""
        return [list(map(int, one.y_sequence)) for one in self._found]
