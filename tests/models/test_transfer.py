from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from auricle.errors import DownloadError, ModelError, UsageError
from auricle.models.checks import Expected, Progress
from auricle.models.transfer import Patience, download, fetch_url
from auricle.models.urls import redacted
from tests.models.file_server import Fault, FileServer

if TYPE_CHECKING:
    from pathlib import Path

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()


def test_a_file_is_fetched_whole_and_its_progress_told(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY)
    told: list[Progress] = []
    download(server.url("/model"), tmp_path / "model", Expected(SHA256, len(BODY)), told.append)
    assert (tmp_path / "model").read_bytes() == BODY
    assert told[-1] == Progress("verifying", "model", len(BODY), len(BODY))
    assert Progress("downloading", "model", len(BODY), len(BODY)) in told
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_cut_connection_is_taken_up_where_it_ended(server: FileServer, tmp_path: Path, hasty: Patience) -> None:
    server.put("/model", BODY, Fault(cut_after=300_000), Fault(cut_after=200_000))
    download(server.url("/model"), tmp_path / "model", Expected(SHA256), patience=hasty)
    assert (tmp_path / "model").read_bytes() == BODY
    assert server.sent_bytes("/model") == len(BODY)
    assert [request.headers.get("range") for request in server.seen] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_with_what_an_earlier_one_has_left(
    server: FileServer, tmp_path: Path, once: Patience
) -> None:
    server.put("/model", BODY, Fault(cut_after=700_000))
    with pytest.raises(DownloadError, match=r"ended after 700000 of 1024000 bytes.*goes on from there"):
        download(server.url("/model"), tmp_path / "model", patience=once)
    assert not (tmp_path / "model").exists()
    assert (tmp_path / "model.part").stat().st_size == 700_000
    download(server.url("/model"), tmp_path / "model", patience=once)
    assert (tmp_path / "model").read_bytes() == BODY
    assert server.sent_bytes("/model") == len(BODY)


def test_a_server_without_ranges_is_asked_for_the_whole_again(
    server: FileServer, tmp_path: Path, hasty: Patience
) -> None:
    server.put("/model", BODY, Fault(cut_after=300_000)).ranges = False
    download(server.url("/model"), tmp_path / "model", Expected(SHA256), patience=hasty)
    assert (tmp_path / "model").read_bytes() == BODY
    assert server.sent_bytes("/model") == len(BODY) + 300_000


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(
    server: FileServer, tmp_path: Path, once: Patience
) -> None:
    server.put("/model", BODY, Fault(cut_after=300_000))
    with pytest.raises(DownloadError):
        download(server.url("/model"), tmp_path / "model", patience=once)
    server.put("/model", BODY[::-1])
    download(server.url("/model"), tmp_path / "model", patience=once)
    assert (tmp_path / "model").read_bytes() == BODY[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_part_that_cannot_be_told_from_another_file_is_not_continued(
    server: FileServer, tmp_path: Path, hasty: Patience, etag: str | None
) -> None:
    server.put("/model", BODY, Fault(cut_after=300_000), etag=etag)
    download(server.url("/model"), tmp_path / "model", patience=hasty)
    assert (tmp_path / "model").read_bytes() == BODY
    assert [request.headers.get("range") for request in server.seen] == [None, None]


def test_a_server_that_forgets_the_end_of_a_file_starts_it_again(
    server: FileServer, tmp_path: Path, hasty: Patience
) -> None:
    server.put("/model", BODY, Fault(cut_after=300_000), Fault(status=416))
    download(server.url("/model"), tmp_path / "model", Expected(SHA256), patience=hasty)
    assert (tmp_path / "model").read_bytes() == BODY


def test_a_part_that_is_whole_is_not_fetched_again(server: FileServer, tmp_path: Path, once: Patience) -> None:
    server.put("/model", BODY, Fault(cut_after=700_000))
    with pytest.raises(DownloadError):
        download(server.url("/model"), tmp_path / "model", patience=once)
    with (tmp_path / "model.part").open("ab") as part:
        part.write(BODY[700_000:])
    download(server.url("/model"), tmp_path / "model", Expected(SHA256), patience=once)
    assert server.count("/model") == 1


def test_a_file_with_another_hash_is_refused_and_removed(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY)
    with pytest.raises(ModelError) as caught:
        download(server.url("/model"), tmp_path / "model", Expected("0" * 64))
    assert SHA256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_is_refused_before_it_is_fetched(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY)
    with pytest.raises(ModelError, match="the server has 1024000 bytes where 5 are expected"):
        download(server.url("/model"), tmp_path / "model", Expected(bytes=5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "requests"), [(401, 1), (403, 1), (404, 1), (429, 3), (500, 3), (503, 3)])
def test_only_what_may_pass_is_tried_again(
    server: FileServer, tmp_path: Path, hasty: Patience, status: int, requests: int
) -> None:
    server.put("/model", BODY, *[Fault(status=status)] * 5)
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download(server.url("/model"), tmp_path / "model", patience=hasty)
    assert server.count("/model") == requests


def test_a_busy_server_is_asked_again_when_it_says_so(server: FileServer, tmp_path: Path, hasty: Patience) -> None:
    server.put("/model", BODY, Fault(status=429, headers=(("Retry-After", "1"),)))
    begin = time.monotonic()
    download(server.url("/model"), tmp_path / "model", patience=hasty)
    assert time.monotonic() - begin >= 1.0


def test_a_server_that_wants_an_hour_is_not_waited_for(server: FileServer, tmp_path: Path, hasty: Patience) -> None:
    server.put("/model", BODY, Fault(status=503, headers=(("Retry-After", "3600"),)))
    with pytest.raises(DownloadError, match="HTTP 503"):
        download(server.url("/model"), tmp_path / "model", patience=hasty)
    assert server.count("/model") == 1


def test_a_server_that_falls_silent_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY, Fault(pause_s=1.0))
    with pytest.raises(DownloadError, match="fell silent"):
        download(server.url("/model"), tmp_path / "model", patience=Patience(attempts=1, silence_s=0.2))


