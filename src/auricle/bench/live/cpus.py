"""A share of the processors for a spawned server, by Linux's control groups of either version, and what came of it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.errors import EngineError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
US_PER_S = 1_000_000
NS_PER_S = 1_000_000_000
STAT, SUBTREE = "cpu.stat", "cgroup.subtree_control"
ATTEMPTS, PAUSE_S = 50, 0.1
REMEDY = (
    "run as root, or within `systemd-run --user --scope -p Delegate=yes`; or limit a container that holds the server"
)


@dataclass(frozen=True, slots=True)
class Throttling:
    """Periods of 100 ms since the group was made, those in which its processes had to wait, and for how long."""

    periods: int
    throttled: int
    throttled_s: float


@dataclass(frozen=True, slots=True)
class Group:
    """A control group with a limit of CPU time."""

    path: Path

    def join_command(self) -> tuple[str, ...]:
        """Return what runs the command that follows it within the group."""
        script = 'echo $$ > "$0" && exec "$@"'
        return ("sh", "-c", script, str(self.path / "cgroup.procs"))

    def throttling(self) -> Throttling:
        """Read what the group's processes went through."""
        told = {name: int(value) for name, value in (line.split() for line in _read(self.path / STAT).splitlines())}
        waited_s = told["throttled_usec"] / US_PER_S if "throttled_usec" in told else told["throttled_time"] / NS_PER_S
        return Throttling(told["nr_periods"], told["nr_throttled"], waited_s)


@contextmanager
def limited(cores: float, groups: Path = GROUPS) -> Iterator[Group]:
    """Make a group whose processes get `cores` seconds of CPU a second, and remove it when they have ended.

    Raises UnsupportedError where there are no control groups for CPU time, or no right to make one.
    """
    if sys.platform != "linux":
        raise _refused(f"there are no control groups on {sys.platform}")
    quota_us = round(cores * PERIOD_US)
    if (groups / "cpu" / "cgroup.procs").exists():
        parent, limits = groups / "cpu", {"cpu.cfs_period_us": f"{PERIOD_US}", "cpu.cfs_quota_us": f"{quota_us}"}
    elif (groups / "cgroup.controllers").exists():
        parent, limits = groups, {"cpu.max": f"{quota_us} {PERIOD_US}"}
        if "cpu" not in _read(parent / SUBTREE).split():
            _write(parent / SUBTREE, "+cpu")
    else:
        raise _refused(f"there are no control groups for CPU time at {groups}")
    path = parent / f"auricle-{os.getpid()}-{cores:g}"
    try:
        path.mkdir()
    except OSError as error:
        raise _refused(f"a group cannot be made in {parent}: {error.strerror}") from error
    try:
        for name, limit in limits.items():
            _write(path / name, limit)
        yield Group(path)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    """Remove a group, waiting a little for the last of its processes to be gone."""
    for _ in range(ATTEMPTS):
        try:
            path.rmdir()
        except OSError:
            time.sleep(PAUSE_S)
        else:
            return
    raise EngineError("processes of the server are left in its control group", path, "end them, and remove the folder")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="ascii")
    except OSError as error:
        raise _refused(f"{path} cannot be written: {error.strerror}") from error


def _refused(found: str) -> UnsupportedError:
    return UnsupportedError("the server's CPU cannot be limited here", found, REMEDY)
