"""The history of runs: a table in SQLite beside their folders, which several processes may read and write at once.

The folders are the truth and the table is a copy of what a listing shows, so it heals itself: each reading first adds
runs that have no row yet, reads those again that were still running, and drops those whose folder is gone. A damaged
database is moved aside and filled anew. Whatever it does beyond answering goes to `tell`, one line each, for stderr.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from auricle.bench import environment
from auricle.bench.records import RUN_FILE, encodable, read_run, strict_json
from auricle.errors import RecordError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from auricle.bench.records import Run

Answer = TypeVar("Answer")
INDEX_FILE = "index.sqlite"
INDEX_VERSION = 1
BUSY_TIMEOUT_S = 30.0
RETRY_PAUSE_S = 0.02
SHOWN_CANDIDATES = 5
TABLE = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, started TEXT NOT NULL, status TEXT NOT NULL, duration_s REAL,
    version TEXT, git_commit TEXT, machine TEXT, corpus TEXT, corpus_hash TEXT, normaliser TEXT, normaliser_hash TEXT,
    arms TEXT NOT NULL, headline TEXT NOT NULL
) STRICT
"""
INSERT = """
INSERT OR REPLACE INTO runs VALUES (
    :id, :kind, :started, :status, :duration_s, :version, :git_commit, :machine, :corpus, :corpus_hash,
    :normaliser, :normaliser_hash, :arms, :headline
)
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What a listing shows of a run, a column each; unknown is None. `arms` and `headline` are JSON in the table."""

    id: str
    kind: str
    started: str
    status: str
    duration_s: float | None
    version: str | None
    git_commit: str | None
    machine: str | None
    corpus: str | None
    corpus_hash: str | None
    normaliser: str | None
    normaliser_hash: str | None
    arms: tuple[str, ...]
    headline: dict[str, Any]


