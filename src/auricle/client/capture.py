"""Where live audio comes from: a recording paced by its schedule, headerless PCM as it arrives, or a microphone.

Each source yields mono float32 samples at the rate asked for, shape `(samples,)`, and when the last was captured.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.audio import PcmDecoder
from auricle.client.pacing import CLOCK, sleep_until
from auricle.errors import AudioError, AuricleError, NotInstalledError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from numpy.typing import NDArray

    from auricle.audio import Audio, PcmFormat
    from auricle.client.pacing import Schedule

    Block = tuple[NDArray[np.float32], float]

READ_BYTES = 1 << 14
MOST_WAITING_BLOCKS = 600
MS_PER_S = 1000


async def paced(audio: Audio, schedule: Schedule) -> AsyncGenerator[Block, None]:
    """Yield the chunks of a recording when they are due; it begins now."""
    start_s = CLOCK()
    for index in range(len(schedule)):
        offset_s = schedule.due_s(index)
        if offset_s is not None:
            await sleep_until(start_s + offset_s, CLOCK)
        first, end = schedule.span(index)
        yield audio.samples[first:end], CLOCK() if offset_s is None else start_s + offset_s


async def arriving(descriptor: int, pcm: PcmFormat, rate: int) -> AsyncGenerator[Block, None]:
    """Yield PCM from a pipe, by its file descriptor, as it comes; a reader that is slow makes the writer wait."""
    decoder = PcmDecoder(pcm, rate)
    queue: asyncio.Queue[tuple[bytes, float] | OSError] = asyncio.Queue(MOST_WAITING_BLOCKS)
    loop = asyncio.get_running_loop()

    def read() -> None:
        while True:
            try:
                item: tuple[bytes, float] | OSError = (os.read(descriptor, READ_BYTES), CLOCK())
            except OSError as error:
                item = error
            try:
                asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()
            except RuntimeError:
                return  # the loop has ended while this thread waited for input
            if isinstance(item, OSError) or not item[0]:
                return

    # A daemon, because nothing but the writer can end a read; and no buffer, whose lock it would hold at the exit.
    threading.Thread(target=read, name="auricle-input", daemon=True).start()
    while True:
        item = await queue.get()
        if isinstance(item, OSError):
            raise AudioError("standard input cannot be read", item)
        data, at_s = item
        if not data:
            yield decoder.finish(), at_s
            return
        yield decoder.feed(data), at_s


async def microphone(rate: int, block_ms: int) -> AsyncGenerator[Block, None]:
    """Yield what the default microphone hears, until the iterator is closed.

    Raises NotInstalledError where sounddevice or PortAudio is missing, AudioError where there is no microphone or it is
    not listened to for too long.
    """
    device = _sounddevice()
    queue: asyncio.Queue[Block] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def hear(data: Any, _frames: int, _times: Any, _status: Any) -> None:
        block = np.frombuffer(bytes(data), np.float32), CLOCK()
        loop.call_soon_threadsafe(queue.put_nowait, block)

    try:
        stream = device.RawInputStream(
            samplerate=rate, blocksize=rate * block_ms // MS_PER_S, channels=1, dtype="float32", callback=hear
        )
    except (device.PortAudioError, ValueError) as error:
        raise _no_microphone(error) from error
    with stream:
        while True:
            if queue.qsize() > MOST_WAITING_BLOCKS:
                raise AudioError("what the microphone hears is not taken in time", None, "use a faster engine")
            yield await queue.get()


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ModuleNotFoundError as error:
        raise NotInstalledError("a microphone needs sounddevice", None, "pip install sounddevice") from error
    except OSError as error:
        remedy = "install it (Debian: libportaudio2), or name a file or - instead"
        raise NotInstalledError("a microphone needs the PortAudio library", None, remedy) from error


def _no_microphone(error: Exception) -> AuricleError:
    return AudioError("there is no microphone", error, "connect one, or name a file or - instead")
