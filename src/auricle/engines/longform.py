"""Recordings of any length: cut at silence into pieces that an engine takes, recognised in batches, put together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from auricle.audio import split_at_silence
from auricle.transcript import Segment, Transcript
from auricle.vad import has_speech

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import Recognizer, TranscribeOptions

PIECE_S = 30.0


def transcribe_long(
    recognizer: Recognizer,
    blocks: Iterable[NDArray[np.float32]],
    source: str,
    options: TranscribeOptions,
    *,
    batch_size: int = 1,
    skip_silence: bool = True,
    cancel: threading.Event | None = None,
    progress: Callable[[float], None] | None = None,
) -> Transcript:
    """Recognise a stream of mono blocks at the model's rate; `progress` is told the seconds that are done.

    Memory stays bounded by `batch_size` pieces of 30 s, or of the engine's limit where that is shorter. With
    `skip_silence` a piece without speech is not recognised, because recognisers hear words in noise.
    """
    limit_s = min(PIECE_S, recognizer.info.max_audio_s or PIECE_S)
    pieces = split_at_silence(blocks, recognizer.info.sample_rate, limit_s, source)
    segments: list[Segment] = []
    done_s = 0.0
    for batch in _batches(pieces, batch_size):
        done_s = batch[-1][0] + batch[-1][1].duration_s
        spoken = [(start, piece) for start, piece in batch if not skip_silence or has_speech(piece)]
        transcripts = recognizer.transcribe([piece for _, piece in spoken], options, cancel)
        for (start, _), transcript in zip(spoken, transcripts, strict=True):
            segments += _shifted(transcript, start)
        if progress is not None:
            progress(done_s)
    text = " ".join(segment.text for segment in segments if segment.text)
    return Transcript(text, done_s, tuple(segments), options.language)


def _batches(pieces: Iterator[tuple[float, Audio]], size: int) -> Iterator[list[tuple[float, Audio]]]:
    while batch := list(itertools.islice(pieces, size)):
        yield batch


def _shifted(transcript: Transcript, start: float) -> list[Segment]:
    """Return the segments with times from the start of the recording; text without times spans its piece."""
    segments = transcript.segments
    if not segments and transcript.text:
        segments = (Segment(transcript.text, 0.0, transcript.duration_s),)
    return [
        replace(
            segment,
            start=segment.start + start,
            end=segment.end + start,
            words=tuple(replace(word, start=word.start + start, end=word.end + start) for word in segment.words),
        )
        for segment in segments
    ]
