"""How many streams one load process of this machine can play on time, measured against the null server and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auricle.audio import Audio
from auricle.bench import environment
from auricle.bench.live.facts import CLIENT_CPU, LATE_P99_MS, lateness_ms
from auricle.bench.live.load import Load, LoadProcesses
from auricle.bench.live.null_server import check_dialect
from auricle.client.clips import make_clip
from auricle.client.dialects.base import Target
from auricle.errors import RecordError
from auricle.files import write_text
from auricle.score.timing import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = "client-limits.json"
CLIP_S = 3.0
RATE = 16_000
START = 50
MOST = 6400
FINENESS = 0.1
FINISH_S = 10.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """So many streams in one load process: how late chunks were sent (99th percentile) and what CPU it took."""

    streams: int
    late_p99_ms: float | None
    cpu: float
    failed: int

    @property
    def held(self) -> bool:
        """Whether the process was on time."""
        late = self.late_p99_ms is None or self.late_p99_ms > LATE_P99_MS
        return not (late or self.failed or self.cpu > CLIENT_CPU)


@dataclass(frozen=True, slots=True)
class Limit:
    """The most streams that one process was seen to play on time."""

    streams: int
    dialect: str
    chunk_ms: int
    measured: str
    attempts: tuple[Attempt, ...]


def measure(dialect: str, chunk_ms: int, seconds: float, tell: Callable[[Attempt], None], most: int = MOST) -> Limit:
    """Double the streams until one process is late, then bisect; keep the answer for this machine."""
    check_dialect(dialect)
    attempts: list[Attempt] = []
    with null_server(dialect) as url:
        target = Target(url=url, dialect=dialect, finish_s=FINISH_S)
        noise = np.random.default_rng(0).normal(0.0, 0.05, round(CLIP_S * RATE)).astype(np.float32)
        with LoadProcesses([make_clip(Audio(noise, RATE, "noise"), target)]) as processes:
            low, high, streams = 0, most + 1, START
            while streams <= most and high - low > max(1, FINENESS * low):
                attempts.append(_attempt(processes, target, streams, chunk_ms, seconds))
                tell(attempts[-1])
                low, high = (streams, high) if attempts[-1].held else (low, streams)
                streams = 2 * streams if high > most else (low + high) // 2
    limit = Limit(low, dialect, chunk_ms, f"{datetime.now(UTC):%Y-%m-%d}", tuple(attempts))
    _keep(limit)
    return limit


def known(dialect: str, chunk_ms: int) -> int | None:
    """Return the limit that was measured on this machine, None when none was."""
    found = _read().get(_key(dialect, chunk_ms))
    return None if found is None else int(found["streams"])


@contextmanager
def null_server(dialect: str) -> Iterator[str]:
    """Run the null server in a process of its own and give its address."""
    command = [sys.executable, "-m", "auricle.bench.live.null_server", dialect]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise RecordError("the null server has no pipes", dialect)
        try:
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.stdin.close()
            process.wait()


def _attempt(processes: LoadProcesses, target: Target, streams: int, chunk_ms: int, seconds: float) -> Attempt:
    load = Load(
        target=target,
        live=streams,
        per_s=None,
        seconds=seconds,
        stop_after_s=seconds + CLIP_S + FINISH_S + target.connect_s,
        chunk_ms=chunk_ms,
        speed=1.0,
        seed=0,
    )
    (result,) = processes.play([load.share(0, 1)])
    late_ms = [value for record in result.records for value in lateness_ms(record.due_s, record.sent_s, record.held)]
    failed = sum(record.outcome not in {"complete", "cancelled"} for record in result.records)
    return Attempt(streams, percentile(late_ms, 0.99) if late_ms else None, result.certificate.cpu, failed)


def _file() -> Path:
    import platformdirs

    data = os.environ.get("AURICLE_DATA") or platformdirs.user_data_dir("auricle", appauthor=False)
    return Path(data) / FILE


def _key(dialect: str, chunk_ms: int) -> str:
    return f"{environment.summary(environment.capture())}; {dialect}; {chunk_ms} ms"


def _read() -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads(_file().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RecordError("the limits of the client cannot be read", _file(), "remove the file") from error


def _keep(limit: Limit) -> None:
    everything = _read() | {_key(limit.dialect, limit.chunk_ms): asdict(limit)}
    write_text(_file(), json.dumps(everything, indent=1) + "\n")
