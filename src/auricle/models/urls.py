"""Which addresses may be fetched, and how one is asked for: schemes, credentials, redirects."""

from __future__ import annotations

import base64
import ipaddress
import urllib.request
from typing import IO, TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from auricle import __version__
from auricle.errors import DownloadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPMessage


def is_address(text: str) -> bool:
    """Whether a text names a place on a network, and no path or name of a model."""
    return "://" in text


def check_url(url: str, *, plain_http: bool) -> None:
    """Refuse every scheme but https, and http unless `plain_http` or the host is this machine; raises UsageError."""
    parts = _split(url)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise UsageError("not an http or https address", redacted(url), "give an https address or a local path")
    if parts.scheme == "http" and not plain_http and not is_loopback(parts.hostname):
        raise UsageError("http is refused where a file must not be tampered with", redacted(url), "use https")


def redacted(url: str) -> str:
    """The URL without what may be secret: user, password, query and fragment."""
    try:
        return urlunsplit(_without_user(urlsplit(url))._replace(query="", fragment=""))
    except ValueError:
        return "an address that cannot be read"


def request_for(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    """Build a GET; `headers` and the credentials of the URL are for its own host, also after a redirect."""
    parts = _split(url)
    bare = urlunsplit(_without_user(parts)._replace(fragment=""))
    request = urllib.request.Request(bare, headers={"User-Agent": f"auricle/{__version__}"})  # noqa: S310 (check_url)
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(secret).decode()}")
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    return request


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to where the first request could have gone, and never from https to http."""

    def __init__(self, *, plain_http: bool) -> None:
        self._plain_http = plain_http

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse a redirect to another scheme or to unprotected http; raises DownloadError."""
        try:
            check_url(newurl, plain_http=self._plain_http and req.type == "http")
        except UsageError as error:
            raise DownloadError(f"refused to follow a redirect ({error.what})", redacted(newurl)) from error
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (request.type, request.host) == (req.type, req.host):
            request.unredirected_hdrs.update(req.unredirected_hdrs)
        return request


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError when it is no number)
    except ValueError as error:
        raise UsageError(f"not an address ({error})", redacted(url), "check the spelling") from error
    return parts


def _without_user(parts: SplitResult) -> SplitResult:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2])


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
