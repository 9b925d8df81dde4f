"""Pulls from a server that speaks the model hub's endpoints, in child processes, as HF_ENDPOINT is read at import."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.models.file_server import COMMIT, Fault, FileServer, put_hub_repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Pull = Callable[..., dict[str, object]]

REPO = "someone/tiny-model"
FILES = {"tiny.nemo": bytes(range(256)) * 4000, "extra/readme.txt": b"hello"}
SCRIPT = """
import json, sys
from auricle.errors import AuricleError
from auricle.models.catalogue import get
from auricle.models.download import pull
from auricle.models.transfer import Patience
told = []
try:
    path = pull(get("tiny"), progress=told.append, patience=Patience(attempts=1))
    most = max((p.done_bytes for p in told if p.stage == "downloading"), default=0)
    print(json.dumps({"path": str(path), "bytes": told[-1].total_bytes if told else 0, "most": most}))
except AuricleError as error:
    print(json.dumps({"error": str(error), "kind": type(error).__name__}))
"""


@pytest.fixture
def pull_tiny(server: FileServer, store: Path, tmp_path: Path, python: str) -> Pull:
    """Pull `tiny` in a child process and give its result or its error."""

    def run(files: str = '[{ path = "tiny.nemo" }]', revision: str = "", **environment: str) -> dict[str, object]:
        (tmp_path / "catalogue.toml").write_text(
            f'[[model]]\nname = "tiny"\nengines = ["nemo"]\nfiles = {files}\n'
            f'source = {{ kind = "hub", repo = "{REPO}"{revision} }}\n'
        )
        variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        variables |= {
            "AURICLE_CATALOGUE": str(tmp_path / "catalogue.toml"),
            "AURICLE_MODELS": str(store),
            "HF_ENDPOINT": server.root,
            "HF_HOME": str(tmp_path / "hf"),
        }
        child = subprocess.run(
            [python, "-W", "error", "-c", SCRIPT],
            env=variables | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        result: dict[str, object] = json.loads(child.stdout)
        return result | {"stderr": child.stderr}

    return run


def fill_hub_cache(server: FileServer, tmp_path: Path, python: str) -> None:
    """Let huggingface_hub itself fetch the repository into its cache."""
    script = f"import huggingface_hub; huggingface_hub.snapshot_download({REPO!r})"
    variables = os.environ | {"HF_ENDPOINT": server.root, "HF_HOME": str(tmp_path / "hf")}
    subprocess.run([python, "-c", script], env=variables, check=True, timeout=60, capture_output=True)


def test_a_hub_model_is_pulled_whole(server: FileServer, store: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES)
    result = pull_tiny()
    assert result["path"] == str(store / "tiny")
    assert result["stderr"] == ""
    assert result["most"] == result["bytes"] == len(FILES["tiny.nemo"])
    assert (store / "tiny" / "tiny.nemo").read_bytes() == FILES["tiny.nemo"]
    record = json.loads((store / "tiny" / "auricle-model.json").read_text())
    assert record["origin"] == f"{REPO}@{COMMIT}"
    assert server.count(f"/{REPO}/resolve/{COMMIT}/extra/readme.txt") == 0


def test_an_entry_without_files_means_all_of_the_repository(server: FileServer, store: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES)
    pull_tiny(files="[]")
    assert (store / "tiny" / "extra" / "readme.txt").read_bytes() == b"hello"
    assert (store / "tiny" / "tiny.nemo").read_bytes() == FILES["tiny.nemo"]


def test_a_file_other_than_the_hub_states_is_refused(server: FileServer, store: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES, sha256={"tiny.nemo": "0" * 64})
    result = pull_tiny()
    assert result["kind"] == "ModelError"
    assert hashlib.sha256(FILES["tiny.nemo"]).hexdigest() in str(result["error"])
    assert "0" * 64 in str(result["error"])
    assert not (store / "tiny").exists()


def test_a_file_other_than_the_catalogue_states_is_refused(server: FileServer, store: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES)
    result = pull_tiny(files=f'[{{ path = "tiny.nemo", sha256 = "{"1" * 64}" }}]')
    assert result["kind"] == "ModelError"
    assert "1" * 64 in str(result["error"])
    assert not (store / "tiny").exists()


def test_a_damaged_copy_in_the_hubs_cache_is_passed_over(
    server: FileServer, store: Path, tmp_path: Path, python: str, pull_tiny: Pull
) -> None:
    put_hub_repository(server, REPO, FILES)
    fill_hub_cache(server, tmp_path, python)
    [blob] = [path for path in (tmp_path / "hf").rglob("blobs/*") if path.stat().st_size == len(FILES["tiny.nemo"])]
    blob.write_bytes(FILES["tiny.nemo"][::-1])
    pull_tiny()
    assert (store / "tiny" / "tiny.nemo").read_bytes() == FILES["tiny.nemo"]


def test_a_repository_that_names_a_file_outside_is_refused(server: FileServer, tmp_path: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES | {"../../evil": b"x"})
    assert "not to be trusted" in str(pull_tiny(files="[]")["error"])
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]"])
def test_a_server_that_is_no_hub_is_named(server: FileServer, pull_tiny: Pull, answer: bytes) -> None:
    server.put(f"/api/models/{REPO}", answer)
    result = pull_tiny()
    assert result["kind"] == "DownloadError"
    assert "what answers is no model hub" in str(result["error"])


def test_an_endpoint_that_is_no_address_is_named(pull_tiny: Pull) -> None:
    assert pull_tiny(HF_ENDPOINT="nonsense")["kind"] == "UsageError"


def test_a_repository_without_the_file_is_refused(server: FileServer, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, {"other.nemo": b"x"})
    assert "has no file tiny.nemo" in str(pull_tiny()["error"])


@pytest.mark.parametrize("offline", ["0", "1"])
@pytest.mark.parametrize("files", ["[]", '[{ path = "tiny.nemo" }]'])
def test_a_model_in_the_hubs_cache_is_not_fetched_again(
    server: FileServer, store: Path, tmp_path: Path, python: str, pull_tiny: Pull, offline: str, files: str
) -> None:
    put_hub_repository(server, REPO, FILES)
    fill_hub_cache(server, tmp_path, python)
    path = f"/{REPO}/resolve/{COMMIT}/tiny.nemo"
    assert server.count(path) == 1
    assert pull_tiny(files=files, HF_HUB_OFFLINE=offline)["path"] == str(store / "tiny")
    shutil.rmtree(tmp_path / "hf")
    assert (store / "tiny" / "tiny.nemo").read_bytes() == FILES["tiny.nemo"]
    assert server.count(path) == 1


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_a_network_the_error_says_what_to_do(pull_tiny: Pull, environment: dict[str, str]) -> None:
    result = pull_tiny(**environment)
    assert result["kind"] == "DownloadError"
    for word in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "copy the folder", REPO):
        assert word in str(result["error"])


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, "HF_TOKEN"), (403, "HF_TOKEN"), (404, "correct the catalogue"), (429, "try again later")],
)
def test_a_refusal_of_the_hub_says_what_to_do(server: FileServer, pull_tiny: Pull, status: int, remedy: str) -> None:
    put_hub_repository(server, REPO, FILES)
    for path in server.paths:
        if path.startswith("/api"):
            server.paths[path].faults = [Fault(status=status)] * 20
    result = pull_tiny()
    assert result["kind"] == "DownloadError"
    assert remedy in str(result["error"])


def test_the_token_is_sent(server: FileServer, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES)
    pull_tiny(HF_TOKEN="hf_secret")  # noqa: S106 (no real token)
    tokens = [request.headers.get("authorization") for request in server.seen if REPO in request.path]
    assert set(tokens) == {"Bearer hf_secret"}


def test_the_token_is_not_sent_to_where_the_hub_redirects(server: FileServer, store: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES)
    path = f"/{REPO}/resolve/{COMMIT}/tiny.nemo"
    elsewhere = server.url("/cdn/tiny.nemo").replace("127.0.0.1", "localhost")
    server.paths[path].faults = [Fault(status=302, headers=(("Location", elsewhere),))]
    server.put("/cdn/tiny.nemo", FILES["tiny.nemo"])
    pull_tiny(HF_TOKEN="hf_secret")  # noqa: S106 (no real token)
    assert (store / "tiny" / "tiny.nemo").read_bytes() == FILES["tiny.nemo"]
    [request] = [request for request in server.seen if request.path == "/cdn/tiny.nemo"]
    assert "authorization" not in request.headers


def test_a_pull_from_the_hub_that_was_broken_off_goes_on(server: FileServer, store: Path, pull_tiny: Pull) -> None:
    put_hub_repository(server, REPO, FILES)
    path = f"/{REPO}/resolve/{COMMIT}/tiny.nemo"
    server.paths[path].faults = [Fault(cut_after=300_000)]
    assert "ended after 300000 of 1024000 bytes" in str(pull_tiny()["error"])
    assert not (store / "tiny").exists()
    pull_tiny()
    assert (store / "tiny" / "tiny.nemo").read_bytes() == FILES["tiny.nemo"]
    assert server.sent_bytes(path) == len(FILES["tiny.nemo"])


def test_a_repository_that_moved_on_meanwhile_is_fetched_from_its_start(
    server: FileServer, store: Path, pull_tiny: Pull
) -> None:
    put_hub_repository(server, REPO, FILES)
    server.paths[f"/{REPO}/resolve/{COMMIT}/extra/readme.txt"].faults = [Fault(status=500)]
    assert "HTTP 500" in str(pull_tiny(files="[]")["error"])
    newer = {"tiny.nemo": FILES["tiny.nemo"][::-1], "extra/readme.txt": b"newer"}
    put_hub_repository(server, REPO, newer, commit="f" * 40)
    pull_tiny(files="[]")
    assert (store / "tiny" / "tiny.nemo").read_bytes() == newer["tiny.nemo"]
    assert (store / "tiny" / "extra" / "readme.txt").read_bytes() == b"newer"
