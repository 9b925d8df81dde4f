import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.bench.export import export
from auricle.bench.records import SCHEMA, RunFolder, read_run, strict_json
from auricle.errors import CancelledError, RecordError, UsageError


def recorded(root: Path, *texts: str) -> Path:
    """Record a finished run with an utterance for each text."""
    with RunFolder.create(root, "offline") as folder:
        for number, text in enumerate(texts):
            folder.event("utterance", arm="a", utterance=f"u{number}", audio_s=1.5, text=text)
        folder.finish({"headline": {"wer": 0.25}})
    return folder.path


def run_json(folder: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return info


def exported(folder: Path, form: str) -> str:
    out = io.StringIO()
    export(read_run(folder), form, out)
    return out.getvalue()


def test_a_finished_run_reads_back_as_it_was_recorded(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "one", "नमस्ते")
    run = read_run(folder)
    start, *events = run.events()
    assert (start["t_s"], start["event"], start["schema"], start["kind"]) == (0.0, "start", SCHEMA, "offline")
    assert start["started"] == run.info["started"]
    assert [event["text"] for event in events] == ["one", "नमस्ते"]
    assert [event["event"] for event in events] == ["utterance"] * 2
    assert 0 < events[0]["t_s"] <= events[1]["t_s"] <= run.info["duration_s"]
    assert run.info["headline"] == {"wer": 0.25}
    assert (run.info["status"], run.info["reason"], run.info["events"]) == ("finished", None, 3)
    assert run.notes == []


def test_a_folder_is_named_by_time_and_kind_and_counted_on(tmp_path: Path) -> None:
    names = [recorded(tmp_path).name for _ in range(12)]
    assert all(re.fullmatch(r"\d{8}-\d{6}-offline(-\d+)?", name) for name in names)
    assert len(set(names)) == 12
    assert any(name.endswith("-offline-2") for name in names)


def test_processes_that_start_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from auricle.bench.records import RunFolder\n"
        "sys.stdin.readline()\n"
        "for _ in range(10): print(RunFolder.create(Path(sys.argv[1]), 'offline').path)"
    )
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", code, str(tmp_path / "runs")]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe) for _ in range(4)]
    printed = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len({name for names in printed for name in names}) == 40


@pytest.mark.parametrize("kind", ["", "Offline", "../up", "a b", "-x"])
def test_a_kind_that_would_make_a_poor_folder_name_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="small letters"):
        RunFolder.create(tmp_path, kind)
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_early_is_in_the_record_while_the_run_goes_on(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.update({"settings": {"runs": 5}})
        folder.event("utterance", text="so far")
        run = read_run(folder.path)
        assert (run.info["status"], run.info["finished"], run.info["settings"]) == ("running", None, {"runs": 5})
        assert [event.get("text") for event in run.events()] == [None, "so far"]
        folder.finish({})
    assert run_json(folder.path)["settings"] == {"runs": 5}


def test_an_event_may_have_happened_before_it_is_written(tmp_path: Path) -> None:
    early_s = time.perf_counter()
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.event("load", at_s=early_s)
        folder.event("later", at_s=early_s + 60)
        folder.finish({})
    _, first, second = read_run(folder.path).events()
    assert first["t_s"] < 0
    assert second["t_s"] - first["t_s"] == pytest.approx(60, abs=1e-5)


def test_a_failure_is_recorded_with_its_reason(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "offline")
    with pytest.raises(OSError, match="disk"), folder:
        raise OSError("the disk is gone")
    info = run_json(folder.path)
    assert (info["status"], info["reason"]) == ("failed", "OSError: the disk is gone")
    assert info["duration_s"] > 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CancelledError("cancelled by the caller")])
def test_an_interruption_is_recorded_as_one(tmp_path: Path, error: BaseException) -> None:
    folder = RunFolder.create(tmp_path, "offline")
    with pytest.raises(type(error)), folder:
        raise error
    info = run_json(folder.path)
    assert (info["status"], info["reason"]) == ("interrupted", str(error) or "KeyboardInterrupt")


def test_an_interrupted_run_may_bring_what_it_finished(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "offline")
    folder.finish({"headline": {"wer": 0.5}}, "interrupted", "Ctrl-C after 3 of 5 runs")
    with pytest.raises(KeyboardInterrupt), folder:
        raise KeyboardInterrupt
    info = run_json(folder.path)
    assert (info["status"], info["reason"], info["headline"]) == (
        "interrupted",
        "Ctrl-C after 3 of 5 runs",
        {"wer": 0.5},
    )


