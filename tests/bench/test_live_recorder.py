"""A run remembers what a probe is judged by, so that its events need not be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.bench.live.record import Recorder
from auricle.bench.records import read_run

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_remembered_of_a_level_is_what_was_written(tmp_path: Path) -> None:
    with Recorder.create(tmp_path, "live") as folder:
        folder.event("arm", arm="x")
        for level in range(3):
            folder.event("stream", at_s=None, level=level, due_s=[0.1, 0.2], text=None)
        folder.event("sample", cpu_s=1.0)
        folder.forget({0})
        folder.event("level", level=3)
        written = [event for event in read_run(folder.path).events() if event.get("level") in {None, 0, 3}]
        assert folder.by_level.keys() == {None, 0, 3}
        remembered = [event for events in folder.by_level.values() for event in events]
        assert remembered == [event for event in written if event["event"] != "sample"]
        folder.finish({})
