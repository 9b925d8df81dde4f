"""From what a live session hears to OpenAI's events: one conversation item for each utterance.

Deltas are append-only, so only words that are shown for good are sent; the rest of the text follows at the end, and
the deltas of an item together equal its transcript. Where the final contradicts words that were shown, no more deltas
follow and the transcript is the truth. Speech starts with the first word and stops where the utterance ends by itself;
an utterance without words is no item unless the client committed it. What the client cleared is never told of again:
the next item has an id of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.live.scheduler import Failed, Final, Partial
from auricle.serve.openai_events import RequestError, error_object

if TYPE_CHECKING:
    from auricle.errors import AuricleError
    from auricle.live.scheduler import Event
    from auricle.serve.openai_events import Ids, WireEvent

MS_PER_S = 1000
COMMIT = "commit"
CLEAR = "clear"
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Items:
    """Follows the utterances of one session; `prefix_padding_ms` None is a session that detects no speech."""

    def __init__(self, ids: Ids, prefix_padding_ms: int | None) -> None:
        self._ids = ids
        self._prefix_padding_ms = prefix_padding_ms
        self._previous: str | None = None
        self._begin(0.0)

    def tell(self, event: Event) -> list[WireEvent]:
        """Return what the client is told, in order."""
        match event:
            case Partial():
                return [*self._start(event), *self._delta(" ".join(event.new_stable))]
            case Final():
                return self._final(event)
            case Failed():
                return [self._failed(event.error)]

    def _begin(self, start_s: float) -> None:
        self._utterance_start_s = self._quiet_s = start_s
        self._item = self._ids.next("item")
        self._sent = ""
        self._speaking = False

    def _start(self, event: Partial | Final) -> list[WireEvent]:
        """Tell that speech began: at the first word, or where the last partial without words ended, never too late."""
        if not event.text:
            self._quiet_s = event.audio_s
        if self._speaking or not event.text or self._prefix_padding_ms is None:
            return []
        self._speaking = True
        start_ms = _ms(event.words[0].start if event.words else self._quiet_s) - self._prefix_padding_ms
        return [
            {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": max(start_ms, _ms(self._utterance_start_s)),
                "item_id": self._item,
            }
        ]

    def _delta(self, words: str) -> list[WireEvent]:
        if not words:
            return []
        return [self._append(f" {words}" if self._sent else words)]

    def _append(self, delta: str) -> WireEvent:
        self._sent += delta
        return {"type": f"{TRANSCRIPTION}.delta", "item_id": self._item, "content_index": 0, "delta": delta}

    def _final(self, final: Final) -> list[WireEvent]:
        mark, _, client_event_id = (final.mark.name if final.mark and final.mark.name else "").partition(":")
        if mark == CLEAR:
            told: list[WireEvent] = [{"type": "input_audio_buffer.cleared"}]
        elif mark == COMMIT and final.audio_s == final.start_s:
            told = [empty_commit(client_event_id or None)]
        elif mark == COMMIT or final.text or self._speaking:
            told = self._complete(final, stopped=mark != COMMIT)
            self._previous = self._item
        else:
            told = []
        self._begin(final.audio_s)
        return told

    def _complete(self, final: Final, *, stopped: bool) -> list[WireEvent]:
        told = self._start(final)
        if stopped and self._speaking:
            end_ms = _ms(final.audio_s)
            told.append({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": end_ms, "item_id": self._item})
        told.append({"type": "input_audio_buffer.committed", "item_id": self._item, "previous_item_id": self._previous})
        if final.text.startswith(self._sent) and final.text != self._sent:
            told.append(self._append(final.text[len(self._sent) :]))
        told.append(
            {
                "type": f"{TRANSCRIPTION}.completed",
                "item_id": self._item,
                "content_index": 0,
                "transcript": final.text,
                "usage": {"type": "duration", "seconds": round(final.audio_s - final.start_s, 3)},
            }
        )
        return told

    def _failed(self, error: AuricleError) -> WireEvent:
        told = error_object(error)
        del told["event_id"]
        return {"type": f"{TRANSCRIPTION}.failed", "item_id": self._item, "content_index": 0, "error": told}


def empty_commit(client_event_id: str | None) -> WireEvent:
    """Return the error for a commit of no audio."""
    error = RequestError("no audio to commit", "input_audio_buffer_commit_empty", None, None, "append audio first")
    return {"type": "error", "error": error_object(error, client_event_id)}


def _ms(seconds: float) -> int:
    return round(seconds * MS_PER_S)
