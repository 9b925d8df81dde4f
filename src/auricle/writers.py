"""Transcripts as files: txt, json, verbose_json, srt, vtt, tsv, and rttm when speakers are known.

`json` is lossless and read back by `from_json`; `verbose_json` has OpenAI's field names; `tsv` has Whisper's columns
(start and end in ms).
"""

from __future__ import annotations

import html
import json
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from auricle.errors import UnsupportedError, UsageError
from auricle.files import write_text
from auricle.transcript import Segment, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

CUE_MAX_S = 7.0
CUE_MAX_CHARACTERS = 84
CUE_PAUSE_S = 0.8
SEEK_FRAMES_PER_S = 100


def render(transcript: Transcript, form: str, name: str = "audio") -> str:
    """Return the transcript in one of `FORMATS`; `name` is the recording's name in rttm.

    Raises UsageError for an unknown format and UnsupportedError for one that needs what the transcript lacks.
    """
    try:
        renderer = _RENDERERS[form]
    except KeyError:
        raise UsageError("unknown transcript format", form, f"choose one of {', '.join(FORMATS)}") from None
    return renderer(transcript, name)


def write(transcript: Transcript, path: Path, form: str) -> None:
    """Write the transcript to `path`, whole or not at all."""
    write_text(path, render(transcript, form, path.stem))


def from_json(text: str) -> Transcript:
    """Read what `render(transcript, "json")` wrote; raises UsageError for anything else."""
    try:
        fields = json.loads(text)
        segments = tuple(
            Segment(**{**segment, "words": tuple(Word(**word) for word in segment["words"])})
            for segment in fields.pop("segments")
        )
        return Transcript(**fields, segments=segments)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError("not a transcript in Auricle's json", error, "write one with --format json") from error


def timed_text(transcript: Transcript, *, by_word: bool) -> str:
    """Return lines `[start --> end] text`, one for each cue or each word."""
    rows: Iterable[Segment | Word] = transcript.words if by_word else cues(transcript)
    return "".join(f"[{_clock(row.start, '.')} --> {_clock(row.end, '.')}] {_line(row.text)}\n" for row in rows)


def cues(transcript: Transcript) -> Iterator[Segment]:
    """Yield pieces short enough for a subtitle, broken at pauses; a segment without word times stays whole."""
    for segment in transcript.segments:
        if segment.words:
            yield from _broken(segment)
        elif segment.text:
            yield segment


def _broken(segment: Segment) -> Iterator[Segment]:
    cue: list[Word] = []
    for word in segment.words:
        if cue and _breaks(cue, word):
            yield _cue(cue, segment.speaker)
            cue = []
        cue.append(word)
    yield _cue(cue, segment.speaker)


def _breaks(cue: list[Word], word: Word) -> bool:
    characters = sum(len(earlier.text) + 1 for earlier in cue) + len(word.text)
    return (
        word.start - cue[-1].end >= CUE_PAUSE_S
        or word.end - cue[0].start > CUE_MAX_S
        or characters > CUE_MAX_CHARACTERS
        or word.speaker != cue[-1].speaker
    )


def _cue(words: list[Word], speaker: str | None) -> Segment:
    text = " ".join(word.text for word in words)
    return Segment(text, words[0].start, words[-1].end, tuple(words), words[0].speaker or speaker)


def _txt(transcript: Transcript, _: str) -> str:
    return transcript.text + "\n"


def _json(transcript: Transcript, _: str) -> str:
    return json.dumps(asdict(transcript), ensure_ascii=False, indent=1) + "\n"


def _verbose_json(transcript: Transcript, _: str) -> str:
    fields: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language,
        "duration": _seconds(transcript.duration_s),
        "text": transcript.text,
        "segments": [_verbose_segment(number, segment) for number, segment in enumerate(transcript.segments)],
    }
    if transcript.words:
        fields["words"] = [
            {"word": word.text, "start": _seconds(word.start), "end": _seconds(word.end)} for word in transcript.words
        ]
    return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def _verbose_segment(number: int, segment: Segment) -> dict[str, Any]:
    """One segment under OpenAI's names; what our engines do not know is null."""
    encoded = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start * SEEK_FRAMES_PER_S),
        "start": _seconds(segment.start),
        "end": _seconds(segment.end),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": None,
        "compression_ratio": len(encoded) / len(zlib.compress(encoded)),
        "no_speech_prob": None,
    }


def _srt(transcript: Transcript, _: str) -> str:
    return "".join(
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_spoken(cue)}\n\n"
        for number, cue in enumerate(cues(transcript), start=1)
    )


def _vtt(transcript: Transcript, _: str) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_voiced(cue)}\n\n" for cue in cues(transcript)
    )


def _tsv(transcript: Transcript, _: str) -> str:
    rows = (f"{_ms(cue.start)}\t{_ms(cue.end)}\t{_line(cue.text)}\n" for cue in cues(transcript))
    return "start\tend\ttext\n" + "".join(rows)


def _rttm(transcript: Transcript, name: str) -> str:
    turns = list(_turns(cues(transcript)))
    if not turns:
        raise UnsupportedError("rttm needs speakers and this transcript has none", name, "diarise the recording first")
    recording = "_".join(name.split()) or "audio"
    return "".join(
        f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> {'_'.join(speaker.split())} <NA> <NA>\n"
        for speaker, start, end in turns
    )


def _turns(segments: Iterable[Segment]) -> Iterator[tuple[str, float, float]]:
    for segment in segments:
        if segment.speaker is not None:
            yield segment.speaker, segment.start, segment.end


def _spoken(cue: Segment) -> str:
    return (f"[{_line(cue.speaker)}] " if cue.speaker else "") + _line(cue.text).replace("-->", "->")


def _voiced(cue: Segment) -> str:
    voice = f"<v {html.escape(_line(cue.speaker), quote=False)}>" if cue.speaker else ""
    return voice + html.escape(_line(cue.text), quote=False)


def _line(text: str) -> str:
    return " ".join(text.split())


def _seconds(seconds: float) -> float:
    """Return seconds without the noise of their sums; a microsecond is less than a sample."""
    return round(seconds, 6)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(seconds: float, point: str) -> str:
    minutes, ms = divmod(_ms(seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"


_RENDERERS: dict[str, Callable[[Transcript, str], str]] = {
    "txt": _txt,
    "json": _json,
    "verbose_json": _verbose_json,
    "srt": _srt,
    "vtt": _vtt,
    "tsv": _tsv,
    "rttm": _rttm,
}
FORMATS = tuple(_RENDERERS)
