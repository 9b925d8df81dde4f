"""The folder of a run: what was measured, on what, and every raw event, so that each figure can be computed again.

    <root>/20261120-141205-offline/       UTC and the kind of run; -2, -3 ... where two start in one second
        run.json                          written at once, again whenever more is known, and at the end
        events.jsonl                      while it runs; afterwards events.jsonl.gz

`run.json` is one object:

    schema        version of this layout, an integer; a reader refuses a newer one
    id, kind      the folder's name; what was run
    started       date and time, UTC, ISO 8601: the wall clock at t_s = 0 of the events
    finished      likewise; null until the end
    duration_s    seconds by the monotonic clock; null until the end
    status        running (still, or its process was killed), finished, interrupted, failed
    reason        why it was interrupted or failed, else null
    events        how many events there are; null until the end
    ...           what the kind of run adds; these names mean the same in every kind, and the index shows them:
                  environment (see environment.capture), settings, corpus {name, hash}, normaliser {name, hash},
                  arms [{name, ...}], headline {the few figures that sum the run up}

`events.jsonl` has one object per line:

    t_s           seconds since the start of the run by the monotonic clock, negative for what came before it
    event         the kind of event; `start` is the first and holds schema, kind and started
    ...           fields; a name ends in its unit (_s, _ms, _bytes, _percent, _mhz, _w, _c), a count or text has none

Events stand in the order in which they were written, which is not always the order of `t_s`. JSON is strict: NaN and
infinity are refused, an unknown figure is null. Text that is no valid Unicode (file names) is kept as escapes.
"""

from __future__ import annotations

import gzip
import json
import math
import re
import reprlib
import shutil
import threading
import time
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from auricle.errors import CancelledError, RecordError, UsageError
from auricle.files import atomic_path, write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

SCHEMA = 1
RUN_FILE = "run.json"
EVENTS_FILE = "events.jsonl"
PACKED_EVENTS_FILE = "events.jsonl.gz"
OWN_FIELDS = ("schema", "id", "kind", "started", "finished", "duration_s", "status", "reason", "events")

Ending = Literal["finished", "interrupted", "failed"]


