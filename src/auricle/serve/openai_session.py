"""One OpenAI Realtime transcription session on an open socket: a task that reads, and one that tells what is heard.

Settings can change until audio has come; they decide how the live session is opened, so it is opened anew, in the same
place. A commit or a clear ends the utterance in the engine at exactly that sample; the answer is sent when it gets
there, so that all events of an item stand in order. Errors in what a client sends are answered and the session goes
on; an idle or too long session, a failure of the engine and a refusal end it, after what was heard so far was told.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocketDisconnect, WebSocketState

from auricle.audio import PcmDecoder
from auricle.errors import AuricleError
from auricle.live.scheduler import Failed, Final
from auricle.live.session import LimitError, SessionEndedError
from auricle.serve.openai_events import (
    MAX_APPEND_BYTES,
    Ids,
    RequestError,
    error_object,
    event_id,
    event_type,
    read_audio,
    read_event,
)
from auricle.serve.openai_items import CLEAR, COMMIT, Items, empty_commit
from auricle.serve.openai_settings import beta_param, difference, from_beta, merged, plan, shown, shown_beta

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from starlette.websockets import WebSocket

    from auricle.live.hub import LiveHub
    from auricle.live.session import Session
    from auricle.serve.openai_events import WireEvent
    from auricle.serve.openai_settings import Input, Plan

MAX_OPEN_MARKS = 32
CLOSE_LOST = 1006
CLOSE_POLICY = 1008
CLOSE_FAILED = 1011
SAMPLE_BYTES = {"s16le": 2, "mulaw": 1, "alaw": 1}


class TranscriptionSession:
    """Serves one client; `session` was opened for `settings` and its place is given back when `run` ends."""

    def __init__(
        self, websocket: WebSocket, hub: LiveHub, session: Session, settings: Input, model_names: Collection[str]
    ) -> None:
        self._websocket = websocket
        self._hub = hub
        self._info = hub.recognizer.info
        self._session = session
        self._model_names = model_names
        self._ids = Ids()
        self._opened_s = time.time()
        self._swapping = asyncio.Lock()
        self._marks = asyncio.Semaphore(MAX_OPEN_MARKS)
        self._has_audio = False
        self._end: AuricleError | None = None
        self._decoder: PcmDecoder
        self._actions: dict[str, Callable[[WireEvent], Awaitable[None]]] = {
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "session.update": self._update,
            "transcription_session.update": self._update_beta,
        }
        self._adopt(settings, plan(settings, self._info, model_names))

    async def run(self) -> None:
        """Serve until the client is gone or the session has ended; raises what was not foreseen."""
        try:
            await self._send({"type": "session.created", "session": self._shown()})
        except WebSocketDisconnect:
            return
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._session.close()
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect):
                raise outcome

    async def _read(self) -> None:
        """Take what the client sends until it is gone."""
        while (message := await self._websocket.receive())["type"] == "websocket.receive":
            event: WireEvent = {}
            try:
                event = read_event(message.get("text"))
                await self._actions[event_type(event, self._actions)](event)
            except RequestError as error:
                await self._send_error(error, event_id(event))
            except LimitError as error:
                self._finish(error)
            except SessionEndedError:
                continue  # the writer is telling why

    async def _write(self) -> None:
        """Tell what the session hears, and those that take its place before audio comes; then why it ended."""
        while True:
            session = self._session
            try:
                await self._tell(session)
            except LimitError as error:
                self._finish(error)
                await self._tell(session)
            async with self._swapping:
                if session is self._session:
                    break
        code, reason = 1000, ""
        if self._end is not None:
            await self._send_error(self._end)
            code = CLOSE_POLICY if isinstance(self._end, LimitError) else CLOSE_FAILED
            reason = str(error_object(self._end)["code"])
        await self._websocket.close(code, reason)

    async def _tell(self, session: Session) -> None:
        async for event in session.events():
            if isinstance(event, Failed):
                self._end = event.error
                if not self._has_audio:
                    return
            for told in self._items.tell(event):
                await self._send(told)
            if isinstance(event, Final) and event.mark is not None and event.mark.name is not None:
                self._marks.release()

    async def _append(self, event: WireEvent) -> None:
        data = read_audio(event.get("audio"), SAMPLE_BYTES[self._plan.pcm.encoding])
        self._has_audio = self._has_audio or bool(data)
        for start in range(0, len(data), self._second_bytes):
            await self._session.feed(self._decoder.feed(data[start : start + self._second_bytes]))

    async def _commit(self, event: WireEvent) -> None:
        if self._has_audio:
            await self._mark(f"{COMMIT}:{event_id(event) or ''}")
        else:
            await self._send(empty_commit(event_id(event)))

    async def _clear(self, _: WireEvent) -> None:
        if self._has_audio:
            await self._mark(CLEAR)
        else:
            await self._send({"type": "input_audio_buffer.cleared"})

    async def _mark(self, name: str) -> None:
        """End the utterance after all audio that has come; waits while too many marks were not reached yet."""
        await self._marks.acquire()
        decoder = self._decoder
        self._decoder = self._new_decoder()
        await self._session.feed(decoder.finish())
        self._session.finalize(name)

    async def _update(self, event: WireEvent) -> None:
        await self._change(merged(self._settings, event.get("session")))
        await self._send({"type": "session.updated", "session": self._shown()})

    async def _update_beta(self, event: WireEvent) -> None:
        try:
            await self._change(merged(self._settings, from_beta(event.get("session"))))
        except RequestError as error:
            param = beta_param(error.param)
            raise RequestError(error.what, error.code, param, error.value, error.remedy) from error
        session = {**self._facts(), **shown_beta(self._settings, self._info)}
        await self._send({"type": "transcription_session.updated", "session": session})

    async def _change(self, settings: Input) -> None:
        """Carry out new settings; raises RequestError when that cannot be done, or not any more."""
        new = plan(settings, self._info, self._model_names)
        changed = difference(self._settings, settings)
        if changed is None:
            return
        if self._has_audio:
            remedy = "send it before the first audio, or connect again"
            raise RequestError(
                "settings are fixed once audio has come", "session_settings_fixed", changed, None, remedy
            )
        if (new.options, new.endpoints) != (self._plan.options, self._plan.endpoints):
            await self._reopen(new)
        self._adopt(settings, new)

    async def _reopen(self, new: Plan) -> None:
        """Open the live session anew, in the same place: nothing comes between its end and the request to open."""
        async with self._swapping:
            self._session.close()
            try:
                self._session = await self._hub.open(new.options, new.endpoints)
            except AuricleError as error:
                self._end = error
                raise SessionEndedError("the session could not be opened anew") from error

    def _adopt(self, settings: Input, new: Plan) -> None:
        turns = settings.turn_detection
        self._settings, self._plan = settings, new
        self._items = Items(self._ids, None if turns is None else turns.prefix_padding_ms)
        self._decoder = self._new_decoder()
        self._second_bytes = new.pcm.rate * SAMPLE_BYTES[new.pcm.encoding]

    def _new_decoder(self) -> PcmDecoder:
        return PcmDecoder(self._plan.pcm, self._info.sample_rate)

    def _finish(self, error: LimitError) -> None:
        """End the session after what has come; the writer then tells why."""
        self._end = self._end or error
        if not self._session.ended:
            self._session.end()

    def _shown(self) -> dict[str, Any]:
        audio = {"input": shown(self._settings, self._info)}
        return {**self._facts(), "type": "transcription", "audio": audio, "include": None}

    def _facts(self) -> dict[str, Any]:
        """Return what both forms of the session tell: beyond OpenAI's fields, its limits and its latency class."""
        limits = self._session.limits
        expires = None if limits.duration_s is None else int(self._opened_s + limits.duration_s)
        streaming = self._hub.streaming
        return {
            "id": self._ids.session,
            "object": "realtime.transcription_session",
            "expires_at": expires,
            "limits": {
                "idle_timeout_s": limits.idle_s,
                "duration_s": limits.duration_s,
                "append_bytes": MAX_APPEND_BYTES,
            },
            "latency": {
                "chunk_ms": self._plan.options.chunk_ms or streaming.chunk_ms[0],
                "lookahead_ms": streaming.lookahead_ms,
            },
        }

    async def _send_error(self, error: AuricleError, client_event_id: str | None = None) -> None:
        await self._send({"type": "error", "error": error_object(error, client_event_id)})

    async def _send(self, event: WireEvent) -> None:
        """Send an event; raises WebSocketDisconnect when the client is gone, or took nothing for the idle time."""
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(CLOSE_LOST)
        try:
            async with asyncio.timeout(self._session.limits.idle_s):
                await self._websocket.send_text(json.dumps({"event_id": self._ids.next("event"), **event}))
        except TimeoutError as error:
            raise WebSocketDisconnect(CLOSE_LOST) from error
