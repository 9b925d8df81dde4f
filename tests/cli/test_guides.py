"""The guides are followed: every command in their `sh` blocks runs as it stands there, one after the other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auricle.bench.index import RunIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = ("planning.md", "comparing.md")


def commands(guide: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / guide).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("guide", GUIDES)
def test_a_newcomer_can_follow_the_guide_from_start_to_end(
    guide: str, auricle: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    for name, *arguments in commands(guide):
        assert name == "auricle"
        latest = RunIndex(Path("runs"), told.append).list()[0].id if "LATEST" in arguments else ""
        answer = auricle(*(latest if part == "LATEST" else part for part in arguments))
        assert answer.status == 0, f"{arguments}: {answer.err}"
        assert answer.out, arguments


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_and_option_that_a_guide_names_exists(guide: str, auricle: Callable[..., Answer]) -> None:
    text = (DOCS / guide).read_text(encoding="utf-8")
    known: dict[str, str] = {}
    for verb, sub, rest in re.findall(r"auricle ([a-z]+)(?: ([a-z]+))?([^`\n]*)", text):
        path = (verb, sub) if verb in {"bench", "log", "runs"} and sub else (verb,)
        key = " ".join(path)
        known[key] = known.get(key) or auricle(*path, "--help").out
        for option in re.findall(r"--[a-z-]+", rest.partition('"')[0]):
            assert option in known[key], f"{key} {option}"