class RunFolder:
    """A run being recorded, safe to use from several threads; leaving its context always ends the record.

    An exception is recorded as the reason: KeyboardInterrupt and CancelledError as interrupted, any other as failed.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._count = 0
        # Line-buffered, so that a killed process loses nothing that it had written.
        self._file = (path / EVENTS_FILE).open("x", 1, encoding="utf-8", newline="\n")
        self._start_s = time.perf_counter()
        start = {"schema": SCHEMA, "kind": kind, "started": _now()}
        self._info = dict.fromkeys(OWN_FIELDS) | start | {"id": path.name, "status": "running"}
        self.event("start", at_s=self._start_s, **start)
        self.update({})

    @classmethod
    def create(cls, root: Path, kind: str) -> Self:
        """Make a folder of its own for a run of this kind, also when other processes do so in the same second."""
        if not re.fullmatch(r"[a-z][a-z0-9-]*", kind):
            raise UsageError("a kind of run is named in small letters, digits and hyphens", repr(kind))
        root.mkdir(parents=True, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{kind}"
        path, number = root / name, 1
        while True:
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                path = root / f"{name}-{number}"
            else:
                return cls(path, kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._info["status"] != "running":
            return
        if isinstance(error, KeyboardInterrupt | CancelledError):
            self.finish({}, "interrupted", str(error) or type(error).__name__)
        elif error is not None:
            self.finish({}, "failed", f"{type(error).__name__}: {error}")
        else:
            self.finish({}, "failed", "ended without a result")

    def event(self, event: str, /, *, at_s: float | None = None, **fields: object) -> None:
        """Write one event, of now or of a reading `at_s` of `time.perf_counter()`.

        Raises RecordError for what is not strict JSON, UsageError once the run has ended.
        """
        at_s = time.perf_counter() if at_s is None else at_s
        line = {"t_s": self.since_start_s(at_s), "event": event}
        _refuse_names(fields, line)
        text = strict_json(line | fields)
        with self._lock:
            if self._file.closed:
                raise UsageError("the run has ended and takes no more events", self.path.name)
            self._file.write(f"{text}\n")
            self._count += 1

    def since_start_s(self, at_s: float) -> float:
        """Return a reading of `time.perf_counter()` on the clock of the run, to the microsecond."""
        return round(at_s - self._start_s, 6)

    def update(self, fields: Mapping[str, object]) -> None:
        """Set fields of `run.json` as soon as they are known, so that they are there whatever happens later.

        Raises RecordError for what is not strict JSON, UsageError for the record's own fields or once it has ended.
        """
        _refuse_names(fields, OWN_FIELDS)
        with self._lock:
            if self._info["status"] != "running":
                raise UsageError("the run has ended and cannot be changed", self.path.name)
            self._write({**self._info, **fields})

    def finish(self, fields: Mapping[str, object], status: Ending = "finished", reason: str | None = None) -> None:
        """End the run: set the last fields of `run.json` (as `update` does) and compress the events."""
        self.update(fields)
        with self._lock:
            self._file.close()
            self._pack()
            duration_s = round(time.perf_counter() - self._start_s, 6)
            ending = {"finished": _now(), "duration_s": duration_s, "events": self._count}
            self._write(self._info | ending | {"status": status, "reason": reason})
            (self.path / EVENTS_FILE).unlink()

    def _write(self, info: dict[str, Any]) -> None:
        write_text(self.path / RUN_FILE, strict_json(info, indent=1) + "\n")
        self._info = info

    def _pack(self) -> None:
        with (
            (self.path / EVENTS_FILE).open("rb") as plain,
            atomic_path(self.path / PACKED_EVENTS_FILE) as temporary,
            temporary.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        ):
            shutil.copyfileobj(plain, packed)


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run: `info` is its run.json; `notes` gathers what a reader should be told of its state."""

    path: Path
    info: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.path.name

    def events(self) -> Iterator[dict[str, Any]]:
        """Read the events from the start; a cut-off end is left out and noted.

        Raises RecordError when there is no file of events or it is damaged elsewhere than at its end.
        """
        number = 0
        for line in self._lines():
            try:
                event = json.loads(line)
            except ValueError:
                if not line.endswith(b"\n"):
                    self.notes.append(f"{self.id}: the last event is cut off and left out")
                    break
                event = None
            number += 1
            if not isinstance(event, dict) or "event" not in event:
                raise RecordError("an event is damaged", f"{self.path}, line {number}")
            yield event
        expected = self.info["events"]
        if expected is not None and number != expected:
            self.notes.append(f"{self.id}: {number} events are there, {expected} were written")

    def _lines(self) -> Iterator[bytes]:
        packed = self.path / PACKED_EVENTS_FILE
        try:
            with gzip.open(packed) if packed.exists() else (self.path / EVENTS_FILE).open("rb") as file:
                yield from file
        except EOFError:
            self.notes.append(f"{self.id}: {packed.name} is cut off")
        except (OSError, zlib.error) as error:
            raise RecordError("the events of a run cannot be read", self.path, str(error)) from error


def read_run(path: Path) -> Run:
    """Read the record in a run's folder; raises RecordError where there is none, or a damaged or newer one."""
    try:
        info = json.loads((path / RUN_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(
            "no run can be read there", path, f"give a folder that holds a readable {RUN_FILE}"
        ) from error
    except ValueError as error:
        raise RecordError("the record of a run is damaged", path / RUN_FILE) from error
    schema = info.get("schema") if isinstance(info, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(f"recorded by a newer Auricle, as schema {schema}", path, f"this one reads up to {SCHEMA}")
    if schema is None or not all(name in info for name in OWN_FIELDS):
        raise RecordError("not the record of a run", path / RUN_FILE)
    return Run(path.resolve(), info)


def strict_json(value: object, indent: int | None = None) -> str:
    """Return JSON text that any reader takes; raises RecordError with the place of a NaN, an infinity or an object."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except (TypeError, ValueError) as error:
        raise RecordError(
            "not to be written as strict JSON", _culprit(value, "") or error, "unknown is null"
        ) from error
    return encodable(text)


def encodable(text: str) -> str:
    """Return the text with what UTF-8 cannot hold, such as an undecodable byte of a file name, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _culprit(value: object, place: str) -> str | None:
    parts: Iterator[tuple[str, object]]
    if isinstance(value, dict):
        parts = ((f"{place}.{key}" if place else str(key), part) for key, part in value.items())
    elif isinstance(value, list | tuple):
        parts = ((f"{place}[{index}]", part) for index, part in enumerate(value))
    elif value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return None
    else:
        return f"{place} = {reprlib.repr(value)}"
    return next((found for name, part in parts if (found := _culprit(part, name))), None)


def _refuse_names(fields: Mapping[str, object], reserved: Collection[str]) -> None:
    if taken := sorted(fields.keys() & set(reserved)):
        raise UsageError("names of fields that the record itself sets", ", ".join(taken))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
