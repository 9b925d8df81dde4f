"""What a supervisor and its children tell each other, in a module that has one name on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.serve.settings import Settings

METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Task:
    """What a child is to do; `folder` is the server's private one, `listener` the reserved socket's file number.

    `number` tells front-ends apart, and engines; the process that replaces one has the same.
    """

    kind: Literal["engine", "front-end"]
    number: int
    settings: Settings
    folder: Path
    listener: int

    @property
    def sockets(self) -> list[Path]:
        """Where the engine of each number listens."""
        return [self.folder / f"engine-{number}.sock" for number in range(self.settings.replicas)]


@dataclass(frozen=True, slots=True)
class Ready:
    """What a child tells once it works: a line for people, and bytes of memory that it alone has, and that are left."""

    line: str = ""
    memory: int = 0
    memory_left: int = 0
