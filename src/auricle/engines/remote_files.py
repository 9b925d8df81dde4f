"""Recordings as requests to a server, several at once."""

from __future__ import annotations

import io
import math
import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from typing import TYPE_CHECKING, Any

from auricle.client.clips import encode
from auricle.engines.checks import check_cancelled, check_loaded, check_request
from auricle.engines.worker import CANCEL_POLL_S
from auricle.errors import CancelledError, EngineError, UnsupportedError
from auricle.transcript import Segment, Transcript, Word, fit_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from auricle.audio import Audio
    from auricle.engines.contract import ModelInfo, TranscribeOptions
    from auricle.engines.remote_address import RemoteAddress
    from auricle.engines.remote_http import HttpEndpoint
    from auricle.trace import Tracer

SHORTEST_S = 0.1
"""OpenAI's own bound; a shorter recording holds no word and is not sent."""
STAGE = "request"


class RemoteRecognizer:
    """One request for each recording, `workers` of them at once; none depends on another."""

    def __init__(
        self, info: ModelInfo, address: RemoteAddress, endpoint: HttpEndpoint, model: str, tracer: Tracer
    ) -> None:
        self.info = info
        self._address = address
        self._endpoint = endpoint
        self._model = model
        self._tracer = tracer
        self._threads = ThreadPoolExecutor(info.workers, thread_name_prefix="remote")
        self._unloaded = False

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Ask for every recording; those under 0.1 s are empty. Raises the first error, and asks for no more then."""
        check_loaded(unloaded=self._unloaded)
        check_request(self.info, batch, options)
        check_cancelled(cancel)
        stop, asking = threading.Event(), set[int]()
        futures = [self._threads.submit(self._recognise, audio, options, stop, asking) for audio in batch]
        try:
            return [_result(future, cancel) for future in futures]
        finally:
            stop.set()
            for future in futures:
                future.cancel()
            self._endpoint.hang_up(tuple(asking))

    def unload(self) -> None:
        """Take no more requests."""
        self._unloaded = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _recognise(
        self, audio: Audio, options: TranscribeOptions, stop: threading.Event, asking: set[int]
    ) -> Transcript:
        if audio.duration_s < SHORTEST_S:
            return Transcript("", audio.duration_s, language=options.language)
        thread = threading.get_ident()
        asking.add(thread)
        try:
            check_cancelled(stop)
            with self._tracer.span(STAGE, threading.current_thread().name):
                answer = self._endpoint.transcribe(_wav(audio), self._fields(options), stop)
        finally:
            asking.discard(thread)
        return _transcript(answer, audio, options)

    def _fields(self, options: TranscribeOptions) -> list[tuple[str, str]]:
        fields = [("model", self._model), ("response_format", "verbose_json" if options.word_times else "json")]
        if options.word_times:
            fields.append(("timestamp_granularities[]", "word"))
        if options.language is not None:
            fields.append(("language", options.language))
        if options.prompt is not None:
            fields.append(("prompt", options.prompt))
        return [*fields, *(("keywords[]", keyword) for keyword in options.keywords)]


def _result(future: Future[Transcript], cancel: threading.Event | None) -> Transcript:
    while True:
        try:
            return future.result(None if cancel is None else CANCEL_POLL_S)
        except NotYetError:
            if future.done():
                raise
            check_cancelled(cancel)
        except CancelledError:
            check_cancelled(cancel)
            raise


def _transcript(answer: dict[str, Any], audio: Audio, options: TranscribeOptions) -> Transcript:
    language = answer.get("language")
    language = language if isinstance(language, str) and language else options.language
    text = " ".join(answer["text"].split())
    words: tuple[Word, ...] = ()
    if options.word_times:
        words = _words(answer, audio.duration_s)
        if text and not words:
            remedy = "leave word times out of #can="
            raise UnsupportedError("the server gives no word times", audio.source, remedy)
        text = " ".join(word.text for word in words)
    segments = (Segment(text, words[0].start, words[-1].end, words),) if words else ()
    return Transcript(text, audio.duration_s, segments, language)


def _words(answer: dict[str, Any], duration_s: float) -> tuple[Word, ...]:
    """Read the words of a `verbose_json`; raises EngineError when they are none."""
    found = answer.get("words")
    try:
        words = [Word(str(one["word"]).strip(), float(one["start"]), float(one["end"])) for one in found or ()]
    except (LookupError, TypeError, ValueError) as error:
        raise EngineError("the server's words cannot be read", repr(found)[:200]) from error
    if not all(math.isfinite(time) for word in words for time in (word.start, word.end)):
        raise EngineError("the server's words have no times", repr(found)[:200])
    return fit_words([word for word in words if word.text], duration_s)


def _wav(audio: Audio) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(audio.rate)
        out.writeframes(encode(audio.samples, "s16le"))
    return file.getvalue()
