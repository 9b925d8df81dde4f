"""What ended calls held is freed at once: garbage is collected so seldom here that it would pile up."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

from auricle.live.session import Session
from auricle.serve.channel import CLOSE_S, Channel
from auricle.serve.conversation import Conversation
from auricle.serve.upgrade import Opening, Upgrade
from tests.serve.faults import DIALECTS, recording, wired

if TYPE_CHECKING:
    from tests.serve.conftest import Start

OF_A_CALL = (Session, Channel, Conversation, Opening, Upgrade)
WAIT_S = CLOSE_S + 20


async def speak(url: str) -> None:
    for dialect in DIALECTS:
        clip, text = recording(dialect, 1.0, 0)
        async with wired(url, dialect) as wire:
            await wire.play(clip, seconds=1.0)
            assert await wire.finish() == text


def alive() -> list[object]:
    return [one for one in gc.get_objects() if type(one) in OF_A_CALL]


def test_a_call_leaves_nothing_to_the_garbage_collector(start: Start) -> None:
    server = start()
    gc.collect()
    of_others = len(alive())
    gc.disable()
    try:
        asyncio.run(speak(server.url))
        until_s = time.monotonic() + WAIT_S
        while len(alive()) > of_others and time.monotonic() < until_s:
            time.sleep(0.1)
        assert len(alive()) <= of_others
    finally:
        gc.enable()
