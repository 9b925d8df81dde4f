"""`auricle listen`: live captions of a file played in real time, of standard input or of a microphone."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from auricle.cli.captions import Captions
from auricle.cli.console import AsJson, pcm_format, say
from auricle.cli.transcribe import STANDARD_INPUT
from auricle.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import PcmFormat
    from auricle.client.capture import Block
    from auricle.client.dialects.base import Target, WireEncoding
    from auricle.client.events import Heard
    from auricle.client.stream import Stream
    from auricle.engines.loading import LoadRequest
    from auricle.live.session import Session

    Observer = Callable[[Heard, float], None]
    Source = Callable[[int], AsyncGenerator[Block, None]]

PACKET_MS = 100
MS_PER_S = 1000


def listen(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|-]", help="Recording; - is PCM on standard input; none, a microphone."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Live server, ws:// or wss://; otherwise an engine here.")] = None,
    dialect: Annotated[
        str | None, typer.Option(help="deepgram, sherpa or openai-realtime; otherwise told by the path of the server.")
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="AURICLE_KEY", help="Key of the server.")] = None,
    engine: Annotated[str | None, typer.Option(help="Engine; `auricle doctor` lists them.")] = None,
    model: Annotated[str | None, typer.Option(help="Model by name or path, or as the server calls it.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or int8; see `auricle models check`.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the speech, such as en.")] = None,
    keyword: Annotated[list[str] | None, typer.Option(help="Word or phrase to prefer; repeatable.")] = None,
    pcm: Annotated[str | None, typer.Option(help="Raw input: ENCODING:RATE[:CHANNELS], such as s16le:16000.")] = None,
    speed: Annotated[float, typer.Option(help="Play a file so many times as fast as it was spoken.")] = 1.0,
    unpaced: Annotated[bool, typer.Option("--unpaced", help="Play a file as fast as it is taken.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is said while it is said; Ctrl-C ends it, once what was heard is recognised."""
    from auricle.engines.loading import LoadRequest

    raw = None if pcm is None else pcm_format(pcm)
    audio = _source(source, raw, None if unpaced else speed)
    if url is None:
        if dialect is not None or key is not None:
            raise UsageError("a dialect and a key are for a server", dialect, "name it with --url")
        request = LoadRequest(engine, model, device or "cpu", precision)
        asyncio.run(_listen_here(request, language, tuple(keyword or ()), audio, as_json=as_json))
        return
    if keyword:
        remedy = "add keyterm=... to the query of --url"
        raise UsageError("keywords for a server are part of its address", keyword[0], remedy)
    for option, value in (("--engine", engine), ("--device", device), ("--precision", precision)):
        if value is not None:
            raise UsageError("the server has chosen this", option, "leave it out, or leave out --url")
    from auricle.client.dialects import dialect_of
    from auricle.client.dialects.base import Target

    target = Target(url=url, dialect=dialect or dialect_of(url), key=key, model=model, language=language)
    asyncio.run(_listen_there(target, audio, as_json=as_json))


def _source(name: str | None, pcm: PcmFormat | None, speed: float | None) -> Source:
    """Return what opens the source at a rate in Hz; raises UsageError before anything is loaded or connected."""
    from auricle.audio import load
    from auricle.client.capture import arriving, microphone, paced
    from auricle.client.pacing import Schedule

    schedule = Schedule(0, MS_PER_S, PACKET_MS, speed)
    is_live = name in {None, STANDARD_INPUT}
    if is_live and speed != 1.0:
        raise UsageError("only a recording can be played at another speed", name or "microphone")
    if name is None and pcm is not None:
        raise UsageError("a microphone has no raw format", pcm.encoding, "name - for standard input")
    if name == STANDARD_INPUT and pcm is None:
        raise UsageError("standard input must be described", None, "add --pcm, such as --pcm s16le:16000")

    def opened(rate: int) -> AsyncGenerator[Block, None]:
        if name is None:
            return microphone(rate, PACKET_MS)
        if name == STANDARD_INPUT and pcm is not None:
            return arriving(sys.stdin.fileno(), pcm, rate)
        audio = load(Path(name), rate, pcm=pcm)
        chunk = rate * PACKET_MS // MS_PER_S
        return paced(audio, replace(schedule, samples=len(audio.samples), rate=rate, chunk=chunk))

    return opened


