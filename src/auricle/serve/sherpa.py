"""The dialect of sherpa-onnx's streaming server: float32 samples in, results as JSON out, `Done` and `Done!`.

What is not sherpa-onnx's: parameters in the query (`language`, and those of `serve.query`), `error` in a result that
reports one, and the bearer key, which its own clients cannot send. Its server says nothing of errors, ignores unknown
text and never closes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from auricle.audio import PcmFormat
from auricle.engines.contract import StreamOptions
from auricle.errors import AudioError, AuricleError
from auricle.live.endpoint import endpoint_rules
from auricle.live.events import Final, Partial, SpeechStarted, SpeechStopped
from auricle.live.session import LimitError
from auricle.serve.auth import bearer
from auricle.serve.conversation import converse
from auricle.serve.live_audio import live_decoder
from auricle.serve.query import Query, live_query
from auricle.serve.websockets import (
    Call,
    Closing,
    MessageError,
    Written,
    end,
    live_hub,
    refusal,
    resume,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection

    from auricle.live.events import Heard
    from auricle.serve.conversation import Conversation
    from auricle.serve.live_audio import LiveDecoder
    from auricle.serve.service import Service
    from auricle.serve.upgrade import Opening

DONE, FAREWELL = "Done", "Done!"
LINGER_S = 2.0
"""Time for the client to close first, as sherpa-onnx's do."""
EXCERPT = 100


async def handle(opening: Opening, service: Service) -> None:
    """Serve one connection: refuse it with an HTTP status, or accept it and converse until it ends."""
    try:
        service.authorise(bearer(opening.request.headers.get("authorization")), opening.request)
        call, finals = await _call(opening.request, service)
    except AuricleError as error:
        status, headers, facts = refusal(error)
        body = {"error": {"type": type(error).__name__, "message": str(error), **facts}}
        opening.deny(JSONResponse(body, status, headers))
        return
    await converse(opening, live_hub(service), call, call.greeting(finals))


class SherpaStream:
    """One stream in sherpa-onnx's words; tokens are words, each with the space before it."""

    empty_ends = False

    def __init__(self, rate: int) -> None:
        self.decoder: LiveDecoder | None = live_decoder(PcmFormat("f32le", rate), rate)
        self._segment = 0
        self._start_s = 0.0
        self._text = ""
        self._begin()

    def hear(self, text: str, talk: Conversation) -> None:
        """Act on `Done`; raises MessageError for other text."""
        if text != DONE:
            raise MessageError("unknown text message", text[:EXCERPT], f"send float32 samples, then {DONE}")
        end(talk.session, self.decoder)

    def tell(self, event: Heard) -> Sequence[str]:
        """Return the result; times count from the start of the segment, and empty segments are not counted."""
        if isinstance(event, SpeechStarted | SpeechStopped):
            return ()
        self._text = event.text
        if not isinstance(event, Final):
            return (self._result(event),)
        message = self._result(event)
        self._start_s, self._text = event.audio_s, ""
        self._begin()
        self._segment += bool(event.text)
        return (message,)

    def complain(self, error: AuricleError, text: str | None) -> str:  # noqa: ARG002  the error tells it
        """Return the present result with the error in it, so that a client that knows no errors goes on."""
        return self._error(error)

    def closing(self, error: AuricleError | None) -> Closing:
        """Return `Done!` after the last final, else the error and a close code."""
        if error is None:
            return Closing((FAREWELL,), linger_s=LINGER_S)
        if isinstance(error, AudioError):
            code = 1007
        elif isinstance(error, LimitError):
            code = 1008
        else:
            code = 1011
        return Closing((self._error(error),), code, str(error))

    def _begin(self) -> None:
        """Begin a segment, in whose time its words are written."""
        start_s = self._start_s
        self._tokens = Written(lambda word: _token(word.text))
        self._times = Written(lambda word: str(round(word.start - start_s, 3)))

    def _result(self, event: Partial | Final) -> str:
        """Return a result; written by hand around the parts that are JSON of their own, for there are many."""
        is_eof = isinstance(event, Final) and event.mark is not None and event.mark.ends_stream
        texts = [] if event.words else event.text.split()
        tokens = self._tokens.joined(event.words) or ",".join([_token(text) for text in texts])
        return (
            f'{{"text":{json.dumps(event.text)},"tokens":[{tokens}],"timestamps":[{self._times.joined(event.words)}],'
            f'"segment":{self._segment},"start_time":{round(self._start_s, 3)},'
            f'"is_final":{json.dumps(isinstance(event, Final))},"is_eof":{json.dumps(is_eof)}}}'
        )

    def _error(self, error: AuricleError) -> str:
        present = self._result(Partial(self._text, (), 0, (), 0.0))
        return f'{present[:-1]},"error":{json.dumps({"type": type(error).__name__, "message": str(error)})}}}'


def _token(word: str) -> str:
    return json.dumps(f" {word}")


async def _call(request: HTTPConnection, service: Service) -> tuple[Call, int]:
    query, hub, info = Query(request.query_params.multi_items()), live_hub(service), service.recognizer.info
    own = live_query(query)
    language, keywords = query.text("language"), query.many("keyterm")
    options = StreamOptions(own.chunk_ms, language, "word_times" in info.features, keywords)
    query.end()
    stream = SherpaStream(info.sample_rate)
    if own.resume is not None:
        return resume(hub, own, query.options, SherpaStream, stream.decoder), own.finals
    session = await hub.open(options, endpoint_rules(service.settings.endpointing), every_partial=own.every_partial)
    call = Call(session, stream, query.options, own.resumable)
    session.carried = call if call.resumable else None
    return call, own.finals
