"""NeMo's cache-aware pipeline as live streams: all that are ready advance in one `transcribe_step`.

The pipeline holds a model of its own, because it sets it up for streaming.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.engines.checks import check_loaded, check_open
from auricle.engines.contract import StreamingInfo
from auricle.engines.library import LibraryRecognizer
from auricle.engines.torch_threads import THREADS
from auricle.errors import EngineError, UnsupportedError
from auricle.transcript import Hypothesis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.engines.contract import Feed, ModelInfo, StreamFailure, StreamOptions
    from auricle.engines.library import Runner
    from auricle.trace import Tracer

SLOTS = 8
NEVER = -1
"""Milliseconds of silence that end an utterance: a stream's utterance is ended by its caller alone."""


@dataclass(slots=True)
class _Stream:
    """A stream: samples consumed since it was opened, and the utterance that the pipeline knows it by, if one began."""

    consumed: int = 0
    utterance: int | None = None
    said: str = ""


class NemoStreamingRecognizer(LibraryRecognizer):
    """Files as `LibraryRecognizer` does, live streams through the pipeline, by one caller at a time."""

    def __init__(self, info: ModelInfo, runner: Runner, pipeline: Any, tracer: Tracer) -> None:
        super().__init__(info, runner)
        self._pipeline = pipeline
        self._tracer = tracer
        self._streams: dict[int, _Stream] = {}
        self._numbers, self._utterances = itertools.count(), itertools.count()
        self._lock = threading.Lock()
        self._chunk = round(pipeline.chunk_size_in_secs * info.sample_rate)

    def open(self, options: StreamOptions) -> int:
        """Start a stream; raises EngineError when all slots are taken."""
        check_loaded(unloaded=self._unloaded)
        check_open(self.info, options)
        if options.word_times:
            raise UnsupportedError("NeMo's pipeline gives no word times here", None, "leave this option out")
        with self._lock:
            if len(self._streams) >= SLOTS:
                raise EngineError("all slots are taken", SLOTS, "close a stream first")
            stream = next(self._numbers)
            self._streams[stream] = _Stream()
        return stream

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        """Advance the streams together."""
        check_loaded(unloaded=self._unloaded)
        with self._lock:
            streams = [self._stream(feed.stream) for feed in ready]
            frames = [self._frame(feed, stream) for feed, stream in zip(ready, streams, strict=True)]
            THREADS.use()
            try:
                with self._tracer.span("step"):
                    answers = {answer.stream_id: answer for answer in self._pipeline.transcribe_step(frames)}
            except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise EngineError("NeMo failed", repr(error)) from error
            return [
                self._hypothesis(feed, stream, answers[frame.stream_id])
                for feed, stream, frame in zip(ready, streams, frames, strict=True)
            ]

    def close(self, stream: int) -> None:
        """End a stream, and what the pipeline keeps of its utterance."""
        with self._lock:
            opened = self._stream(stream)
            if opened.utterance is not None:
                self._pipeline.delete_state(opened.utterance)
            del self._streams[stream]

    def unload(self) -> None:
        """Let go of both models."""
        if self._unloaded:
            return
        with self._lock:
            self._streams.clear()
            self._pipeline.close_session()
            self._pipeline = None
        super().unload()

    def _stream(self, stream: int) -> _Stream:
        try:
            return self._streams[stream]
        except KeyError:
            raise EngineError("unknown stream", stream, "open it first") from None

    def _frame(self, feed: Feed, stream: _Stream) -> Any:
        import torch
        from nemo.collections.asr.inference.streaming.framing.request import Frame
        from nemo.collections.asr.inference.streaming.framing.request_options import ASRRequestOptions

        is_first = stream.utterance is None
        if stream.utterance is None:
            stream.utterance = next(self._utterances)
        count = len(feed.samples)
        samples = np.pad(np.asarray(feed.samples, np.float32), (0, self._chunk - count))
        return Frame(
            samples=torch.from_numpy(samples),
            stream_id=stream.utterance,
            is_first=is_first,
            is_last=feed.is_last,
            length=count,
            options=ASRRequestOptions() if is_first else None,
        )

    def _hypothesis(self, feed: Feed, stream: _Stream, answer: Any) -> Hypothesis:
        stream.consumed += len(feed.samples)
        stream.said = " ".join(f"{stream.said} {answer.final_transcript}".split())
        text = " ".join(f"{stream.said} {answer.partial_transcript}".split())
        stable = len(stream.said.split())
        if feed.is_last:
            stream.utterance, stream.said = None, ""
            stable = len(text.split())
        return Hypothesis(feed.stream, text, stream.consumed / self.info.sample_rate, feed.is_last, stable)


def streaming_info(pipeline: Any) -> StreamingInfo:
    """Return what the pipeline serves: the chunk size and the frames to the right that the model has by itself."""
    chunk_ms = round(pipeline.chunk_size_in_secs * 1000)
    frame_ms = pipeline.window_stride * pipeline.subsampling_factor * 1000
    right = pipeline.asr_model.get_att_context_size()[1]
    return StreamingInfo((chunk_ms,), (right * frame_ms,), SLOTS, block=1)


def build_pipeline(path: Path, device: str, sample_rate: int) -> Any:
    """Build the cache-aware pipeline of a transducer; its configuration must name everything."""
    from nemo.collections.asr.inference.factory.pipeline_builder import PipelineBuilder
    from omegaconf import OmegaConf

    name, _, index = device.partition(":")
    phrases = {"model_path": None, "key_phrases_file": None, "key_phrases_list": None}
    greedy = {
        "use_cuda_graph_decoder": False,
        "enable_per_stream_biasing": False,
        "preserve_frame_confidence": False,
        "max_symbols": 10,
        "ngram_lm_model": None,
        "ngram_lm_alpha": 0.0,
        "boosting_tree": phrases,
        "boosting_tree_alpha": 0.0,
    }
    decoding = {"strategy": "greedy_batch", "preserve_alignments": False, "fused_batch_size": -1, "greedy": greedy}
    asr = {"model_name": str(path), "device": name, "device_id": int(index or 0), "compute_dtype": "float32"}
    entropy = {"name": "entropy", "entropy_type": "tsallis", "alpha": 0.5, "entropy_norm": "exp"}
    sizes = {"sample_rate": sample_rate, "batch_size": SLOTS, "num_slots": SLOTS, "word_boundary_tolerance": 4}
    caches = {"att_context_size": None, "use_cache": True, "use_feat_cache": True, "chunk_size_in_secs": None}
    written = {
        "input_case": "lower_cased",
        "whitelist": None,
        "overwrite_cache": False,
        "max_number_of_permutations_per_split": 729,
        "left_padding_size": 4,
        "batch_size": 32,
        "n_jobs": 1,
    }
    config = {
        "asr": {**asr, "use_amp": False, "decoding": decoding},
        "itn": written,
        "nmt": None,
        "confidence": {"exclude_blank": True, "aggregation": "mean", "method_cfg": entropy},
        "endpointing": {"stop_history_eou": NEVER, "residue_tokens_at_end": 0},
        "streaming": {**sizes, **caches, "request_type": "frame"},
        "matmul_precision": "highest",
        "log_level": 40,
        "pipeline_type": "cache_aware",
        "asr_decoding_type": "rnnt",
        "enable_itn": False,
        "enable_nmt": False,
        "asr_output_granularity": "word",
        "cache_dir": None,
        "lang": None,
        "return_tail_result": False,
    }
    pipeline = PipelineBuilder.build_pipeline(OmegaConf.create(config))
    pipeline.open_session()
    return pipeline
