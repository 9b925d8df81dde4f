"""What a recogniser makes of recordings: texts alone and in company, as files and live, and whether its numbers are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from auricle.engines.contract import Feed, StreamFailure, StreamingRecognizer, StreamOptions, TranscribeOptions
from auricle.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, Recognizer

Way = Literal["together", "alone", "live together", "live alone"]
WAYS: tuple[Way, ...] = ("together", "alone", "live together", "live alone")

_MS_PER_S = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording, what is said in it and by whom; a `copy` is another sample's recording in noise."""

    id: str
    audio: Audio
    text: str
    speaker: str
    copy: bool = False


@dataclass(slots=True)
class Heard:
    """What one recogniser made of samples: for each way that it was asked in, the text of each sample by its id.

    Copies are heard in company alone. `frames` are the encoder's for each sample that is no copy, where the engine
    shows them; `doubtful` are the ids of samples with a confidence that is no number from 0 to 1. `failure` is what
    kept it from hearing all.
    """

    info: ModelInfo
    texts: dict[Way, dict[str, str]] = field(default_factory=dict)
    frames: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)
    failure: str | None = None


@runtime_checkable
class ShowsFrames(Protocol):
    """A recogniser that shows what its encoder makes of recordings."""

    def encoder_frames(self, batch: Sequence[Audio]) -> list[NDArray[np.float32]]:
        """Return the frames of each recording, `(frames, width)`."""
        ...


def hear(recognizer: Recognizer, samples: Sequence[Sample], batch: int, tell: Callable[[str], None]) -> Heard:
    """Have a recogniser hear samples: files in batches and each alone, streams together and each alone.

    An engine that fails is told in `Heard.failure`, not raised.
    """
    heard = Heard(recognizer.info)
    originals = [sample for sample in samples if not sample.copy]
    try:
        tell("together")
        heard.texts["together"] = _files(recognizer, samples, batch, heard)
        tell("alone")
        heard.texts["alone"] = _files(recognizer, originals, 1, heard)
        if isinstance(recognizer, ShowsFrames):
            tell("frames")
            heard.frames = {one.id: recognizer.encoder_frames([one.audio])[0] for one in originals}
        if isinstance(recognizer, StreamingRecognizer) and recognizer.info.streaming is not None:
            tell("live together")
            heard.texts["live together"] = _live(recognizer, samples, batch)
            tell("live alone")
            heard.texts["live alone"] = _live(recognizer, originals, 1)
    except EngineError as error:
        heard.failure = str(error)
    return heard


def _files(recognizer: Recognizer, samples: Sequence[Sample], batch: int, heard: Heard) -> dict[str, str]:
    timed = {"word_times", "confidence"} <= recognizer.info.features
    options = TranscribeOptions(word_times=timed)
    texts = {}
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        made = recognizer.transcribe([sample.audio for sample in part], options)
        for sample, transcript in zip(part, made, strict=True):
            texts[sample.id] = transcript.text
            sure = [word.confidence for word in transcript.words if word.confidence is not None]
            if not all(math.isfinite(value) and 0 <= value <= 1 for value in sure) and sample.id not in heard.doubtful:
                heard.doubtful.append(sample.id)
    return texts


def _live(recognizer: StreamingRecognizer, samples: Sequence[Sample], together: int) -> dict[str, str]:
    texts: dict[str, str] = {}
    for start in range(0, len(samples), together):
        part = samples[start : start + together]
        texts |= dict(zip((sample.id for sample in part), _play(recognizer, part), strict=True))
    return texts


def _play(recognizer: StreamingRecognizer, samples: Sequence[Sample]) -> list[str]:
    """Play recordings to streams in step, chunk by chunk of the default size, and return the final texts."""
    info = recognizer.info.streaming
    assert info is not None  # noqa: S101  who calls has asked
    chunk = info.chunk() * recognizer.info.sample_rate // _MS_PER_S
    streams = {recognizer.open(StreamOptions()): sample.audio.samples for sample in samples}
    finals: dict[int, str] = {}
    end = chunk - info.first_short
    while len(finals) < len(streams):
        ready = [
            Feed(stream, audio[max(end - chunk, 0) : end], is_last=end > len(audio))
            for stream, audio in streams.items()
            if stream not in finals
        ]
        for result in recognizer.step(ready):
            if isinstance(result, StreamFailure):
                raise EngineError("a live stream failed", result.error, "see the engine's message")
            if result.is_final:
                finals[result.stream] = result.text
        end += chunk
    for stream in streams:
        recognizer.close(stream)
    return [finals[stream] for stream in streams]


def not_finite(frames: NDArray[np.float32]) -> int:
    """Count the numbers that are infinite or none."""
    return int(frames.size - np.isfinite(frames).sum())
