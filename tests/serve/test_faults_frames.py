"""Messages cut anywhere, too large, or wrong: each is served or ended by its own rule, and no neighbour notices."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.client.errors import ServerError
from auricle.engines.null import SAMPLE_RATE
from tests.serve.faults import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DIALECTS,
    PATHS,
    PING,
    TEXT,
    UNBOUNDED,
    WORKERS,
    beside,
    faultless,
    frame,
    handshake,
    memory_bytes,
    of_kind,
    packets,
    recording,
    wired,
)
from tests.serve.live_helpers import noise, text_of
from tests.serve.test_app_process import POSIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serve.faults import Fault
    from tests.serve.test_app_process import Process

pytestmark = POSIX
LIMIT_BYTES = 24 * 1024 * 1024
CAP_SAMPLES = 20 * SAMPLE_RATE
MOST_GROWTH_BYTES = 120_000_000
TOO_BIG, WRONG_FRAME, WRONG_TEXT = 1009, 1002, 1007


@pytest.fixture(scope="module", params=WORKERS)
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    with faultless(*UNBOUNDED, "--workers", request.param, "--set", "drain_s=2") as one:
        yield one


async def sends_little_at_a_time(url: str, dialect: str, number: int) -> None:
    """Cut the audio where samples are not; OpenAI's protocol asks for whole samples."""
    size = (1, 100, 3, 77, 4_801, 100, 7, 1)[number]
    size += size % 2 if dialect == "openai-realtime" else 0
    clip, text = recording(dialect, 0.6 if size > 9 else 0.05, number)
    async with wired(url, dialect) as wire:
        await wire.say(*(wire.words.audio(packet) for packet in packets(clip.pcm, size)))
        assert await wire.finish() == text


async def dribbles(url: str, dialect: str, number: int) -> None:
    """Let TCP carry frames in pieces, headers cut too."""
    clip, text = recording(dialect, 0.3, number)
    async with wired(url, dialect) as wire:
        sent = b"".join(frame(wire.words.audio(packet)) for packet in packets(clip.pcm, 1600))
        for piece in packets(sent, (1, 2, 3, 5, 13, 21, 34, 55)[number] * 7 - 6):
            await wire.put(piece)
        assert await wire.finish() == text


async def fragments(url: str, dialect: str, number: int) -> None:
    """Send each message in several frames, the last of them empty, with a ping before each but the first."""
    clip, text = recording(dialect, 1.0, number)
    async with wired(url, dialect) as wire:
        pings = 0
        for packet in packets(clip.pcm, 4800):
            message = wire.words.audio(packet)
            first, *more = packets(message if isinstance(message, bytes) else message.encode(), 999)
            await wire.put(frame(first, TEXT if isinstance(message, str) else BINARY, fin=False))
            for part in more:
                await wire.put(frame(b"between", PING) + frame(part, CONTINUATION, fin=False))
            await wire.put(frame(b"", CONTINUATION))
            pings += len(more)
        assert await wire.finish() == text
        assert wire.pongs == pings


async def announces_a_giant(url: str, dialect: str, number: int) -> None:
    """Claim more than the limit: the server must not wait for it."""
    size = LIMIT_BYTES + 1 if number % 2 else 1 << 62
    async with wired(url, dialect) as wire:
        await wire.put(frame(b"\0" * 1000, length=size))
        assert await wire.ending() == TOO_BIG


