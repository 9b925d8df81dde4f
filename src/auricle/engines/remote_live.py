"""Live streams of a server's WebSocket dialect: a stream is a connection, opened anew for every utterance."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.client.clips import encode
from auricle.client.dialects import live
from auricle.client.dialects.base import Target
from auricle.client.errors import RefusedError, ServerError
from auricle.client.events import StreamRecord
from auricle.client.pacing import CLOCK
from auricle.client.stream import Stream
from auricle.engines.checks import check_cancelled, check_loaded, check_open, check_request
from auricle.engines.contract import StreamFailure
from auricle.engines.remote_loop import LoopThread
from auricle.engines.remote_retry import Budget
from auricle.errors import EngineError
from auricle.transcript import Hypothesis, Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.client.events import Heard
    from auricle.engines.contract import Feed, ModelInfo, StreamOptions, TranscribeOptions
    from auricle.engines.remote_address import RemoteAddress
    from auricle.trace import Tracer

SHORTEST_S = 0.1
"""A shorter recording holds no word and is not sent."""
FILE_CHUNK_S = 0.1


class _Utterance:
    """A connection and what it has said: finals, and the text that may still change."""

    def __init__(self, target: Target, rate: int) -> None:
        record = StreamRecord(0, "remote", target.dialect, rate, round(FILE_CHUNK_S * rate), 0, None)
        self.stream = Stream(target, record, self._hear)
        self._finals: list[str] = []
        self._partial = ""

    @property
    def stable(self) -> int:
        """How many words the server has said for good."""
        return sum(len(text.split()) for text in self._finals)

    @property
    def text(self) -> str:
        """All that the server has said, for good or not."""
        return " ".join(" ".join([*self._finals, self._partial]).split())

    def _hear(self, heard: Heard, at_s: float) -> None:
        del at_s
        if heard.is_final and heard.text:
            self._finals.append(heard.text)
        self._partial = "" if heard.is_final else heard.text


@dataclass(slots=True)
class _Open:
    """A stream between its opening and its closing: what it asks for, and samples consumed since then."""

    language: str | None
    utterance: _Utterance | None = None
    consumed: int = 0


class RemoteStreamingRecognizer:
    """Chunks go out in `step`, and what has arrived by then is the hypothesis; only a final is waited for."""

    def __init__(self, info: ModelInfo, address: RemoteAddress, tracer: Tracer) -> None:
        self.info = info
        self._address = address
        self._tracer = tracer
        self._encoding = live(address.dialect).encoding
        self._streams: dict[int, _Open] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._unloaded = False
        self._closing: set[asyncio.Future[None]] = set()
        self._loop = LoopThread("remote-live")

    def transcribe(
        self, batch: Sequence[Audio], options: TranscribeOptions, cancel: threading.Event | None = None
    ) -> list[Transcript]:
        """Send each recording as fast as the server takes it, `workers` at once; those under 0.1 s are empty."""
        check_loaded(unloaded=self._unloaded)
        check_request(self.info, batch, options)
        check_cancelled(cancel)
        with self._tracer.span("request"):
            texts = self._loop.call(self._send_all(batch, options.language), cancel)
        return [
            Transcript(text, audio.duration_s, language=options.language)
            for text, audio in zip(texts, batch, strict=True)
        ]

    def open(self, options: StreamOptions) -> int:
        """Connect; raises EngineError where the server is not there or has no room."""
        check_loaded(unloaded=self._unloaded)
        check_open(self.info, options)
        with self._lock:
            if len(self._streams) >= self._address.slots:
                raise EngineError("all slots are taken", len(self._streams), "close a stream, or write #slots=")
            stream = next(self._numbers)
            opened = self._streams[stream] = _Open(options.language)
        try:
            opened.utterance = self._loop.call(self._connect(options.language))
        except EngineError:
            del self._streams[stream]
            raise
        return stream

    def step(self, ready: Sequence[Feed]) -> list[Hypothesis | StreamFailure]:
        """Send a chunk of every stream and return what was heard; waits for the finals of last chunks together."""
        check_loaded(unloaded=self._unloaded)
        streams = [self._stream(feed.stream) for feed in ready]
        with self._tracer.span("send"):
            return self._loop.call(self._step(ready, streams))

    def close(self, stream: int) -> None:
        """Hang up."""
        opened = self._stream(stream)
        with self._lock:
            del self._streams[stream]
        if opened.utterance is not None:
            self._loop.call(opened.utterance.stream.close())

    def unload(self) -> None:
        """Hang up all streams."""
        if self._unloaded:
            return
        self._unloaded = True
        for stream in tuple(self._streams):
            self.close(stream)
        self._loop.stop()

    def _stream(self, stream: int) -> _Open:
        try:
            return self._streams[stream]
        except KeyError:
            raise EngineError("unknown stream", stream, "open it first") from None

    async def _step(self, ready: Sequence[Feed], streams: Sequence[_Open]) -> list[Hypothesis | StreamFailure]:
        return await asyncio.gather(*(self._advance(feed, opened) for feed, opened in zip(ready, streams, strict=True)))

    async def _advance(self, feed: Feed, opened: _Open) -> Hypothesis | StreamFailure:
        try:
            utterance = opened.utterance = opened.utterance or await self._connect(opened.language)
            opened.consumed += len(feed.samples)
            await self._send(utterance, feed.samples)
            if feed.is_last:
                opened.utterance = None
                await self._finish(utterance)
        except EngineError as error:
            self._streams.pop(feed.stream, None)
            if opened.utterance is not None:
                self._hang_up(opened.utterance)
            return StreamFailure(feed.stream, error)
        audio_s = opened.consumed / self.info.sample_rate
        return Hypothesis(feed.stream, utterance.text, audio_s, feed.is_last, utterance.stable)

    async def _send_all(self, batch: Sequence[Audio], language: str | None) -> list[str]:
        places = asyncio.Semaphore(self.info.workers)

        async def one(audio: Audio) -> str:
            async with places:
                return "" if audio.duration_s < SHORTEST_S else await self._send_whole(audio, language)

        tasks = [asyncio.ensure_future(one(audio)) for audio in batch]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _send_whole(self, audio: Audio, language: str | None) -> str:
        utterance = await self._connect(language)
        chunk = round(FILE_CHUNK_S * audio.rate)
        try:
            for start in range(0, len(audio.samples), chunk):
                await self._send(utterance, audio.samples[start : start + chunk])
        except BaseException:
            self._hang_up(utterance)
            raise
        await self._finish(utterance)
        return utterance.text

    async def _connect(self, language: str | None) -> _Utterance:
        """Connect, again where the server is not there yet or has no room, within the budget."""
        address, rate = self._address, self.info.sample_rate
        target = Target(
            url=address.url,
            dialect=address.dialect,
            key=address.key,
            model=address.model,
            language=language,
            connect_s=address.connect_s,
            finish_s=address.answer_s,
        )
        budget = Budget(address.retries, address.retry_s)
        while True:
            utterance = _Utterance(target, rate)
            try:
                await utterance.stream.open()
            except (RefusedError, ServerError) as error:
                self._hang_up(utterance)
                pause_s = budget.spend(getattr(error, "retry_after_s", None)) if _may_try_again(error) else None
                if pause_s is None:
                    raise self._failed(error) from error
                await asyncio.sleep(pause_s)
            else:
                return utterance

    async def _send(self, utterance: _Utterance, samples: NDArray[np.float32]) -> None:
        """Send samples, as soon as the server takes them."""
        try:
            if len(samples):
                utterance.stream.send(encode(samples, self._encoding), CLOCK())
            async with asyncio.timeout(self._address.answer_s):
                await utterance.stream.room()
        except (RefusedError, ServerError) as error:
            raise self._failed(error) from error
        except TimeoutError as error:
            raise EngineError("the server does not read", self._address.where) from error

    async def _finish(self, utterance: _Utterance) -> None:
        """Wait for the server's last word, and hang up."""
        try:
            await utterance.stream.finish()
        except (RefusedError, ServerError) as error:
            raise self._failed(error) from error
        finally:
            self._hang_up(utterance)

    def _hang_up(self, utterance: _Utterance) -> None:
        """Say goodbye, without waiting for the answer."""
        task = asyncio.ensure_future(utterance.stream.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _failed(self, error: RefusedError | ServerError) -> EngineError:
        """Return the error of the server as an engine's, without the key where the server repeats it."""
        hidden = self._address.hidden
        value = None if error.value is None else hidden(error.value)
        return EngineError(hidden(error.what), value, f"see {self._address.where}: {error.remedy or 'its log'}")


def _may_try_again(error: RefusedError | ServerError) -> bool:
    return isinstance(error, RefusedError) or isinstance(error.__cause__, ConnectionRefusedError)
