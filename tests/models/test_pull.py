from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from auricle.errors import DownloadError, ModelError
from auricle.models.catalogue import CatalogueEntry
from auricle.models.download import pull
from auricle.models.store import RECORD_NAME, list_pulled, resolve
from auricle.models.summary import inspect
from tests.models.file_server import Fault, FileServer

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.models.checks import Progress
    from auricle.models.transfer import Patience

FILES = {"encoder.int8.onnx": bytes(range(256)) * 1500, "tokens.txt": b"a 0\nb 1\n"}


def archive_of(files: dict[str, bytes], folder: str = "tiny-model") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def archived(
    server: FileServer,
    *faults: Fault,
    content: dict[str, bytes] = FILES,
    listed: list[dict[str, str]] | None = None,
    sha256: str | None = None,
) -> CatalogueEntry:
    """An entry whose archive the server has at /tiny.tar.bz2; `listed` are the files that it names."""
    body = archive_of(content)
    server.put("/tiny.tar.bz2", body, *faults)
    digest = sha256 or hashlib.sha256(body).hexdigest()
    source = {"kind": "archive", "url": server.url("/tiny.tar.bz2"), "sha256": digest}
    files = listed or [{"path": "encoder.int8.onnx"}, {"path": "tokens.txt"}]
    fields = {"name": "tiny", "engines": ["sherpa-onnx"], "source": source, "files": files}
    return CatalogueEntry.model_validate(fields)


def separate(server: FileServer) -> CatalogueEntry:
    """An entry of two files that each have an address."""
    for name, content in FILES.items():
        server.put(f"/assets/{name}", content)
    files = [
        {
            "path": f"inner/{name}",
            "url": server.url(f"/assets/{name}"),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in FILES.items()
    ]
    return CatalogueEntry.model_validate(
        {"name": "loose", "engines": ["emformer"], "source": {"kind": "urls"}, "files": files}
    )


def offered(entry: CatalogueEntry, store: Path) -> None:
    """Write the entry into the user's catalogue, so that its name is known."""
    (store.parent / "no-models.toml").write_text(f"model = [{toml(entry.model_dump(exclude_none=True))}]")


def toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(inner) for inner in value)}]"
    return json.dumps(value)


def test_an_archive_is_pulled_into_the_store_and_resolved_by_name(server: FileServer, store: Path) -> None:
    entry = archived(server)
    offered(entry, store)
    told: list[Progress] = []
    folder = pull(entry, progress=told.append)
    assert folder == store / "tiny"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECORD_NAME} == FILES
    assert {progress.stage for progress in told} == {"downloading", "verifying", "unpacking"}
    resolved = resolve("tiny")
    assert (resolved.name, resolved.path, resolved.entry) == ("tiny", folder, entry)
    [pulled] = list_pulled()
    assert (pulled.name, pulled.record.origin) == ("tiny", server.url("/tiny.tar.bz2"))
    assert pulled.bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_files_with_addresses_are_pulled_one_by_one(server: FileServer, store: Path) -> None:
    folder = pull(separate(server))
    assert folder == store / "loose"
    assert {path.name: path.read_bytes() for path in (folder / "inner").iterdir()} == FILES


def test_what_is_there_is_not_fetched_again(server: FileServer, store: Path) -> None:
    entry = archived(server)
    assert pull(entry) == pull(entry) == store / "tiny"
    assert server.count("/tiny.tar.bz2") == 1


def test_a_broken_off_pull_is_never_resolved_and_goes_on(server: FileServer, store: Path, once: Patience) -> None:
    entry = archived(server, Fault(cut_after=500))
    offered(entry, store)
    with pytest.raises(DownloadError):
        pull(entry, patience=once)
    assert list_pulled() == ()
    with pytest.raises(ModelError, match=r"was not pulled yet: tiny.*hint: auricle models pull tiny"):
        resolve("tiny")
    pull(entry, patience=once)
    assert server.sent_bytes("/tiny.tar.bz2") == len(server.paths["/tiny.tar.bz2"].body)
    assert resolve("tiny").path == store / "tiny"
    assert [path.name for path in store.iterdir() if path.name != ".tiny.lock"] == ["tiny"]


@pytest.mark.parametrize("damage", ["shortened", "removed", "no record"])
def test_a_damaged_model_is_not_resolved_and_pulling_mends_it(server: FileServer, store: Path, damage: str) -> None:
    entry = archived(server)
    offered(entry, store)
    folder = pull(entry)
    if damage == "shortened":
        (folder / "encoder.int8.onnx").write_bytes(b"short")
    elif damage == "removed":
        (folder / "tokens.txt").unlink()
    else:
        (folder / RECORD_NAME).write_text("{")
    with pytest.raises(ModelError, match="hint: auricle models pull tiny"):
        resolve("tiny")
    if damage == "no record":
        with pytest.raises(ModelError, match="holds something else"):
            pull(entry)
    else:
        pull(entry)
        assert resolve("tiny").path == folder
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECORD_NAME} == FILES


def test_a_changed_entry_starts_its_pull_anew(server: FileServer, store: Path, once: Patience) -> None:
    with pytest.raises(DownloadError):
        pull(archived(server, Fault(cut_after=500)), patience=once)
    other = FILES | {"tokens.txt": b"c 0\n"}
    folder = pull(archived(server, content=other), patience=once)
    assert (folder / "tokens.txt").read_bytes() == b"c 0\n"
    assert folder.parent == store


