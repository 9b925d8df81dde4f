"""What the tests of live sessions share: audio, the text the null engine gives for it, and waiting for a condition."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from auricle.audio import Audio
from auricle.engines import null
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.live.endpoint import EndpointRules
from auricle.live.events import Final
from auricle.trace import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from auricle.live.session import Session

NEVER = EndpointRules(None, None, None)
WAIT_S = 60.0
"""Nothing takes so long, however busy the machine is."""


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not reached():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0.01)


async def finals(session: Session) -> list[Final]:
    return [event async for event in session.events() if isinstance(event, Final)]


def load_null() -> null.NullRecognizer:
    return null.ENGINE.load(LoadOptions(), Tracer())


def ones(samples: int) -> NDArray[np.float32]:
    return np.ones(samples, np.float32)


def noise(seconds: float, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * null.SAMPLE_RATE)).astype(np.float32)


def file_text(samples: NDArray[np.float32]) -> str:
    return load_null().transcribe([Audio(samples, null.SAMPLE_RATE)], TranscribeOptions())[0].text
