"""Clients that die, fall silent, do not read, or come back: many at once, beside healthy ones that notice nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.serve.faults import (
    FAULTY,
    HEALTHY,
    UNBOUNDED,
    WORKERS,
    beside,
    faultless,
    memory_bytes,
    of_kind,
    packets,
    play_healthy,
    recording,
    until_live,
    wired,
)
from tests.serve.test_app_process import POSIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serve.faults import Fault
    from tests.serve.test_app_process import Process

pytestmark = POSIX
IDLE_S = 3.5
FLOOD_BYTES = 64_000_000
STUCK_S = 1.0
MOST_GROWTH_BYTES = 100_000_000


@pytest.fixture(scope="module", params=WORKERS)
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    with faultless(*UNBOUNDED, "--workers", request.param, "--set", "drain_s=2") as one:
        yield one


async def killed(url: str, dialect: str, number: int) -> None:
    clip, _ = recording(dialect, 2.0, number)
    async with wired(url, dialect) as wire:
        await wire.play(clip, seconds=0.1 * (1 + number))
        wire.reset()


async def gone_without_goodbye(url: str, dialect: str, number: int) -> None:
    clip, _ = recording(dialect, 2.0, number)
    async with wired(url, dialect) as wire:
        await wire.play(clip, seconds=0.1 * (1 + number))


async def silent_in_one_direction(url: str, dialect: str, number: int) -> None:
    """Shut the sending half alone: the server must not wait for more."""
    clip, _ = recording(dialect, 2.0, number)
    async with wired(url, dialect) as wire:
        await wire.play(clip, seconds=0.1 * (1 + number))
        wire.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            await wire.ending()


async def cut_in_a_frame(url: str, dialect: str, number: int) -> None:
    clip, _ = recording(dialect, 2.0, number)
    async with wired(url, dialect) as wire:
        await wire.play(clip, seconds=0.5)
        await wire.put(b"\x82\xfe\x0c\x80\x01"[: 1 + number % 5])
        wire.reset()


async def never_reads(url: str, dialect: str, number: int) -> None:
    clip, _ = recording(dialect, 30.0, number)
    options = {} if dialect == "openai-realtime" else {"every_partial": "true"}
    async with wired(url, dialect, receive_bytes=2048, **options) as wire:
        await wire.play(clip, seconds=30.0)
        await asyncio.sleep(0.5)
        wire.reset()


async def reads_byte_by_byte(url: str, dialect: str, number: int) -> None:
    clip, text = recording(dialect, 2.0, number)
    async with wired(url, dialect, receive_bytes=2048) as wire:
        wire.at_once = 1
        await wire.play(clip, seconds=2.0, pace=4.0)
        assert await wire.finish() == text


@pytest.mark.parametrize(
    "fault",
    [killed, gone_without_goodbye, silent_in_one_direction, cut_in_a_frame, never_reads, reads_byte_by_byte],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_of_many_clients_leaves_the_others_their_text_and_gives_every_place_back(
    process: Process, fault: Fault
) -> None:
    asyncio.run(beside(process.url, fault))


def test_clients_that_flood_and_never_read_are_held_back_in_bounded_memory(process: Process) -> None:
    """Every message asks for an error in return, which nobody takes: the server must stop reading."""
    flooded: list[int] = []

    async def floods(url: str, dialect: str, number: int) -> None:
        del number
        nonsense = json.dumps({"type": "nonsense", "event_id": "x" * 2000})
        async with wired(url, dialect, receive_bytes=2048) as wire:
            sent = 0
            try:
                while sent < FLOOD_BYTES:
                    await asyncio.wait_for(wire.say(*[nonsense] * 20), STUCK_S)
                    sent += 20 * len(nonsense)
            except TimeoutError:
                flooded.append(sent)
            wire.reset()

    asyncio.run(play_healthy(process.url))
    before = memory_bytes(process)
    asyncio.run(beside(process.url, floods))
    assert len(flooded) == FAULTY, "the server went on reading from a client that takes no answers"
    assert memory_bytes(process) - before < MOST_GROWTH_BYTES


IDLE_CODES = {"deepgram": 1011, "sherpa": 1008, "openai-realtime": 1008}


async def falls_silent(url: str, dialect: str, number: int) -> None:
    clip, text = recording(dialect, 1.0, number)
    async with wired(url, dialect) as wire:
        assert str(IDLE_S) in (wire.messages[0] if dialect == "openai-realtime" else wire.head)
        await wire.play(clip, seconds=1.0)
        assert await wire.ending() == IDLE_CODES[dialect]
        assert of_kind(wire, f"no audio came: {IDLE_S:g} s")
        assert text.split()[0] in "".join(wire.messages), "what was heard so far was told"


async def falls_silent_and_answers_nothing(url: str, dialect: str, number: int) -> None:
    """Stay as a machine that was switched off does; its end is nobody's to see."""
    clip, _ = recording(dialect, 1.0, number)
    async with wired(url, dialect) as wire:
        await wire.play(clip, seconds=1.0)
        await until_live(url, lambda live: live <= HEALTHY)


@pytest.mark.parametrize("fault", [falls_silent, falls_silent_and_answers_nothing], ids=lambda fault: fault.__name__)
def test_clients_that_fall_silent_were_told_the_limit_and_are_ended_by_it(fault: Fault) -> None:
    with faultless(*UNBOUNDED, "--set", f"idle_s={IDLE_S}") as process:
        asyncio.run(beside(process.url, fault))


@pytest.mark.parametrize("dialect", ["deepgram", "sherpa"])
def test_clients_that_were_cut_off_come_back_and_nothing_is_lost_or_repeated(process: Process, dialect: str) -> None:
    """With several front-ends a client comes back to any of them."""

    async def comes_back(url: str, _: str, number: int) -> None:
        clip, text = recording(dialect, 3.0, number)
        async with wired(url, dialect, resumable="true") as wire:
            token = (await wire.session())["token"]
            await wire.play(clip, seconds=0.3 + 0.2 * number)
            wire.reset()
        async with wired(url, dialect, resumable="true", resume=token, finals="0") as wire:
            received = (await wire.session())["received"]
            rest = clip.pcm[received * len(clip.pcm) // clip.samples :]
            await wire.say(*(wire.words.audio(packet) for packet in packets(rest, 6400)))
            assert await wire.finish() == text

    asyncio.run(beside(process.url, comes_back))
