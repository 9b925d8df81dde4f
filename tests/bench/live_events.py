"""Raw events of live runs, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.bench.live.reading import Level, Message, Stream
from auricle.bench.live.scoring import Normalisers, ScoredStream

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 16_000
CHUNK_S = 0.1


def utterance(
    name: str, reference: str, speaker: str = "s", words_s: float | None = 0.5, **more: Any
) -> dict[str, Any]:
    """An utterance of words of half a second each, after half a second of silence."""
    texts = reference.split()
    step = words_s or 0.0
    words = [[text, 0.5 + step * place, 0.5 + step * (place + 1)] for place, text in enumerate(texts)]
    end_s = 0.5 + step * len(texts)
    fields = {
        "event": "utterance",
        "t_s": 0.0,
        "id": name,
        "reference": reference,
        "language": "en",
        "speaker": speaker,
        "audio_s": end_s + 0.5,
        "onset_s": 0.5,
        "end_s": end_s,
        "words": words if words_s else [],
        "timed_by": "alignment",
    }
    return fields | more


def stream_event(
    said: Sequence[tuple[Any, ...]], programme: str = "a", start_s: float = 10.0, **more: Any
) -> dict[str, Any]:
    """A stream of two seconds; what is said: (moment after its start, covered, final, text)."""
    chunks = round(more.get("samples", 2 * RATE) / (CHUNK_S * RATE))
    due = [start_s + CHUNK_S * (number + 1) for number in range(chunks)]
    fields = {
        "event": "stream",
        "t_s": start_s + 9,
        "level": 0,
        "stream": 0,
        "client": 0,
        "counted": True,
        "programme": programme,
        "dialect": "deepgram",
        "rate": RATE,
        "chunk": round(CHUNK_S * RATE),
        "samples": 2 * RATE,
        "speed": 1.0,
        "connect_s": start_s - 0.2,
        "ready_s": start_s - 0.1,
        "start_s": start_s,
        "due_s": due,
        "sent_s": [at_s + 0.001 for at_s in due],
        "held": [],
        "messages": [[start_s + at_s, covered_s, is_final, text, None] for at_s, covered_s, is_final, text in said],
        "end_of_audio_s": due[-1],
        "closed_s": due[-1] + 1.0,
        "close_code": 1000,
        "outcome": "complete",
        "error": None,
        "retry_after_s": None,
    }
    return fields | more


def stream(said: Sequence[tuple[Any, ...]], *pieces: tuple[dict[str, Any], float], **more: Any) -> Stream:
    """A stream that plays utterances at offsets."""
    event = stream_event(said, **more)
    played = pieces or ((utterance("a", "one two"), 0.0),)
    return Stream(event, tuple(played), tuple(Message(*message) for message in event["messages"]))


def scored(*streams: Stream) -> list[ScoredStream]:
    """Streams with their words."""
    normalisers = Normalisers("basic")
    return [ScoredStream(one, normalisers) for one in streams]


def level(*streams: Stream, **more: Any) -> Level:
    """A level of such streams."""
    event = {
        "event": "level",
        "t_s": 30.0,
        "level": 0,
        "arm": "x",
        "phase": "level",
        "live": 1,
        "per_s": None,
        "speed": 1.0,
        "began_s": 9.0,
        "counted_until_s": 12.0,
        "ended_s": 14.0,
        "skipped": 0,
    }
    return Level(event | more, list(streams))
