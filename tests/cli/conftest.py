"""The command line, run in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from auricle import cli

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Answer:
    """What a command printed and returned."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def caller(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return what runs a command and gives its answer."""

    def call(*arguments: object) -> Answer:
        status = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return call


@pytest.fixture
def auricle(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    return caller(capsys)
