"""The contract between Auricle and a recognition engine.

An engine is a plug-in: an object that satisfies `Engine`, named in the entry-point group `auricle.engines`. It is asked
to `load` a model once, with options that stay frozen, and returns a `Recognizer`; one that also serves live streams
satisfies `StreamingRecognizer`. An engine that cannot honour a request raises `UnsupportedError`; it never does
something else instead. Everything here is importable without the packages that engines need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.errors import AuricleError
    from auricle.trace import Tracer
    from auricle.transcript import Hypothesis, Transcript
    from auricle.turns import Turns

Precision = Literal["fp32", "bf16", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")
Feature = Literal["word_times", "confidence", "language", "prompt", "keywords"]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What to load, frozen for the life of the recogniser.

    `model` is a local file or folder, or None for the model that the engine carries; `model_name` is what reports call
    it. `precision` is one of PRECISIONS or, where an engine has parts that may differ, `part=precision,part=precision`;
    None means the engine's own choice for the device, which `ModelInfo.precision` then tells.
    `threads` is how many CPU threads (or single-threaded processes) the engine may use in all, None its own default.
    `beam` is how many hypotheses the decoder follows, None the engine's own choice. `local_attention` is how many
    encoder frames a frame sees to each side, where the model was trained to see the whole recording. `address` is the
    server that holds the model, for the engine that asks one. An engine that has no such choice refuses it. `replicas`
    is how many processes share the device and the memory, each with such a recogniser: what an engine sizes by memory
    takes its part of it.
    """

    model: Path | None = None
    model_name: str | None = None
    device: str = "cpu"
    precision: str | None = None
    threads: int | None = None
    beam: int | None = None
    local_attention: int | None = None
    address: str | None = None
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """One request for files. What is None or False is not asked for; what is asked for is honoured or refused."""

    language: str | None = None
    word_times: bool = False
    prompt: str | None = None
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """One live stream, frozen from `open` to `close`; `chunk_ms` must be one of the recogniser's chunk sizes."""

    chunk_ms: int | None = None
    language: str | None = None
    word_times: bool = False
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Weights of one data type: how many values and how many bytes they take."""

    dtype: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StreamingInfo:
    """What a recogniser can do live: chunk sizes, the first its default, and how many streams it can hold in `slots`.

    For each chunk size `lookahead_ms` is what its first sample waits for at least, a constant of the model, and
    `bytes_per_slot` what a stream takes. The first chunk of an utterance is shorter than the others by `first_short`
    samples. A step is best given `block` chunks at most.
    """

    chunk_ms: tuple[int, ...]
    lookahead_ms: tuple[float, ...]
    slots: int
    bytes_per_slot: tuple[int, ...] | None = None
    first_short: int = 0
    block: int = 64

    def chunk(self, chunk_ms: int | None = None) -> int:
        """Return the chunk size that was chosen, in ms: the default for None."""
        return self.chunk_ms[0] if chunk_ms is None else chunk_ms

    def lookahead(self, chunk_ms: int | None = None) -> float:
        """Return the lookahead of a chunk size in ms."""
        return self.lookahead_ms[self.chunk_ms.index(self.chunk(chunk_ms))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What was really loaded and where it really runs; an unknown figure is None, never a guess.

    `converted` says that the engine itself made the weights smaller than the files hold them, which must have been
    checked against fp32 (`auricle models check`).
    """

    engine: str
    name: str
    family: str
    languages: tuple[str, ...]
    sample_rate: int
    device: str
    precision: str
    provider: str | None = None
    parameters: int | None = None
    weights: tuple[WeightGroup, ...] = ()
    files: tuple[str, ...] = ()
    threads: int | None = None
    workers: int = 1
    max_audio_s: float | None = None
    features: frozenset[Feature] = frozenset()
    streaming: StreamingInfo | None = None
    notes: tuple[str, ...] = ()
    converted: bool = False


@dataclass(frozen=True, slots=True)
class Support:
    """Whether one device and precision can be used here, and if not, why and what to do."""

    device: str
    precision: str
    usable: bool
    reason: str = ""
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """One chunk for one stream: `samples` shape `(samples,)` float32 at the model's rate.

    Every chunk but the last has exactly the stream's chunk size, the first of an utterance `first_short` samples less;
    the last may be shorter or empty.
    """

    stream: int
    samples: NDArray[np.float32]
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """One stream failed in a step that went on for the others; the stream is closed."""

    stream: int
    error: AuricleError


class Recognizer(Protocol):
    """A loaded model. Its methods may be called from several threads; results never depend on who else calls."""

    @property
    def info(self) -> ModelInfo:
        """What was really loaded."""
        ...

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Recognise recordings together, one transcript each, in order.

        Raises UnsupportedError for audio at another rate than `info.sample_rate` or an option that is not in
        `info.features`, EngineError when recognition fails, CancelledError soon after `cancel` is set.
        """
        ...

    def unload(self) -> None:
        """Free the model's memory and processes; a second call does nothing, any other raises EngineError."""
        ...


@runtime_checkable
class StreamingRecognizer(Recognizer, Protocol):
    """A recogniser that advances many live streams in one call; `info.streaming` is not None."""

    def open(self, options: StreamOptions) -> int:
        """Start a stream and return its number; raises UnsupportedError, or EngineError when all slots are taken."""
        ...

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        """Advance every stream in `ready` by its chunk and return one result each, in order.

        A last chunk gives the final hypothesis of the utterance; the stream then stands at the start of a new one.
        """
        ...

    def close(self, stream: int) -> None:
        """Give the stream's slot back; the stream's number is not used again."""
        ...


@runtime_checkable
class TakesTurns(Protocol):
    """A recogniser whose files and live streams may hinder each other: it computes files in its `turns`."""

    @property
    def turns(self) -> Turns | None:
        """What the live path steps within; None where files and live streams have processors of their own."""
        ...


class Engine(Protocol):
    """A plug-in that loads models of one runtime."""

    @property
    def name(self) -> str:
        """The name on the command line, such as `pocketsphinx`."""
        ...

    def support(self) -> Sequence[Support]:
        """Say which devices and precisions can be used on this machine, without loading a model."""
        ...

    def load(self, options: LoadOptions, tracer: Tracer) -> Recognizer:
        """Load a model; its stage spans go to `tracer`.

        Raises NotInstalledError, ModelError, or UnsupportedError for a device or precision that would not be honoured.
        """
        ...
