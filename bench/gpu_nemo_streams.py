"""Live streams of NeMo's that are stepped together: its bare step, and its cache-aware pipeline."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from bench.gpu_nemo_model import decode
from tests.fastconformer.checkpoints import RATE_HZ, recording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

FRAME_S = 0.08
HOP = 160
VOICES, VOICE_S = 32, 30
SILENT_FEATURE = float(np.log(2.0**-24))


class Streams(Protocol):
    """Some live streams of one recogniser."""

    def prepare(self, sound: list[Tensor]) -> None:
        """Take the next chunk of each stream, which the sender would have sent."""

    def step(self) -> None:
        """Hear the chunks."""

    def tokens(self) -> int:
        """Count the labels said so far."""


class Bare:
    """Streams in one batch, stepped by `conformer_stream_step`."""

    def __init__(self, model: Any, features: Any, right: int, streams: int, *, graphs: bool) -> None:
        encoder = model.encoder
        encoder.set_default_att_context_size([70, right])
        decode(model, graphs=graphs)
        weight = model.joint.enc.weight
        self._model, self._features = model, features
        self._device, self._dtype = weight.device, weight.dtype
        self._frames = (right + 1) * round(FRAME_S * RATE_HZ / HOP)
        self._cache = encoder.get_initial_cache_state(batch_size=streams, dtype=weight.dtype)
        self._last_pcm = torch.zeros(streams, HOP, device=self._device)
        mels = encoder._feat_in  # NeMo's own wrappers read it too
        behind = encoder.streaming_cfg.pre_encode_cache_size[1]
        self._last = torch.full((streams, mels, behind), SILENT_FEATURE, device=self._device)
        self._said: Any = None
        self._hypotheses: Any = None

    def prepare(self, sound: list[Tensor]) -> None:
        """Lay the chunks into one array of host memory."""
        self._pcm = torch.stack(sound)
        if self._device.type == "cuda":
            self._pcm = self._pcm.pin_memory()

    @torch.inference_mode()
    def step(self) -> None:
        """Compute features with one hop of the chunk before, and advance all streams."""
        pcm = torch.cat([self._last_pcm, self._pcm.to(self._device, non_blocking=True)], dim=1)
        self._last_pcm = pcm[:, -HOP:]
        lengths = torch.full((len(pcm),), pcm.shape[1], device=self._device)
        made = self._features(input_signal=pcm, length=lengths)[0]
        signal = torch.cat([self._last, made[:, :, : self._frames + 1][:, :, -self._frames :]], dim=2)
        self._last = signal[:, :, -self._last.shape[2] :]
        self._said, _, *self._cache, self._hypotheses = self._model.conformer_stream_step(
            processed_signal=signal.to(self._dtype),
            processed_signal_length=torch.full((len(pcm),), signal.shape[2], device=self._device),
            cache_last_channel=self._cache[0],
            cache_last_time=self._cache[1],
            cache_last_channel_len=self._cache[2],
            keep_all_outputs=False,
            previous_hypotheses=self._hypotheses,
            previous_pred_out=self._said,
            drop_extra_pre_encoded=self._model.encoder.streaming_cfg.drop_extra_pre_encoded,
            return_transcription=True,
        )

    def tokens(self) -> int:
        """Count the labels said so far."""
        return sum(len(one.y_sequence) for one in self._hypotheses)


class Piped:
    """Streams in NeMo's cache-aware pipeline."""

    def __init__(self, model: Any, right: int, streams: int, *, graphs: bool, phrases: bool) -> None:
        within = "nemo.collections.asr.inference."
        settings = pipeline_values(model, right, streams, graphs=graphs, phrases=phrases)
        values = import_module("omegaconf").OmegaConf.create(settings)
        builder = import_module(within + "factory.cache_aware_pipeline_builder").CacheAwarePipelineBuilder
        wrapper = import_module(within + "model_wrappers.cache_aware_rnnt_inference_wrapper")
        pipelines = import_module(within + "pipelines.cache_aware_rnnt_pipeline")
        self._frame = import_module(within + "streaming.framing.request").Frame
        self._options = import_module(within + "streaming.framing.request_options").ASRRequestOptions
        # The builder would read the model from a file for each size.
        loaded = type("Loaded", (wrapper.CacheAwareRNNTInferenceWrapper,), {"load_model": lambda *_: model})
        asr = values.asr
        recogniser = loaded(
            "",
            decoding_cfg=builder.get_rnnt_decoding_cfg(values),
            device=asr.device,
            device_id=asr.device_id,
            compute_dtype=asr.compute_dtype,
            use_amp=False,
        )
        self._pipeline = pipelines.CacheAwareRNNTPipeline(values, recogniser)
        self._pipeline.open_session()
        self._first = True

    def prepare(self, sound: list[Tensor]) -> None:
        """Make the requests."""
        options = self._options() if self._first else None
        self._requests = [
            self._frame(samples=chunk, stream_id=stream, is_first=self._first, options=options)
            for stream, chunk in enumerate(sound)
        ]

    def step(self) -> None:
        """Have the pipeline answer the requests."""
        self._pipeline.transcribe_step(self._requests)
        self._first = False

    def tokens(self) -> int:
        """Count the labels said so far."""
        states = [self._pipeline.get_state(request.stream_id) for request in self._requests]
        return sum(len(state.get_previous_hypothesis().y_sequence) for state in states)