async def assembles_a_giant(url: str, dialect: str, number: int) -> None:
    """Stay below the limit in every frame and above it in the message."""
    part = b"\0" * (LIMIT_BYTES // 2)
    async with wired(url, dialect) as wire:
        await wire.put(frame(part, fin=False) + frame(part, CONTINUATION, fin=False))
        await wire.put(frame(b"\0\0", CONTINUATION))
        assert await wire.ending() == TOO_BIG
    del number


FOREIGN: dict[str, tuple[str | bytes, ...]] = {
    "deepgram": ("Done", '{"type":"input_audio_buffer.append","audio":"AAAA"}', "{", "\x00"),
    "sherpa": ('{"type":"CloseStream"}', '{"type":"input_audio_buffer.commit"}', "done", "\x00"),
    "openai-realtime": (b"\0\0\0\0", "Done", '{"type":"CloseStream"}', "{"),
}


async def speaks_another_dialect(url: str, dialect: str, number: int) -> None:
    clip, text = recording(dialect, 1.0, number)
    async with wired(url, dialect) as wire:
        for wrong, packet in zip(FOREIGN[dialect], packets(clip.pcm, len(clip.pcm) // 4), strict=True):
            await wire.say(wrong, wire.words.audio(packet))
        while len(of_kind(wire, "")) < len(FOREIGN[dialect]):
            try:
                await wire.signals()
            except ServerError:
                continue  # the client library takes an error for the end; the stream must go on
        assert await wire.finish() == text


@pytest.mark.parametrize(
    "fault",
    [sends_little_at_a_time, dribbles, fragments, announces_a_giant, speaks_another_dialect],
    ids=lambda fault: fault.__name__,
)
def test_what_many_clients_send_leaves_the_others_their_text_and_gives_every_place_back(
    process: Process, fault: Fault
) -> None:
    asyncio.run(beside(process.url, fault))


def test_giants_in_parts_are_ended_in_bounded_memory(process: Process) -> None:
    before = memory_bytes(process)
    asyncio.run(beside(process.url, assembles_a_giant, faulty=len(DIALECTS)))
    assert memory_bytes(process) - before < MOST_GROWTH_BYTES


def test_messages_just_below_the_limit_are_served_to_the_last_sample(process: Process) -> None:
    pcm = noise((LIMIT_BYTES - 4096) / 2 / SAMPLE_RATE)
    texts = [text_of(pcm[start : start + CAP_SAMPLES]) for start in range(0, len(pcm), CAP_SAMPLES)]

    async def sends_a_giant(url: str, _: str, number: int) -> None:
        del number
        async with wired(url, "deepgram") as wire:
            await wire.say(pcm.tobytes())
            assert await wire.finish() == " ".join(texts)

    asyncio.run(beside(process.url, sends_a_giant, faulty=1))


GARBAGE: dict[str, tuple[bytes, int]] = {
    "unmasked": (frame(b"\0\0\0\0", masked=False), WRONG_FRAME),
    "reserved bit": (frame(b"\0\0\0\0", reserved=4), WRONG_FRAME),
    "unknown opcode": (frame(b"\0\0\0\0", 3), WRONG_FRAME),
    "unknown control opcode": (frame(b"", 11), WRONG_FRAME),
    "control frame in fragments": (frame(b"", PING, fin=False), WRONG_FRAME),
    "long control frame": (frame(b"\0" * 126, PING), WRONG_FRAME),
    "continuation of nothing": (frame(b"\0\0", CONTINUATION), WRONG_FRAME),
    "message amid another": (frame(b"\0\0", fin=False) + frame(b"\0\0"), WRONG_FRAME),
    "text that is not UTF-8": (frame(b"\xff\xfe", TEXT), WRONG_TEXT),
    "text that is not UTF-8 in fragments": (
        frame(b"\xe2\x82", TEXT, fin=False) + frame(b"\x28", CONTINUATION),
        WRONG_TEXT,
    ),
    "close of one byte": (frame(b"\x03", CLOSE), WRONG_FRAME),
    "close with a code that nobody may send": (frame((1005).to_bytes(2, "big"), CLOSE), WRONG_FRAME),
    "close with a reason that is not UTF-8": (frame(b"\x03\xe8\xff", CLOSE), WRONG_TEXT),
}


def test_frames_that_break_the_protocol_are_each_ended_with_their_code(process: Process) -> None:
    codes: dict[str, set[int]] = defaultdict(set)

    async def sends_garbage(url: str, dialect: str, number: int) -> None:
        name = list(GARBAGE)[number // len(DIALECTS)]
        clip, _ = recording(dialect, 0.5, number)
        async with wired(url, dialect) as wire:
            await wire.play(clip, seconds=0.3)
            await wire.put(GARBAGE[name][0])
            codes[name].add(await wire.ending())

    asyncio.run(beside(process.url, sends_garbage, faulty=len(DIALECTS) * len(GARBAGE)))
    assert codes == {name: {code} for name, (_, code) in GARBAGE.items()}


def test_noise_instead_of_frames_ends_the_connection(process: Process) -> None:
    async def sends_noise(url: str, dialect: str, number: int) -> None:
        async with wired(url, dialect) as wire:
            with suppress(EOFError, ConnectionError):
                await wire.put(np.random.default_rng(number).bytes(100_000))
                await wire.ending()

    asyncio.run(beside(process.url, sends_noise))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "headers",
    [{"Sec_WebSocket_Version": "12"}, {"Sec_WebSocket_Key": ""}, {"Sec_WebSocket_Key": "short"}, {"Upgrade": "h2c"}],
    ids=str,
)
def test_a_request_that_is_no_proper_upgrade_is_refused_by_http(
    process: Process, dialect: str, headers: dict[str, str]
) -> None:
    async def ask() -> bytes:
        host, port = process.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        query = "encoding=linear16&sample_rate=16000" if dialect == "deepgram" else "intent=transcription"
        writer.write(handshake(f"{PATHS[dialect]}?{query}", **headers))
        status = await asyncio.wait_for(reader.readline(), 60)
        writer.close()
        return status

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 4")