def test_a_model_is_pulled_into_a_folder_of_the_users_choice(server: FileServer, store: Path, tmp_path: Path) -> None:
    folder = pull(archived(server), tmp_path / "here" / "my-model")
    assert (folder / "tokens.txt").read_bytes() == FILES["tokens.txt"]
    assert resolve(str(folder)).name == "tiny"
    assert not store.exists()


def test_a_folder_that_holds_something_else_is_left_alone(server: FileServer, store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(ModelError, match="holds something else"):
        pull(archived(server), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
    assert server.seen == []
    assert not store.exists()


def test_an_archive_that_lacks_a_file_is_refused(server: FileServer, store: Path) -> None:
    entry = archived(server, content={"tokens.txt": b"a 0\n"})
    with pytest.raises(ModelError, match=r"lacks the file encoder\.int8\.onnx"):
        pull(entry)
    assert not (store / "tiny").exists()


def test_an_archive_with_another_hash_is_refused(server: FileServer, store: Path) -> None:
    with pytest.raises(ModelError, match="SHA-256"):
        pull(archived(server, sha256="0" * 64))
    assert not (store / "tiny").exists()


def test_a_file_in_an_archive_with_another_hash_is_refused(server: FileServer, store: Path) -> None:
    with pytest.raises(ModelError, match=r"SHA-256.*tokens.txt"):
        pull(archived(server, listed=[{"path": "tokens.txt", "sha256": "0" * 64}]))
    assert not (store / "tiny").exists()


def test_an_archive_that_came_damaged_is_fetched_again(server: FileServer, store: Path) -> None:
    entry = archived(server)
    source = {"kind": "archive", "url": server.url("/tiny.tar.bz2")}
    unverified = CatalogueEntry.model_validate(entry.model_dump() | {"source": source})
    body = server.paths["/tiny.tar.bz2"].body
    server.put("/tiny.tar.bz2", body[:100] + bytes(100) + body[200:])
    with pytest.raises(ModelError, match="the archive is damaged"):
        pull(unverified)
    server.put("/tiny.tar.bz2", body)
    assert (pull(unverified) / "tokens.txt").read_bytes() == FILES["tokens.txt"]
    assert store.exists()


def test_a_copy_of_a_pulled_model_must_be_whole(server: FileServer, store: Path, tmp_path: Path) -> None:
    shutil.copytree(pull(archived(server)), tmp_path / "copy")
    assert resolve(str(tmp_path / "copy")).name == "tiny"
    (tmp_path / "copy" / "encoder.int8.onnx").unlink()
    with pytest.raises(ModelError, match=r"lacks its file encoder\.int8\.onnx.*copy it again"):
        resolve(str(tmp_path / "copy"))
    assert store.exists()


def test_an_archive_may_hold_an_empty_file_and_another_record(server: FileServer, store: Path) -> None:
    entry = archived(server, content=FILES | {"empty.txt": b"", RECORD_NAME: b"{}"})
    offered(entry, store)
    pull(entry)
    assert (store / "tiny" / "empty.txt").read_bytes() == b""
    assert resolve("tiny").path == store / "tiny"


@pytest.mark.parametrize("source", [{"kind": "embedded"}, {"kind": "shipped", "file": "inside.nemo"}])
def test_what_comes_with_the_package_is_not_pulled(source: dict[str, str]) -> None:
    fields = {"name": "inside", "engines": ["pocketsphinx"], "source": source}
    with pytest.raises(ModelError, match=r"nothing to pull.*--engine pocketsphinx"):
        pull(CatalogueEntry.model_validate(fields))


def test_no_request_is_made_when_the_network_is_forbidden(
    server: FileServer, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for entry in (archived(server), separate(server)):
        with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE.*unset it, or pull on another machine"):
            pull(entry)
    assert server.seen == []
    assert not (store / "tiny").exists()


def test_a_store_that_cannot_be_written_is_named(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AURICLE_MODELS", str(tmp_path / "file" / "store"))
    with pytest.raises(DownloadError, match=r"cannot write.*AURICLE_MODELS"):
        pull(archived(server))


def test_two_processes_that_pull_the_same_model_share_one_download(
    server: FileServer, store: Path, python: str
) -> None:
    entry = archived(server)
    served = server.paths["/tiny.tar.bz2"]
    served.block_bytes, served.block_pause_s = len(served.body) // 5, 0.2
    script = (
        "import sys; from auricle.models.catalogue import CatalogueEntry; from auricle.models.download import pull;"
        "print(pull(CatalogueEntry.model_validate_json(sys.argv[1])))"
    )
    command = [python, "-c", script, entry.model_dump_json()]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {child.communicate(timeout=60)[0].strip() for child in children}
    assert answers == {str(store / "tiny")}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert server.count("/tiny.tar.bz2") == 1


def test_a_pulled_model_is_described_without_loading_it(server: FileServer, store: Path) -> None:
    entry = archived(server)
    offered(entry, store)
    folder = pull(entry)
    described = inspect("tiny")
    assert json.loads(json.dumps(described)) == described
    assert (described["name"], described["path"]) == ("tiny", str(folder))
    assert described["catalogue"]["engines"] == ["sherpa-onnx"]
    [graph, tokens] = described["files"]
    assert "not an ONNX model" in graph["problem"] or "needs the onnx package" in graph["problem"]
    assert tokens == {"path": "tokens.txt", "bytes": len(FILES["tokens.txt"])}


def test_an_embedded_model_is_described_by_its_entry() -> None:
    described = inspect("pocketsphinx-en-us")
    assert described["path"] is None
    assert described["catalogue"]["languages"] == ["en"]