class RunIndex:
    """The runs in the folder `root`; every method raises RecordError when the database cannot be used."""

    def __init__(self, root: Path, tell: Callable[[str], None]) -> None:
        self._root = root
        self._path = root / INDEX_FILE
        self._tell = tell

    def add(self, run: Run) -> None:
        """Put a run's row in, or bring it up to date.

        Raises UsageError for a run that lies elsewhere, RecordError for one whose record is malformed.
        """
        if run.path.parent != self._root.resolve():
            raise UsageError("the run lies elsewhere", run.path, f"its folder belongs into {self._root}")
        row = row_of(run)
        self._do(lambda table: _write(table, put=[row]))

    def list(self, kind: str | None = None, limit: int | None = None) -> tuple[RunRow, ...]:
        """Return the latest `limit` runs of a kind, by default all, the latest first."""
        if not self._root.is_dir():
            return ()
        rows = [row for row in self._do(self._refresh) if kind in (None, row.kind)]
        return tuple(rows[:limit])

    def get(self, name: str) -> Run:
        """Return the run that is called `name`, or the only one whose name starts so.

        Raises UsageError naming the candidates when there is none or several, RecordError when its record is damaged.
        """
        names = [row.id for row in self.list()]
        found = [name] if name in names else [known for known in names if known.startswith(name)]
        if len(found) == 1:
            return read_run(self._root / found[0])
        candidates = ", ".join((found or names)[:SHOWN_CANDIDATES]) or f"there are none in {self._root}"
        raise UsageError(f"{len(found)} runs start so" if found else "no such run", name, f"the latest: {candidates}")

    def rebuild(self) -> int:
        """Read every folder again in place of all rows, and return how many runs there are."""
        if not self._root.is_dir():
            return 0
        rows = self._read(self._folders())
        self._do(lambda table: _write(table, drop=[row.id for row in _rows(table)], put=rows))
        return len(rows)

    def _refresh(self, table: sqlite3.Connection) -> tuple[RunRow, ...]:
        rows = {row.id: row for row in _rows(table)}
        folders = self._folders()
        gone = sorted(rows.keys() - folders)
        unsettled = {name for name in folders if name not in rows or rows[name].status == "running"}
        changed = [row for row in self._read(unsettled) if row != rows.get(row.id)]
        if not gone and not changed:
            return tuple(rows.values())
        _write(table, drop=gone, put=changed)
        for name in gone:
            self._tell(f"the folder of run {name} is gone from {self._root}; it is no longer listed")
        return _rows(table)

    def _folders(self) -> set[str]:
        return {file.parent.name for file in self._root.glob(f"*/{RUN_FILE}")}

    def _read(self, names: Iterable[str]) -> tuple[RunRow, ...]:
        rows = []
        for name in sorted(names):
            try:
                rows.append(row_of(read_run(self._root / name)))
            except RecordError as error:
                self._tell(f"run {name} is not listed: {error}")
        return tuple(rows)

    def _do(self, action: Callable[[sqlite3.Connection], Answer]) -> Answer:
        try:
            try:
                return self._attempt(action)
            except sqlite3.DatabaseError as error:
                if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    raise
                self._set_aside(error)
            self._attempt(self._refresh)
            return self._attempt(action)
        except (sqlite3.Error, OSError) as error:
            raise RecordError("the index of runs cannot be used", self._path, str(error)) from error

    def _attempt(self, action: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Run the action, which may safely run twice, on an open table.

        SQLite's own waiting does not cover the switch to write-ahead logging when several processes make the file.
        """
        give_up_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as table:
                    self._prepare(table)
                    return action(table)
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_s:
                    raise
                time.sleep(RETRY_PAUSE_S)

    def _prepare(self, table: sqlite3.Connection) -> None:
        table.row_factory = sqlite3.Row
        table.execute("PRAGMA journal_mode = WAL")
        if _version(table) == INDEX_VERSION:
            return
        with table:
            table.execute("BEGIN IMMEDIATE")
            version = _version(table)
            if version > INDEX_VERSION:
                raise RecordError("the index of runs was made by a newer Auricle", self._path, "upgrade auricle")
            if version < INDEX_VERSION:
                table.execute("DROP TABLE IF EXISTS runs")
                table.execute(TABLE)
                table.execute(f"PRAGMA user_version = {INDEX_VERSION}")

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = f"{INDEX_FILE}.damaged-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                (self._root / (INDEX_FILE + suffix)).replace(self._root / (aside + suffix))
        self._tell(f"the index of runs was damaged ({error}); it is kept as {aside} and made anew from the folders")


def row_of(run: Run) -> RunRow:
    """Return the row of a run; raises RecordError when its record does not have the shape that `records` describes."""
    from pydantic import TypeAdapter

    info = run.info
    surroundings, corpus, normaliser = (info.get(name) or {} for name in ("environment", "corpus", "normaliser"))
    try:
        auricle = surroundings["auricle"] if surroundings else {}
        columns = {name: info[name] for name in ("kind", "started", "status", "duration_s")} | {
            "id": run.id,
            "version": auricle.get("version"),
            "git_commit": auricle.get("commit"),
            "machine": environment.summary(surroundings) if surroundings else None,
            "corpus": corpus.get("name"),
            "corpus_hash": corpus.get("hash"),
            "normaliser": normaliser.get("name"),
            "normaliser_hash": normaliser.get("hash"),
            "arms": [arm["name"] for arm in info.get("arms") or ()],
            "headline": info.get("headline") or {},
        }
        return TypeAdapter(RunRow).validate_python(columns)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise RecordError("the record of a run is malformed", run.path / RUN_FILE, repr(error)) from error


def _rows(table: sqlite3.Connection) -> tuple[RunRow, ...]:
    rows = (dict(row) for row in table.execute("SELECT * FROM runs ORDER BY started DESC, id DESC"))
    return tuple(
        RunRow(**row | {"arms": tuple(json.loads(row["arms"])), "headline": json.loads(row["headline"])})
        for row in rows
    )


def _write(table: sqlite3.Connection, drop: Iterable[str] = (), put: Iterable[RunRow] = ()) -> None:
    with table:
        table.execute("BEGIN IMMEDIATE")
        table.executemany("DELETE FROM runs WHERE id = ?", [(name,) for name in drop])
        table.executemany(INSERT, [_values(row) for row in put])


def _values(row: RunRow) -> dict[str, object]:
    texts = {name: encodable(value) if isinstance(value, str) else value for name, value in asdict(row).items()}
    return texts | {"arms": strict_json(row.arms), "headline": strict_json(row.headline)}


def _version(table: sqlite3.Connection) -> int:
    return int(table.execute("PRAGMA user_version").fetchone()[0])


def _code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, None for an error of Python's module."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