def test_a_run_without_a_result_has_failed(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        pass
    assert (run_json(folder.path)["status"], run_json(folder.path)["reason"]) == ("failed", "ended without a result")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "status", "file"),
    [(signal.SIGINT, "interrupted", "events.jsonl.gz"), (9, "running", "events.jsonl")],
    ids=["Ctrl-C", "kill"],
)
def test_a_signal_leaves_the_events_that_were_written(tmp_path: Path, number: int, status: str, file: str) -> None:
    code = (
        "import sys, time; from pathlib import Path; from auricle.bench.records import RunFolder\n"
        "with RunFolder.create(Path(sys.argv[1]), 'offline') as folder:\n"
        "    for n in range(100): folder.event('utterance', number=n)\n"
        "    print(folder.path, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        os.kill(process.pid, number)
    run = read_run(folder)
    assert [event["number"] for event in list(run.events())[1:]] == list(range(100))
    assert (run.info["status"], run.notes) == (status, [])
    assert (folder / file).is_file()


def test_the_compressed_events_tell_neither_time_nor_name(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "one")
    header = (folder / "events.jsonl.gz").read_bytes()[:10]
    assert header[3] == 0
    assert header[4:8] == bytes(4)
    assert sorted(file.name for file in folder.iterdir()) == ["events.jsonl.gz", "run.json"]


def test_events_of_many_threads_stay_whole(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:

        def write(thread: int) -> None:
            for number in range(200):
                folder.event("utterance", thread=thread, number=number, text="x" * 200)

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        folder.finish({})
    _, *events = read_run(folder.path).events()
    for wanted in range(8):
        assert [event["number"] for event in events if event["thread"] == wanted] == list(range(200))


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"wer": float("nan")}, "wer = nan"),
        ({"stages": {"decode": [0.5, float("inf")]}}, r"stages\.decode\[1\] = inf"),
        ({"rate": np.float32(0.5)}, r"rate = np\.float32\(0\.5\)"),
        ({"file": Path("a.wav")}, r"file = \w*Path"),
        ({"words": {"a", "b"}}, "words = {'a', 'b'}"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_its_place(tmp_path: Path, fields: dict[str, Any], place: str) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        with pytest.raises(RecordError, match=place):
            folder.event("utterance", **fields)
        with pytest.raises(RecordError, match=place):
            folder.update(fields)
        folder.finish({})
    assert len(list(read_run(folder.path).events())) == 1
    assert run_json(folder.path)["status"] == "finished"


def test_a_result_that_cannot_be_recorded_fails_the_run_and_keeps_its_events(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "offline")
    folder.event("utterance", text="kept")
    with pytest.raises(RecordError), folder:
        folder.finish({"headline": {"wer": float("nan")}})
    assert run_json(folder.path)["status"] == "failed"
    assert "headline.wer = nan" in run_json(folder.path)["reason"]
    assert [event.get("text") for event in read_run(folder.path).events()] == [None, "kept"]


@pytest.mark.parametrize("text", ["two\nlines", "a\u2028b", "\x00", 'quote " and \\', "bad byte \udc80", "😀"])
def test_any_text_reads_back_as_it_was(tmp_path: Path, text: str) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.event("utterance", text=text)
        folder.finish({"note": text})
    run = read_run(folder.path)
    assert [event.get("text") for event in run.events()] == [None, text]
    assert run.info["note"] == text


def test_names_that_the_record_sets_itself_are_refused(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        with pytest.raises(UsageError, match="t_s"):
            folder.event("utterance", t_s=1.0)
        with pytest.raises(UsageError, match="id, status"):
            folder.update({"status": "finished", "id": "x", "arms": []})
        folder.finish({})


def test_an_ended_run_takes_nothing_more(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.finish({})
    with pytest.raises(UsageError, match="has ended"):
        folder.event("utterance")
    with pytest.raises(UsageError, match="has ended"):
        folder.update({"arms": []})
    with pytest.raises(UsageError, match="has ended"):
        folder.finish({})


def test_a_cut_off_last_event_is_left_out_and_noted(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.event("utterance", text="whole")
        with (folder.path / "events.jsonl").open("ab") as file:
            file.write(b'{"t_s": 1.5, "event": "utter')
        run = read_run(folder.path)
        assert [event.get("text") for event in run.events()] == [None, "whole"]
        assert run.notes == [f"{run.id}: the last event is cut off and left out"]
        folder.finish({})


def test_a_cut_off_compressed_file_is_noted(tmp_path: Path) -> None:
    folder = recorded(tmp_path, *(f"text {number * 7919}" for number in range(5000)))
    packed = folder / "events.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-2000])
    run = read_run(folder)
    assert 0 < len(list(run.events())) < 5001
    assert "events.jsonl.gz is cut off" in run.notes[0]
    assert "5001 were written" in run.notes[1]


def test_events_that_went_missing_are_noted(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "one", "two")
    packed = folder / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()).splitlines(keepends=True)[0]))
    run = read_run(folder)
    assert len(list(run.events())) == 1
    assert run.notes == [f"{run.id}: 1 events are there, 3 were written"]


@pytest.mark.parametrize("damage", [b"\x00rubbish\n", b"[1, 2]\n", b'"text"\n', b"\xff\xfe\n"])
def test_a_damaged_event_is_refused_with_its_line(tmp_path: Path, damage: bytes) -> None:
    folder = recorded(tmp_path, "one")
    packed = folder / "events.jsonl.gz"
    start, event = gzip.decompress(packed.read_bytes()).splitlines(keepends=True)
    packed.write_bytes(gzip.compress(start + damage + event))
    with pytest.raises(RecordError, match="line 2"):
        list(read_run(folder).events())


@pytest.mark.parametrize("content", [None, b"not gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xffgarbage!"])
def test_events_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes | None) -> None:
    folder = recorded(tmp_path, "one")
    (folder / "events.jsonl.gz").unlink()
    if content is not None:
        (folder / "events.jsonl.gz").write_bytes(content)
    with pytest.raises(RecordError, match="events of a run cannot be read"):
        list(read_run(folder).events())


