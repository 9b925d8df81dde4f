"""The child-process side of one arm: it loads the recogniser and times it, with no other arm in its memory."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from auricle.engines.contract import TranscribeOptions
from auricle.engines.loading import load
from auricle.engines.longform import Longform, Source
from auricle.errors import AuricleError
from auricle.trace import Span, Tracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.corpus.types import Utterance
    from auricle.engines.contract import Recognizer
    from auricle.engines.loading import LoadRequest

DECODE_AUDIO = "decode-audio"


@dataclass(frozen=True, slots=True)
class Timed:
    """One call of `transcribe`, all times in seconds: `wall_s` from the files to the texts, `total_s` in the engine.

    `texts` holds None for utterances that failed. `start_s` is by the monotonic clock of the machine.
    """

    start_s: float
    wall_s: float
    total_s: float
    stages: tuple[Span, ...]
    texts: tuple[str | None, ...]
    audio_s: tuple[float, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded, and how long that took in seconds."""

    info: dict[str, Any]
    load_s: float


class ArmService:
    """Loads one recogniser and times batches of utterances on it; its stage spans travel inside the results."""

    def __init__(self, _: Tracer, request: LoadRequest, language: str | None) -> None:
        self._request = request
        self._tracer = Tracer()
        self._recognizer: Recognizer
        self._options = TranscribeOptions(language=language)

    def load(self) -> Loaded:
        """Load the recogniser; raises what loading raises."""
        start = time.perf_counter()
        self._recognizer = load(self._request, self._tracer)
        load_s = time.perf_counter() - start
        info = asdict(self._recognizer.info)
        return Loaded(info | {"features": sorted(info["features"])}, load_s)

    def run(self, utterances: Sequence[Utterance]) -> Timed:
        """Decode the files and recognise them in one call; what fails is told in `error`, never raised."""
        self._tracer.drain()
        start = time.perf_counter()
        try:
            with self._tracer.span(DECODE_AUDIO):
                batch = [utterance.load(self._recognizer.info.sample_rate) for utterance in utterances]
            decoded = time.perf_counter()
            texts = self._recognise(batch)
        except AuricleError as error:
            failed: tuple[str | None, ...] = (None,) * len(utterances)
            lengths = tuple(utterance.duration_s for utterance in utterances)
            wall_s = time.perf_counter() - start
            return Timed(start, wall_s, wall_s, tuple(self._tracer.drain()), failed, lengths, str(error))
        end = time.perf_counter()
        return Timed(
            start_s=start,
            wall_s=end - start,
            total_s=end - decoded,
            stages=tuple(self._tracer.drain()),
            texts=tuple(texts),
            audio_s=tuple(audio.duration_s for audio in batch),
        )

    def _recognise(self, batch: Sequence[Audio]) -> list[str]:
        """Recognise in one call; when a recording is too long for the engine, each on its own, cut at silence."""
        limit_s = self._recognizer.info.max_audio_s
        if limit_s is None or all(audio.duration_s <= limit_s for audio in batch):
            return [transcript.text for transcript in self._recognizer.transcribe(batch, self._options)]
        longform = Longform(self._recognizer, self._options, skip_silence=False)
        texts = []
        for outcome in longform.run(Source(audio.source, partial(_blocks, audio)) for audio in batch):
            if isinstance(outcome.result, AuricleError):
                raise outcome.result
            texts.append(outcome.result.text)
        return texts

    def unload(self) -> None:
        """Give the recogniser's memory and processes back."""
        self._recognizer.unload()


def _blocks(audio: Audio) -> list[NDArray[np.float32]]:
    return [audio.samples]
