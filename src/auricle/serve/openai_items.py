"""From what a live session hears to OpenAI's events: one conversation item for each utterance.

Deltas are append-only, so only words that are shown for good are sent; the rest of the text follows at the end, and
the deltas of an item together equal its transcript. Where the final contradicts words that were shown, no more deltas
follow and the transcript is the truth. Speech starts and stops where the detector heard it; of speech that goes on
where an utterance ends (committed, cleared, too long) the next item has the rest. An utterance without words and
speech is no item unless the client committed it. What the client cleared is never told of again: the next item has an
id of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.live.events import Failed, Final, Partial, SpeechStarted, SpeechStopped
from auricle.serve.openai_events import RequestError, error_object

if TYPE_CHECKING:
    from auricle.errors import AuricleError
    from auricle.live.events import Event
    from auricle.serve.openai_events import Ids, WireEvent

MS_PER_S = 1000
COMMIT = "commit"
CLEAR = "clear"
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Items:
    """Follows the utterances of one session; `prefix_padding_ms` is how long before speech its item starts."""

    def __init__(self, ids: Ids, prefix_padding_ms: int | None) -> None:
        self._ids = ids
        self._prefix_padding_ms = prefix_padding_ms or 0
        self._previous: str | None = None
        self._speaking = False
        self._begin(0.0)

    def tell(self, event: Event) -> list[WireEvent]:
        """Return what the client is told, in order."""
        match event:
            case SpeechStarted(time_s):
                self._speaking = True
                return self._start(time_s)
            case SpeechStopped(time_s):
                self._speaking = False
                return self._stop(time_s)
            case Partial():
                return [*self._go_on(event.text), *self._delta(" ".join(event.new_stable))]
            case Final():
                return self._final(event)
            case Failed():
                return [self._failed(event.error)]

    def _begin(self, start_s: float) -> None:
        self._start_s = start_s
        self._item = self._ids.next("item")
        self._sent = ""
        self._has_speech = False

    def _start(self, time_s: float) -> list[WireEvent]:
        self._has_speech = True
        start_ms = max(_ms(time_s) - self._prefix_padding_ms, _ms(self._start_s))
        return [{"type": "input_audio_buffer.speech_started", "audio_start_ms": start_ms, "item_id": self._item}]

    def _stop(self, time_s: float) -> list[WireEvent]:
        """Tell that speech stopped; nothing where it had stopped already when the item began."""
        if not self._has_speech and time_s <= self._start_s:
            return []
        told = [] if self._has_speech else self._start(self._start_s)
        stopped = {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": _ms(time_s), "item_id": self._item}
        return [*told, stopped]

    def _go_on(self, text: str) -> list[WireEvent]:
        """Tell of speech that began before the item, as soon as it has words."""
        return self._start(self._start_s) if text and self._speaking and not self._has_speech else []

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
        elif mark == COMMIT or final.text or self._has_speech:
            told = self._complete(final, stopped=mark != COMMIT)
            self._previous = self._item
        else:
            told = []
        self._begin(final.audio_s)
        return told

    def _complete(self, final: Final, *, stopped: bool) -> list[WireEvent]:
        told = self._go_on(final.text)
        if stopped and self._speaking and self._has_speech:
            told += self._stop(final.audio_s)
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