def pipeline_values(model: Any, right: int, streams: int, *, graphs: bool, phrases: bool) -> dict[str, Any]:
    """Return the configuration of the pipeline: what is published for it, but for its size and its decoding."""
    none = {"model_path": None, "key_phrases_file": None, "key_phrases_list": None}
    weight = model.joint.enc.weight
    return {
        "asr": {
            "device": weight.device.type,
            "device_id": weight.device.index or 0,
            "compute_dtype": str(weight.dtype).removeprefix("torch."),
            "decoding": {
                "strategy": "greedy_batch",
                "preserve_alignments": False,
                "fused_batch_size": -1,
                "greedy": {
                    "use_cuda_graph_decoder": graphs,
                    "enable_per_stream_biasing": phrases,
                    "preserve_frame_confidence": False,
                    "max_symbols": 10,
                    "ngram_lm_model": None,
                    "ngram_lm_alpha": 0.0,
                    "boosting_tree": none,
                    "boosting_tree_alpha": 0.0,
                },
            },
        },
        "itn": {"batch_size": 32, "n_jobs": 1, "left_padding_size": 4},
        "confidence": {
            "exclude_blank": True,
            "aggregation": "mean",
            "method_cfg": {"name": "entropy", "entropy_type": "tsallis", "alpha": 0.5, "entropy_norm": "exp"},
        },
        "endpointing": {"stop_history_eou": 800, "residue_tokens_at_end": 2},
        "streaming": {
            "sample_rate": RATE_HZ,
            "batch_size": streams,
            "num_slots": streams,
            "word_boundary_tolerance": 4,
            "att_context_size": [70, right],
            "use_cache": True,
            "use_feat_cache": True,
            "chunk_size_in_secs": None,
            "request_type": "frame",
        },
        "enable_itn": False,
        "asr_output_granularity": "segment",
        "return_tail_result": False,
    }


@cache
def voice(seed: int) -> Tensor:
    """Return a recording that streams are cut from."""
    return torch.from_numpy(recording(VOICE_S * RATE_HZ, seed))


def chunks(streams: int, samples: int) -> Iterator[list[Tensor]]:
    """Yield the next chunk of each stream: a few voices, each stream at another place of one of them."""
    room = VOICE_S * RATE_HZ - samples
    places = [stream * 7919 % room for stream in range(streams)]
    while True:
        yield [voice(stream % VOICES)[place : place + samples] for stream, place in enumerate(places)]
        places = [(place + samples) % room for place in places]
