"""Files over HTTP: resumed, checked, bounded, patient within limits; with the standard library's client.

urllib and not the client that huggingface_hub brings, which changed from httpx to httpx2 between its versions 1 and 2:
a model's files need only a GET with a range, redirects that are looked at, and a time-out on silence.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from auricle.errors import DownloadError, ModelError, UsageError
from auricle.models.checks import (
    UNKNOWN,
    Expected,
    Progress,
    disk_errors,
    ignore_progress,
    other_file,
    require_space,
    verify,
)
from auricle.models.urls import Redirects, check_url, redacted, request_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from email.message import Message
    from pathlib import Path

_CHUNK_BYTES = 1 << 18
_WORTHWHILE_BYTES = 1 << 20
_LONGEST_PAUSE_S = 60.0
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_REMEDIES = {
    401: "the server wants credentials; for a model of the hub, set HF_TOKEN to a token of your account",
    403: "the server does not give this file to you; a model of the hub may have terms to accept on its page",
    404: "the file is not there: check the address, or look for a newer version of auricle",
    429: "the server is busy: try again later",
}
_NO_NETWORK = "check the network; what has arrived is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transfer tries: vain attempts in a row, the first pause between them (it doubles), silence allowed."""

    attempts: int = 5
    pause_s: float = 0.5
    silence_s: float = 30.0


PATIENCE = Patience()


class _BrokenOffError(Exception):
    """An attempt failed in a way that another may mend."""

    def __init__(self, error: DownloadError, wait_s: float = 0.0) -> None:
        super().__init__(error, wait_s)
        self.error = error
        self.wait_s = wait_s


def fetch_url(
    url: str,
    destination: Path,
    *,
    max_bytes: int,
    progress: Callable[[Progress], None] = ignore_progress,
    patience: Patience = PATIENCE,
) -> Path:
    """Fetch what the user's `url` names into the file `destination`, which appears when it is whole.

    http and https are allowed, a redirect from https to http is not. Credentials in the URL are sent to its own host
    alone and never shown. Raises UsageError for another scheme, DownloadError for a failed transfer or more than
    `max_bytes`. Not for addresses from strangers: it reaches whatever this machine reaches.
    """
    with disk_errors(destination.parent):
        download(url, destination, Expected(max_bytes=max_bytes), progress, patience, plain_http=True)
    return destination


def download(
    url: str,
    destination: Path,
    expected: Expected = UNKNOWN,
    progress: Callable[[Progress], None] = ignore_progress,
    patience: Patience = PATIENCE,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    plain_http: bool = False,
) -> None:
    """Fetch `url` into the file `destination`, which appears when it is whole and is what was expected.

    What arrives is kept beside it as `NAME.part`, and a later call goes on from there if the server still has the same
    file. `headers` are sent to the URL's host alone. http is refused unless `plain_http` or the host is this machine.
    Raises UsageError for a URL that is refused, DownloadError for a failed transfer, ModelError when the file is not
    the one expected.
    """
    check_url(url, plain_http=plain_http)
    part = _Part(destination, url)
    failures = 0
    while not part.is_whole():
        before = part.size
        try:
            with _open(_request(url, part, headers), part, patience.silence_s, plain_http=plain_http) as response:
                _receive(response, url, part, expected, progress)
            break
        except _BrokenOffError as interruption:
            failures = 1 if part.size - before >= _WORTHWHILE_BYTES else failures + 1
            if failures >= patience.attempts or interruption.wait_s > _LONGEST_PAUSE_S:
                raise interruption.error from interruption
            time.sleep(max(interruption.wait_s, patience.pause_s * 2 ** (failures - 1)))
    try:
        verify(part.path, expected, destination.name, progress)
    except ModelError:
        part.discard()
        raise
    part.path.replace(destination)
    part.discard()


