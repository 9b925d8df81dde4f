"""The hub's client is the real one, in a child process because it reads HF_ENDPOINT when it is imported."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auricle.corpus import open_corpus

Record = Callable[..., Path]
FLEURS = "/datasets/google/fleurs/resolve/main/data/hi_in"
LIBRISPEECH = "/datasets/k2-fsa/LibriSpeech/resolve/main"
OPEN = """
import sys
from auricle.corpus import open_corpus
from auricle.errors import AuricleError
try:
    print(open_corpus(sys.argv[1]).hash)
except AuricleError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass
class Hub:
    """A hub on this machine that serves `files` (path to content) and breaks off every answer after `limit` bytes."""

    url: str
    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    limit: int | None = None

    def open(self, spec: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        places = {"HF_HOME": str(self.folder / "hub"), "AURICLE_DATA": str(self.folder / "data")}
        env = {**os.environ, "HF_ENDPOINT": self.url, "HF_HUB_OFFLINE": "0", **places, **variables}
        return subprocess.run([sys.executable, "-c", OPEN, spec], env=env, capture_output=True, text=True, check=False)

    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "data").rglob("*"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer()[: served.limit])

        def answer(self) -> bytes:
            served.asked.append(f"{self.command} {self.path}")
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            return content or b""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Hub(f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as members:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def fleurs(hub: Hub, record: Record) -> Hub:
    rows = []
    files = {}
    for number, text in enumerate(("नमस्ते, दुनिया!", 'वह "हाँ" बोला')):
        path = record(f"{number}.wav", seconds=0.5 + number, seed=number)
        files[f"test/100{number}.wav"] = path.read_bytes()
        rows.append(f"{number}\t100{number}.wav\t{text}\tनमस्ते\tन म\t{8000 + 16000 * number}\tFEMALE\n")
    hub.files = {
        f"{FLEURS}/test.tsv": "".join(rows).encode(),
        f"{FLEURS}/audio/test.tar.gz": archive(**files, **{"../../outside.wav": b"x", "test/notes.md": b"x"}),
    }
    return hub


def test_fleurs_is_downloaded_once_and_then_opened_from_this_machine(
    fleurs: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fleurs.open("fleurs:hi_in")
    assert first.returncode == 0, first.stderr
    monkeypatch.setenv("AURICLE_DATA", str(fleurs.folder / "data"))
    corpus = open_corpus("fleurs-hi_in-test")
    assert [(one.id, one.text, one.language, one.speaker, one.duration_s) for one in corpus.utterances] == [
        ("1000", "नमस्ते, दुनिया!", "hi", None, 0.5),
        ("1001", 'वह "हाँ" बोला', "hi", None, 1.5),
    ]
    assert corpus.licence == "CC BY 4.0"
    assert fleurs.kept() == [
        *("1000.wav", "1001.wav", "audio", "corpora", "fleurs-hi_in-test", "manifest.jsonl", "outside.wav")
    ]
    asked = len(fleurs.asked)
    assert fleurs.open("fleurs:hi_in:test").stdout == first.stdout == f"{corpus.hash}\n"
    assert len(fleurs.asked) == asked


def test_librispeech_is_downloaded(hub: Hub, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    chapter = "LibriSpeech/test-clean/61/70968"
    hub.files[f"{LIBRISPEECH}/test-clean.tar.gz"] = archive(
        **{
            "LibriSpeech/README.TXT": b"about it",
            f"{chapter}/61-70968-0000.flac": record("a.flac").read_bytes(),
            f"{chapter}/61-70968.trans.txt": b"61-70968-0000 HE BEGAN A CONFUSED COMPLAINT\n",
        }
    )
    done = hub.open("librispeech:test-clean")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("AURICLE_DATA", str(hub.folder / "data"))
    (only,) = open_corpus("librispeech:test-clean").utterances
    assert (only.id, only.text, only.speaker, only.duration_s) == (
        *("61-70968-0000", "HE BEGAN A CONFUSED COMPLAINT", "61"),
        0.5,
    )


def test_without_a_network_the_error_says_what_to_do(fleurs: Hub) -> None:
    done = fleurs.open("fleurs:hi_in", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("DownloadError: cannot download from google/fleurs: data/hi_in/test.tsv: ")
    assert all(remedy in line for remedy in ("HF_HUB_OFFLINE", "HF_ENDPOINT", "auricle corpus import FOLDER"))
    assert fleurs.asked == []


def test_a_language_that_fleurs_lacks_is_refused(fleurs: Hub) -> None:
    done = fleurs.open("fleurs:xx_yy")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "DownloadError: google/fleurs has no such file: data/xx_yy/test.tsv (hint: see what https://"
    )


def test_a_transfer_that_breaks_off_is_an_error_and_leaves_nothing(fleurs: Hub) -> None:
    fleurs.limit = 20
    done = fleurs.open("fleurs:hi_in")
    assert done.stderr.splitlines()[-1].startswith(
        "DownloadError: cannot download from google/fleurs: data/hi_in/test.tsv"
    )
    assert fleurs.kept() == []


@pytest.mark.parametrize("damage", [b"this is no archive", None], ids=["another file", "cut short"])
def test_a_damaged_archive_is_an_error_and_leaves_nothing(fleurs: Hub, damage: bytes | None) -> None:
    name = f"{FLEURS}/audio/test.tar.gz"
    fleurs.files[name] = damage or fleurs.files[name][:-2000]
    line = fleurs.open("fleurs:hi_in").stderr.splitlines()[-1]
    assert line.startswith("DownloadError: archive is damaged: ")
    assert line.endswith("(hint: delete that file and try again)")
    assert fleurs.kept() == ["corpora"]


def test_everything_wrong_with_a_table_is_listed(fleurs: Hub) -> None:
    fleurs.files[f"{FLEURS}/test.tsv"] += b"only one column\n3\t1002.wav\tx\tx\tx\t8000\tMALE\n"
    line = fleurs.open("fleurs:hi_in").stderr.splitlines()[-1]
    assert line.startswith("DefectiveCorpusError: 2 problems in corpus fleurs:hi_in:test: ")
    assert "test.tsv:3: bad line" in line
    assert "test.tsv:4: missing file: 1002.wav" in line
    assert fleurs.kept() == ["corpora"]