def test_a_run_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    folder = recorded(tmp_path)
    (folder / "run.json").write_text('{"schema": 99, "shape": "unknown"}', encoding="utf-8")
    with pytest.raises(RecordError, match=r"newer Auricle, as schema 99.*reads up to 1"):
        read_run(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"id": "x"}', '{"schema": "1"}', '{"schema": 1}', "\udcff"])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError, match=r"run\.json"):
        read_run(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run can be read there"):
        read_run(tmp_path / "nowhere")


def test_strict_json_names_a_key_that_json_cannot_hold() -> None:
    with pytest.raises(RecordError, match="tuple"):
        strict_json({(1, 2): "a"})


def test_the_json_export_holds_the_record_and_every_event(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "one", "two")
    whole = json.loads(exported(folder, "json"))
    assert whole["run"] == run_json(folder)
    assert whole["events"] == list(read_run(folder).events())


def test_the_jsonl_export_is_the_events_as_they_were_written(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "one", "नमस्ते \udc80")
    written = gzip.decompress((folder / "events.jsonl.gz").read_bytes()).decode()
    assert exported(folder, "jsonl") == written


def test_the_csv_export_has_a_row_for_each_recognition_of_an_utterance(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.event("utterance", id="a", reference='a "b", c', speaker=None, audio_s=1.0)
        folder.event("utterance", id="b\udc80", reference="नमस्ते", speaker="s", audio_s=2.0)
        timing: dict[str, Any] = {"wall_s": 0.5, "stages_s": {"decode": 0.25}, "is_first": True}
        folder.event("batch", arm="x", run=0, ids=["a", "b\udc80"], texts=["a b", None], audio_s=[1.1, 2.1], **timing)
        folder.event("batch", arm="x", run=1, ids=["a"], texts=["c"], audio_s=[1.1], wall_s=0.3, lanes=[1, 2])
        folder.finish({})
    rows = list(csv.DictReader(io.StringIO(exported(folder.path, "csv"))))
    for row in rows:
        assert float(row.pop("t_s")) > 0
    empty = dict.fromkeys(["speaker", "stages_s.decode", "is_first", "lanes"], "")
    first = {"arm": "x", "run": "0", "wall_s": "0.5", "stages_s.decode": "0.25", "is_first": "true", "batch_size": "2"}
    second = {"arm": "x", "run": "1", "wall_s": "0.3", "lanes": "[1, 2]", "batch_size": "1"}
    assert rows == [
        empty | first | {"id": "a", "reference": 'a "b", c', "audio_s": "1.1", "text": "a b"},
        empty | first | {"id": "b\\udc80", "reference": "नमस्ते", "speaker": "s", "audio_s": "2.1", "text": ""},
        empty | second | {"id": "a", "reference": 'a "b", c', "audio_s": "1.1", "text": "c"},
    ]


@pytest.mark.parametrize("fields", [{}, {"ids": ["unknown"], "texts": ["a"]}, {"ids": ["a"], "texts": []}])
def test_a_batch_that_cannot_be_put_into_rows_is_one_clear_error(tmp_path: Path, fields: dict[str, Any]) -> None:
    with RunFolder.create(tmp_path, "offline") as folder:
        folder.event("utterance", id="a", reference="a")
        folder.event("batch", audio_s=[1.0], **fields)
        folder.finish({})
    with pytest.raises(RecordError, match="malformed"):
        exported(folder.path, "csv")


@pytest.mark.parametrize(("form", "message"), [("csv", "no batches"), ("xml", "one of json, jsonl, csv")])
def test_an_export_that_cannot_be_made_is_refused(tmp_path: Path, form: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        exported(recorded(tmp_path), form)
