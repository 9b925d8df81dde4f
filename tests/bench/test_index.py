import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auricle.bench.index import INDEX_FILE, RunIndex
from auricle.bench.records import Run, RunFolder, read_run
from auricle.errors import RecordError, UsageError

RESULT = {
    "environment": {
        "auricle": {"version": "0.1.0", "commit": "abc123"},
        "cpu": {"model": "Fast CPU", "quota_cores": None, "usable_cores": 4, "logical_cores": 8},
        "memory": {"total_bytes": 16 << 30, "limit_bytes": None},
        "gpu": {"devices": [{"name": "Big GPU"}]},
    },
    "corpus": {"name": "demo", "hash": "c0ffee"},
    "normaliser": {"name": "english", "hash": "beef"},
    "arms": [{"name": "null"}, {"name": "pocketsphinx"}],
    "headline": {"wer": 0.05, "note": "नमस्ते \udc80"},
}


def recorded(root: Path, kind: str = "offline", **fields: object) -> Run:
    with RunFolder.create(root, kind) as folder:
        folder.finish(RESULT | fields)
    return read_run(folder.path)


def add_runs(root: Path, count: int) -> "subprocess.Popen[str]":
    """Start a process that waits for a line, then records runs and adds each to the index, printing their names."""
    code = (
        "import sys; from pathlib import Path\n"
        "from auricle.bench.index import RunIndex; from auricle.bench.records import RunFolder, read_run\n"
        "root = Path(sys.argv[1]); index = RunIndex(root, print); sys.stdin.readline()\n"
        f"for _ in range({count}):\n"
        "    with RunFolder.create(root, 'offline') as folder: folder.finish({})\n"
        "    index.add(read_run(folder.path)); print(folder.path.name)"
    )
    command = [sys.executable, "-c", code, str(root)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ids_in_the_table(root: Path) -> set[str]:
    with closing(sqlite3.connect(root / INDEX_FILE)) as table:
        return {name for (name,) in table.execute("SELECT id FROM runs")}


class Told(list[str]):
    """What an index of runs told, and the index."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.runs = RunIndex(root, self.append)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_row_holds_what_a_listing_shows(tmp_path: Path, told: Told) -> None:
    run = recorded(tmp_path)
    told.runs.add(run)
    (row,) = told.runs.list()
    assert (row.id, row.kind, row.status, row.started) == (run.id, "offline", "finished", run.info["started"])
    assert (row.version, row.git_commit, row.machine) == ("0.1.0", "abc123", "Fast CPU, 4 cores, 16 GiB, Big GPU")
    assert (row.corpus, row.corpus_hash) == ("demo", "c0ffee")
    assert (row.normaliser, row.normaliser_hash) == ("english", "beef")
    assert row.arms == ("null", "pocketsphinx")
    assert row.headline == RESULT["headline"]
    assert row.duration_s == run.info["duration_s"]
    assert told == []


def test_what_a_run_does_not_tell_is_none(tmp_path: Path, told: Told) -> None:
    with RunFolder.create(tmp_path, "live") as folder:
        told.runs.add(read_run(folder.path))
        (row,) = told.runs.list()
        assert (row.status, row.duration_s, row.machine, row.corpus, row.arms) == ("running", None, None, None, ())
        folder.finish({})


def test_adding_a_run_twice_leaves_one_row(tmp_path: Path, told: Told) -> None:
    run = recorded(tmp_path)
    told.runs.add(run)
    told.runs.add(run)
    assert [row.id for row in told.runs.list()] == [run.id]


def test_the_latest_runs_come_first_and_may_be_narrowed_down(tmp_path: Path, told: Told) -> None:
    runs = [recorded(tmp_path, kind) for kind in ["offline"] * 11 + ["live"]]
    for run in runs:
        told.runs.add(run)
    latest_first = [run.id for run in reversed(runs)]
    assert [row.id for row in told.runs.list()] == latest_first
    assert [row.id for row in told.runs.list(kind="offline", limit=3)] == latest_first[1:4]
    assert told.runs.list(kind="other") == ()


def test_a_run_that_was_never_added_is_listed_all_the_same(tmp_path: Path, told: Told) -> None:
    run = recorded(tmp_path)
    assert [row.id for row in told.runs.list()] == [run.id]


def test_a_run_that_was_running_is_looked_at_again(tmp_path: Path, told: Told) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        assert told.runs.list()[0].status == "running"
        folder.finish(RESULT)
    assert told.runs.list()[0].status == "finished"


def test_a_run_whose_folder_is_gone_vanishes_with_a_word(tmp_path: Path, told: Told) -> None:
    kept, gone = recorded(tmp_path), recorded(tmp_path)
    told.runs.add(kept)
    told.runs.add(gone)
    shutil.rmtree(gone.path)
    assert [row.id for row in told.runs.list()] == [kept.id]
    assert len(told) == 1
    assert gone.id in told[0]
    assert ids_in_the_table(tmp_path) == {kept.id}


def test_a_run_is_found_by_name_or_unique_start(tmp_path: Path, told: Told) -> None:
    offline, live = recorded(tmp_path), recorded(tmp_path, "live")
    started = live.id.removesuffix("-live")
    assert told.runs.get(offline.id).info == offline.info
    assert told.runs.get(f"{started}-l").id == live.id


def test_the_name_of_a_run_wins_over_longer_names_that_start_so(tmp_path: Path, told: Told) -> None:
    runs = [recorded(tmp_path) for _ in range(12)]
    for run in runs:
        assert told.runs.get(run.id).id == run.id


def test_a_start_that_several_runs_share_is_refused_with_their_names(tmp_path: Path, told: Told) -> None:
    runs = [recorded(tmp_path), recorded(tmp_path)]
    with pytest.raises(UsageError, match="2 runs start so: 2") as caught:
        told.runs.get("2")
    assert all(run.id in str(caught.value) for run in runs)


@pytest.mark.parametrize("name", ["nothing", "%", "_", "../other"])
def test_an_unknown_run_is_refused_with_the_latest_names(tmp_path: Path, told: Told, name: str) -> None:
    run = recorded(tmp_path)
    with pytest.raises(UsageError, match=f"no such run.*{run.id}"):
        told.runs.get(name)


def test_without_any_run_the_listing_is_empty_and_makes_no_folder(tmp_path: Path) -> None:
    told = Told(tmp_path / "runs")
    assert told.runs.list() == ()
    assert told.runs.rebuild() == 0
    with pytest.raises(UsageError, match="there are none in"):
        told.runs.get("x")
    assert not (tmp_path / "runs").exists()


def test_a_rebuilt_index_is_what_the_folders_say(tmp_path: Path, told: Told) -> None:
    first, second = recorded(tmp_path), recorded(tmp_path)
    told.runs.add(first)
    told.runs.add(second)
    shutil.rmtree(first.path)
    changed = json.loads((second.path / "run.json").read_text(encoding="utf-8")) | {"headline": {"wer": 0.5}}
    (second.path / "run.json").write_text(json.dumps(changed), encoding="utf-8")
    assert told.runs.rebuild() == 1
    assert [(row.id, row.headline) for row in told.runs.list()] == [(second.id, {"wer": 0.5})]


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_database_is_kept_aside_and_made_anew_with_a_word(tmp_path: Path, told: Told, damage: bytes) -> None:
    first, second = recorded(tmp_path), recorded(tmp_path)
    told.runs.add(first)
    (tmp_path / INDEX_FILE).write_bytes(damage)
    told.runs.add(second)
    assert ids_in_the_table(tmp_path) == {first.id, second.id}
    assert len(told) == 1
    (aside,) = tmp_path.glob(f"{INDEX_FILE}.damaged-*")
    assert aside.name in told[0]
    assert aside.read_bytes() == damage


def test_a_table_damaged_inside_is_made_anew(tmp_path: Path, told: Told) -> None:
    runs = [recorded(tmp_path) for _ in range(20)]
    for run in runs:
        told.runs.add(run)
    database = bytearray((tmp_path / INDEX_FILE).read_bytes())
    database[4096:] = b"\xaa" * (len(database) - 4096)
    (tmp_path / INDEX_FILE).write_bytes(database)
    assert len(told.runs.list()) == 20
    assert "damaged" in told[0]


def test_an_index_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path, told: Told) -> None:
    run = recorded(tmp_path)
    told.runs.add(run)
    with closing(sqlite3.connect(tmp_path / INDEX_FILE)) as table:
        table.execute("PRAGMA user_version = 99")
    with pytest.raises(RecordError, match="newer Auricle"):
        told.runs.list()
    assert ids_in_the_table(tmp_path) == {run.id}


def test_an_index_that_cannot_be_opened_is_one_clear_error(tmp_path: Path, told: Told) -> None:
    run = recorded(tmp_path)
    (tmp_path / INDEX_FILE).mkdir()
    with pytest.raises(RecordError, match="index of runs cannot be used"):
        told.runs.add(run)


@pytest.mark.parametrize(
    "fields",
    [
        {"environment": {"cpu": {}}},
        {"environment": "fast"},
        {"arms": ["unnamed"]},
        {"arms": 3},
        {"corpus": "demo"},
        {"corpus": {"name": ["demo"]}},
        {"headline": [0.1]},
    ],
)
def test_a_malformed_run_is_told_of_and_hides_no_other(tmp_path: Path, told: Told, fields: dict[str, Any]) -> None:
    good, bad = recorded(tmp_path), recorded(tmp_path, **fields)
    assert [row.id for row in told.runs.list()] == [good.id]
    assert len(told) == 1
    assert bad.id in told[0]
    with pytest.raises(RecordError, match="malformed"):
        told.runs.add(bad)


def test_a_run_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    run = recorded(tmp_path / "there")
    with pytest.raises(UsageError, match="lies elsewhere"):
        Told(tmp_path / "here").runs.add(run)
    assert not (tmp_path / "here").exists()


def test_folders_that_are_no_runs_are_passed_over(tmp_path: Path, told: Told) -> None:
    run = recorded(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").write_text("mine", encoding="utf-8")
    assert [row.id for row in told.runs.list()] == [run.id]
    assert told == []


def test_two_processes_that_make_and_write_the_index_at_once_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    processes = [add_runs(root, 50) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=120)[0].split("\n")[:-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [len(names) for names in printed] == [50, 50]
    assert ids_in_the_table(root) == {*printed[0], *printed[1]}
    assert len(ids_in_the_table(root)) == 100


def test_reading_while_another_process_writes_misses_nothing(tmp_path: Path, told: Told) -> None:
    writer = add_runs(tmp_path, 30)
    assert writer.stdin is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    seen: list[int] = []
    while writer.poll() is None:
        seen.append(len(told.runs.list()))
    writer.communicate()
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(told.runs.list()) == 30
    assert told == []