def test_where_nobody_answers_the_error_says_what_to_do(tmp_path: Path, hasty: Patience) -> None:
    with FileServer() as gone:
        url = gone.url("/model")
    with pytest.raises(DownloadError, match=r"(?i)refused.*check the network"):
        download(url, tmp_path / "model", patience=hasty)


def test_a_redirect_is_followed(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY)
    server.put("/moved", b"", Fault(status=302, headers=(("Location", server.url("/model")),)))
    download(server.url("/moved"), tmp_path / "model", Expected(SHA256))
    assert (tmp_path / "model").read_bytes() == BODY


@pytest.mark.parametrize("target", ["http://example.org/model", "file:///etc/passwd", "ftp://127.0.0.1/model"])
def test_a_redirect_to_elsewhere_is_refused(server: FileServer, tmp_path: Path, target: str) -> None:
    server.put("/moved", b"", Fault(status=302, headers=(("Location", target),)))
    with pytest.raises(DownloadError, match=r"(?i)redirect"):
        download(server.url("/moved"), tmp_path / "model")


def test_a_circle_of_redirects_ends(server: FileServer, tmp_path: Path) -> None:
    circle = Fault(status=302, headers=(("Location", server.url("/moved")),))
    server.put("/moved", b"", *[circle] * 50)
    with pytest.raises(DownloadError, match="HTTP 302"):
        download(server.url("/moved"), tmp_path / "model")


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd", "model", "https://", "https://h:x/a"]
)
def test_an_address_that_is_not_https_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError):
        download(url, tmp_path / "model")


def test_credentials_go_to_their_host_alone(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY)
    elsewhere = server.url("/model").replace("127.0.0.1", "localhost")
    server.put("/moved", b"", Fault(status=302, headers=(("Location", elsewhere),)))
    url = server.url("/moved").replace("http://", "http://user:s%40cret@")
    fetch_url(url, tmp_path / "audio.wav", max_bytes=len(BODY))
    assert [request.headers.get("authorization") for request in server.seen] == ["Basic dXNlcjpzQGNyZXQ=", None]


def test_credentials_are_never_shown(server: FileServer, tmp_path: Path, once: Patience) -> None:
    url = server.url("/none?token=hidden").replace("http://", "http://user:secret@")
    with pytest.raises(DownloadError) as caught:
        fetch_url(url, tmp_path / "audio.wav", max_bytes=10, patience=once)
    assert not any(word in f"{caught.value!r}{caught.value}" for word in ("secret", "hidden", "user"))
    assert redacted(url) == server.url("/none")


@pytest.mark.parametrize("announced", [True, False])
def test_more_than_is_allowed_is_refused(server: FileServer, tmp_path: Path, *, announced: bool) -> None:
    served = server.put("/audio", BODY)
    served.length = None if announced else -1
    with pytest.raises(DownloadError, match="larger than the 1000 bytes allowed"):
        fetch_url(server.url("/audio"), tmp_path / "audio.wav", max_bytes=1000)
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_cannot_hold_is_refused_before_it_is_fetched(server: FileServer, tmp_path: Path) -> None:
    server.put("/model", BODY).length = 10**18
    with pytest.raises(DownloadError, match="not enough disk space"):
        download(server.url("/model"), tmp_path / "model")
    assert server.sent_bytes("/model") < 10**7


def test_a_place_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path) -> None:
    server.put("/audio", BODY)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DownloadError, match=r"cannot write.*taken"):
        fetch_url(server.url("/audio"), tmp_path / "taken" / "audio.wav", max_bytes=len(BODY))


@pytest.mark.skipif(sys.platform == "win32", reason="an interrupt cannot be sent to a child process alone on Windows")
def test_an_interrupt_leaves_a_part_to_go_on_with(server: FileServer, tmp_path: Path, python: str) -> None:
    served = server.put("/model", BODY)
    served.block_bytes, served.block_pause_s = 50_000, 0.05
    script = (
        "import sys; from pathlib import Path; from auricle.models.transfer import download;"
        "download(sys.argv[1], Path(sys.argv[2]), progress=lambda p: print(p.done_bytes, flush=True))"
    )
    with subprocess.Popen(
        [python, "-c", script, server.url("/model"), str(tmp_path / "model")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
    kept = (tmp_path / "model.part").stat().st_size
    assert 0 < kept < len(BODY)
    served.block_pause_s = 0.0
    download(server.url("/model"), tmp_path / "model", Expected(SHA256))
    [resumed] = [request for request in server.seen if "range" in request.headers]
    assert resumed.headers["range"] == f"bytes={kept}-"
    assert resumed.sent_bytes == len(BODY) - kept
