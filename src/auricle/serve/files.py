"""Files on their way to text: a bounded number at once, recognised in threads, dropped when their client goes."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from auricle.audio import blocks
from auricle.engines.longform import Longform, Source
from auricle.errors import AuricleError, CancelledError
from auricle.serve.errors import RETRY_AFTER_S, RequestError
from auricle.serve.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import Recognizer, TranscribeOptions
    from auricle.serve.metrics import Metrics
    from auricle.serve.settings import Settings
    from auricle.transcript import Transcript

MAX_NAME_CHARACTERS = 100


class FileJobs:
    """All files that are uploaded, wait or are recognised. Its methods but `_recognise` belong to the event loop."""

    def __init__(self, recognizer: Recognizer, settings: Settings, metrics: Metrics) -> None:
        self._recognizer = recognizer
        self._settings = settings
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(settings.files_at_once, thread_name_prefix="auricle-file")
        self._cancels: set[threading.Event] = set()
        self._draining = False
        self._tally = Tally()

    @property
    def open(self) -> int:
        """How many files are uploaded, wait or are recognised, in all processes of the server."""
        return self._metrics.files_open()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one place from before the upload to the end; raises RequestError at once when none is free."""
        if self._draining:
            raise self._shutting_down()
        with self._tally.one(), self._metrics.files.track_inprogress():
            if (others := self.open - 1) >= self._settings.max_files:
                limit = f"limit {self._settings.max_files}, observed {others}"
                raise self._refused("files", "too_many_files", "too many files at once", limit)
            yield

    async def recognise(
        self,
        file: BinaryIO,
        name: str,
        options: TranscribeOptions,
        client_gone: Callable[[], Coroutine[None, None, None]],
    ) -> Transcript:
        """Recognise one upload, called `name` in errors; it is given up when `client_gone` returns or at a shutdown.

        Raises CancelledError when the client is gone, RequestError and what decoding and recognition raise otherwise.
        """
        if self._draining:
            raise self._shutting_down()
        cancel = threading.Event()
        job = self._pool.submit(self._recognise, file, name, options, cancel, time.perf_counter())
        gone = asyncio.ensure_future(client_gone())
        gone.add_done_callback(lambda _: cancel.set())
        gone.add_done_callback(lambda _: job.cancel())
        self._cancels.add(cancel)
        try:
            work = asyncio.wrap_future(job)
            await asyncio.wait({work})
            return _result(work)
        except CancelledError:
            if gone.done():
                raise
            raise self._shutting_down() from None
        finally:
            self._cancels.discard(cancel)
            gone.cancel()

    async def drain(self, timeout_s: float) -> bool:
        """Let no file in and wait for those that are in; those that are left are cancelled. True when none was."""
        self._draining = True
        finished = await self._tally.wait_empty(timeout_s)
        for cancel in self._cancels:
            cancel.set()
        return finished

    async def stop(self) -> None:
        """Cancel what is left and end the threads."""
        self._draining = True
        for cancel in self._cancels:
            cancel.set()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _recognise(
        self, file: BinaryIO, name: str, options: TranscribeOptions, cancel: threading.Event, submitted_s: float
    ) -> Transcript:
        start_s = time.perf_counter()
        self._metrics.stages.labels("file wait").observe(start_s - submitted_s)
        longform = Longform(
            self._recognizer,
            options,
            batch_size=self._settings.batch_size,
            skip_silence=self._settings.skip_silence,
            piece_s=self._settings.piece_s,
            cancel=cancel,
        )
        (outcome,) = longform.run([Source(name, lambda: self._blocks(_named(file, name), cancel))])
        self._metrics.stages.labels("file").observe(time.perf_counter() - start_s)
        if isinstance(outcome.result, AuricleError):
            raise outcome.result
        self._metrics.audio_out.labels("file").inc(outcome.result.duration_s)
        return outcome.result

    def _blocks(self, file: BinaryIO, cancel: threading.Event) -> Iterator[NDArray[np.float32]]:
        """Decode, counting: a small file can hold weeks of silence."""
        rate, limit_s, total = self._recognizer.info.sample_rate, self._settings.max_audio_s, 0
        for block in blocks(file, rate):
            if cancel.is_set():
                raise CancelledError("the work was cancelled")
            total += len(block)
            self._metrics.audio_in.labels("file").inc(len(block) / rate)
            if total > limit_s * rate:
                remedy = "cut it, or ask for a higher limit"
                raise RequestError(
                    413, "audio_too_long", f"audio is longer than {limit_s:g} s", None, remedy, param="file"
                )
            yield block

    def _shutting_down(self) -> RequestError:
        return self._refused("draining", "shutting_down", "the server is shutting down", None)

    def _refused(self, reason: str, code: str, what: str, value: object) -> RequestError:
        self._metrics.refused(reason)
        remedy = f"try again in {RETRY_AFTER_S} s"
        return RequestError(503, code, what, value, remedy, retry_after_s=RETRY_AFTER_S)


def _result(work: asyncio.Future[Transcript]) -> Transcript:
    if work.cancelled():
        raise CancelledError("the work was cancelled before it began")
    return work.result()


def upload_name(filename: str | None) -> str:
    """Return the last part of a name that a client sent, without what does not print."""
    last = (filename or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:MAX_NAME_CHARACTERS] or "upload"


class _Upload(io.RawIOBase):
    """An upload under its client's name, so that errors never tell where it was spooled."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io always passes a memoryview
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _named(file: BinaryIO, name: str) -> BinaryIO:
    return io.BufferedReader(_Upload(file, name))
