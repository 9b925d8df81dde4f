"""Recordings of any length and number: cut at silence into pieces that an engine takes, batched across recordings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from auricle.audio import split_at_silence
from auricle.errors import AuricleError, CancelledError
from auricle.transcript import Segment, Transcript
from auricle.vad import has_speech

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import Recognizer, TranscribeOptions

PIECE_S = 30.0


@dataclass(frozen=True, slots=True)
class Source:
    """A recording to come: its name, and what opens it as mono blocks at the model's rate."""

    name: str
    open: Callable[[], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a recording: its transcript, or the error that kept it from having one."""

    name: str
    result: Transcript | AuricleError


@dataclass(slots=True)
class _Recording:
    """A recording under way: complete once it is wholly read and no piece of it waits."""

    name: str
    duration_s: float = 0.0
    waiting: int = 0
    read: bool = False
    segments: list[Segment] = field(default_factory=list)
    error: AuricleError | None = None

    def outcome(self, language: str | None) -> Outcome:
        if self.error is not None:
            return Outcome(self.name, self.error)
        text = " ".join(segment.text for segment in self.segments if segment.text)
        return Outcome(self.name, Transcript(text, self.duration_s, tuple(self.segments), language))


@dataclass(frozen=True, slots=True)
class _Piece:
    recording: _Recording
    start_s: float
    audio: Audio


class Longform:
    """Recognises recordings one after the other, up to `batch_size` pieces of any of them in one call.

    Memory is bounded by the batch: pieces are of `piece_s`, or of the engine's limit where that is shorter. With
    `skip_silence` a piece without speech is not recognised, because recognisers hear words in noise. `progress` is told
    the seconds of audio that are done.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        options: TranscribeOptions,
        *,
        batch_size: int = 1,
        skip_silence: bool = True,
        piece_s: float = PIECE_S,
        cancel: threading.Event | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._options = options
        self._batch_size = batch_size
        self._skip_silence = skip_silence
        self._piece_s = piece_s
        self._cancel = cancel
        self._progress = progress
        self._done_s = 0.0

    def run(self, sources: Iterable[Source]) -> Iterator[Outcome]:
        """Yield the outcome of every source, in order; only CancelledError ends it early."""
        under_way: list[_Recording] = []
        batch: list[_Piece] = []
        for recording, piece in self._pieces(sources, under_way):
            if piece is not None:
                recording.waiting += 1
                batch.append(piece)
            if len(batch) >= self._batch_size:
                self._recognise(batch)
                batch = []
            yield from self._complete(under_way)
        self._recognise(batch)
        yield from self._complete(under_way)

    def _pieces(
        self, sources: Iterable[Source], under_way: list[_Recording]
    ) -> Iterator[tuple[_Recording, _Piece | None]]:
        """Yield each recording's pieces, then the recording with None once it is wholly read."""
        info = self._recognizer.info
        limit_s = min(self._piece_s, info.max_audio_s or self._piece_s)
        for source in sources:
            recording = _Recording(source.name)
            under_way.append(recording)
            try:
                for start_s, audio in split_at_silence(source.open(), info.sample_rate, limit_s, source.name):
                    recording.duration_s = start_s + audio.duration_s
                    yield recording, _Piece(recording, start_s, audio)
            except CancelledError:
                raise
            except AuricleError as error:
                recording.error = error
            recording.read = True
            yield recording, None

    def _recognise(self, batch: Sequence[_Piece]) -> None:
        wanted = [piece for piece in batch if piece.recording.error is None]
        spoken = [piece for piece in wanted if not self._skip_silence or has_speech(piece.audio)]
        try:
            self._transcribe(spoken)
        except CancelledError:
            raise
        except AuricleError:  # one of them cannot be recognised: each on its own, so that only that one fails
            for piece in spoken:
                self._transcribe_alone(piece)
        for piece in batch:
            piece.recording.waiting -= 1
            self._done_s += piece.audio.duration_s
        if self._progress is not None:
            self._progress(self._done_s)

    def _transcribe_alone(self, piece: _Piece) -> None:
        try:
            self._transcribe([piece])
        except CancelledError:
            raise
        except AuricleError as error:
            piece.recording.error = error

    def _transcribe(self, pieces: Sequence[_Piece]) -> None:
        if not pieces:
            return
        transcripts = self._recognizer.transcribe([piece.audio for piece in pieces], self._options, self._cancel)
        for piece, transcript in zip(pieces, transcripts, strict=True):
            piece.recording.segments += _shifted(transcript, piece.start_s)

    def _complete(self, under_way: list[_Recording]) -> Iterator[Outcome]:
        while under_way and under_way[0].read and not under_way[0].waiting:
            yield under_way.pop(0).outcome(self._options.language)


def _shifted(transcript: Transcript, start_s: float) -> list[Segment]:
    """Return the segments with times from the start of the recording; text without times spans its piece."""
    segments = transcript.segments
    if not segments and transcript.text:
        segments = (Segment(transcript.text, 0.0, transcript.duration_s),)
    return [
        replace(
            segment,
            start=segment.start + start_s,
            end=segment.end + start_s,
            words=tuple(replace(word, start=word.start + start_s, end=word.end + start_s) for word in segment.words),
        )
        for segment in segments
    ]