class _Part:
    """The bytes that have arrived of one file, and notes that tell whether the server still has the same file."""

    def __init__(self, destination: Path, url: str) -> None:
        self.name = destination.name
        self.path = destination.with_name(f"{destination.name}.part")
        self._notes_path = destination.with_name(f"{destination.name}.part.json")
        self._url = redacted(url)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str | None:
        """The strong ETag or the date of the file begun; None when it must be fetched from the start."""
        validator: str | None = self._notes().get("validator")
        return validator

    def is_whole(self) -> bool:
        return self.path.exists() and bool(self._notes().get("bytes") == self.size)

    def begin(self, validator: str | None, total: int | None) -> None:
        self.discard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        notes = {"url": self._url, "validator": validator, "bytes": total}
        self._notes_path.write_text(json.dumps(notes), encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._notes_path.unlink(missing_ok=True)

    def _notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._notes_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return notes if isinstance(notes, dict) and notes.get("url") == self._url else {}


def _request(url: str, part: _Part, headers: Mapping[str, str]) -> urllib.request.Request:
    """Ask for what is missing of the part, if the server still has the file that it is of."""
    request = request_for(url, headers)
    validator = part.validator()
    if validator is not None and part.size:
        request.add_header("Range", f"bytes={part.size}-")
        request.add_header("If-Range", validator)
    return request


def _receive(
    response: http.client.HTTPResponse,
    url: str,
    part: _Part,
    expected: Expected,
    progress: Callable[[Progress], None],
) -> None:
    """Append what comes to the part; raises _BrokenOffError when it ends too early or continues another file."""
    continued = response.status == HTTPStatus.PARTIAL_CONTENT
    offset = part.size if continued else 0
    total = _total_bytes(response.headers, offset)
    if continued:
        _require_continuation(response.headers, part, url)
    else:
        part.begin(_validator(response.headers), total)
    _require_fit(url, total, offset, expected, part)
    with part.path.open("ab") as file:
        for chunk in _chunks(response, url):
            file.write(chunk)
            offset += len(chunk)
            progress(Progress("downloading", part.name, offset, total))
            if expected.max_bytes is not None and offset > expected.max_bytes:
                break
    _require_allowed(url, offset, expected, part)
    if total is not None and offset < total:
        raise _BrokenOffError(_failure(url, f"the connection ended after {offset} of {total} bytes"))


def _open(
    request: urllib.request.Request, part: _Part, silence_s: float, *, plain_http: bool
) -> http.client.HTTPResponse:
    url = request.full_url
    opener = urllib.request.build_opener(Redirects(plain_http=plain_http))
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=silence_s)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error, part) from error
    except DownloadError:
        raise
    except (http.client.InvalidURL, UnicodeError) as error:
        raise UsageError(f"not an address ({error})", redacted(url), "check the spelling") from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            remedy = "a proxy may stand between: name its certificate in SSL_CERT_FILE"
            raise DownloadError(f"the server's certificate is not trusted ({reason})", redacted(url), remedy) from error
        raise _BrokenOffError(_failure(url, _describe(reason))) from error
    return response


def _refusal(url: str, error: urllib.error.HTTPError, part: _Part) -> DownloadError | _BrokenOffError:
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.discard()
        return _BrokenOffError(_failure(url, "the server no longer has the file that was begun"))
    remedy = _REMEDIES.get(error.code, "try again later")
    failure = DownloadError(f"the server answers HTTP {error.code} {error.reason}", redacted(url), remedy)
    if error.code not in _RETRIED:
        return failure
    seconds = error.headers.get("Retry-After", "0")
    return _BrokenOffError(failure, float(seconds) if seconds.isdecimal() else 0.0)


def _require_continuation(headers: Message, part: _Part, url: str) -> None:
    """Check that a partial answer begins where the part ends and is of the same file; else start over."""
    start = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if start != str(part.size) or _validator(headers) not in {part.validator(), None}:
        part.discard()
        raise _BrokenOffError(_failure(url, "the server sent another part than the one asked for"))


def _validator(headers: Message) -> str | None:
    etag = headers.get("ETag")
    return etag if etag is not None and not etag.startswith("W/") else headers.get("Last-Modified")


def _total_bytes(headers: Message, offset: int) -> int | None:
    length = headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _require_fit(url: str, total: int | None, offset: int, expected: Expected, part: _Part) -> None:
    """Refuse before the transfer what is too large, not the expected file, or more than the disk holds."""
    if total is None:
        return
    _require_allowed(url, total, expected, part)
    if expected.bytes is not None and total != expected.bytes:
        part.discard()
        raise other_file(part.name, f"the server has {total} bytes where {expected.bytes} are expected")
    require_space(part.path.parent, total - offset)


def _chunks(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(_failure(url, _describe(error))) from error


def _describe(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "the server fell silent"
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__).strip()


def _failure(url: str, reason: str) -> DownloadError:
    return DownloadError(f"the transfer failed ({reason})", redacted(url), _NO_NETWORK)


def _require_allowed(url: str, size: int, expected: Expected, part: _Part) -> None:
    if expected.max_bytes is not None and size > expected.max_bytes:
        part.discard()
        raise DownloadError(f"the file is larger than the {expected.max_bytes} bytes allowed", redacted(url))