class Ear(Protocol):
    """What recognises; `ended` is done when it hears no more, because all was said or because it failed."""

    ended: asyncio.Future[None]

    async def send(self, samples: NDArray[np.float32], due_s: float) -> None:
        """Give it samples, waiting while it has too many."""
        ...

    async def finish(self) -> None:
        """Say that no more follow, and wait for the last final; raises what it failed with."""
        ...


class _Here:
    """An engine of this process."""

    def __init__(self, session: Session, observe: Observer) -> None:
        self._session = session
        self._observe = observe
        self.ended: asyncio.Future[None] = asyncio.ensure_future(self._hear())

    async def send(self, samples: NDArray[np.float32], due_s: float) -> None:
        del due_s
        await self._session.feed(samples)

    async def finish(self) -> None:
        if not self.ended.done():
            self._session.end()
        await self.ended

    async def _hear(self) -> None:
        from auricle.client.events import Heard
        from auricle.client.pacing import CLOCK
        from auricle.live.events import Failed, Final, Partial

        async for event in self._session.events():
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Partial | Final):
                self._observe(Heard(event.text, isinstance(event, Final), event.audio_s), CLOCK())


class _There:
    """A server."""

    def __init__(self, stream: Stream, encoding: WireEncoding) -> None:
        self._stream = stream
        self._encoding = encoding
        self.ended = stream.over

    async def send(self, samples: NDArray[np.float32], due_s: float) -> None:
        from auricle.client.clips import encode

        await self._stream.room()
        self._stream.send(encode(samples, self._encoding), due_s)

    async def finish(self) -> None:
        await self._stream.finish()


async def _listen_here(
    request: LoadRequest, language: str | None, keywords: tuple[str, ...], source: Source, *, as_json: bool
) -> None:
    from auricle.engines.contract import StreamingRecognizer, StreamOptions
    from auricle.engines.loading import load
    from auricle.live.hub import LiveHub
    from auricle.trace import Tracer

    recognizer = load(request, Tracer())
    try:
        if not isinstance(recognizer, StreamingRecognizer):
            raise UnsupportedError("this engine does not listen live", recognizer.info.engine, "choose another engine")
        hub = LiveHub(recognizer)
        try:
            session = await hub.open(StreamOptions(language=language, keywords=keywords))
            rate = recognizer.info.sample_rate
            with Captions(rate, as_json=as_json) as captions:
                ear = _Here(session, captions.heard)
                try:
                    await _play(ear, source(rate), captions)
                finally:
                    ear.ended.cancel()
            say(captions.summary)
        finally:
            await hub.stop()
    finally:
        recognizer.unload()


async def _listen_there(target: Target, source: Source, *, as_json: bool) -> None:
    from auricle.client.clips import wire_format
    from auricle.client.events import StreamRecord
    from auricle.client.stream import Stream

    rate, encoding = wire_format(target)
    record = StreamRecord(0, "", target.dialect, rate, rate * PACKET_MS // MS_PER_S, 0, None)
    with Captions(rate, as_json=as_json) as captions:
        stream = Stream(target, record, captions.heard)
        try:
            await stream.open()
            await _play(_There(stream, encoding), source(rate), captions)
        finally:
            await stream.close()
    say(captions.summary)


async def _play(ear: Ear, blocks: AsyncGenerator[Block, None], captions: Captions) -> None:
    """Send all blocks, or those before Ctrl-C, and wait until everything was heard."""

    async def send() -> None:
        async with aclosing(blocks):
            async for samples, due_s in blocks:
                captions.sent(len(samples), due_s)
                await ear.send(samples, due_s)

    sending = asyncio.create_task(send())
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # Windows interrupts at once
        loop.add_signal_handler(signal.SIGINT, sending.cancel)
    try:
        await asyncio.wait([sending, ear.ended], return_when=asyncio.FIRST_COMPLETED)
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        sending.cancel()
    await asyncio.wait([sending])
    failure = None if sending.cancelled() else sending.exception()
    if failure is not None and not ear.ended.done():
        raise failure
    await ear.finish()
