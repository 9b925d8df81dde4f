"""Who may call: bearer keys from a read-only file, compared in constant time and never logged."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auricle.errors import AuricleError, UsageError

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from starlette.datastructures import Headers

MIN_KEY_CHARACTERS = 16
BEARER = "bearer "


class AuthError(AuricleError, PermissionError):
    """The caller has no key, or not one of ours."""


class Keys:
    """Digests of the keys; with none of them, everybody may call."""

    def __init__(self, keys: tuple[str, ...] = (), trusted: tuple[IPv4Network | IPv6Network, ...] = ()) -> None:
        self._digests = tuple(_digest(key) for key in keys)
        self._trusted = trusted

    @property
    def needed(self) -> bool:
        """Whether there are keys at all."""
        return bool(self._digests)

    def check(self, key: str | None, address: str | None, *, foreign: bool = False) -> None:
        """Raise AuthError unless the key is one of ours, the address is trusted, or no keys are needed.

        A `foreign` page in somebody's browser, which would borrow the place that its reader has, always needs a key.
        """
        if foreign and not self.needed:
            raise AuthError("a page of another site needs a key here", None, "set api_keys, or allow_origins")
        if not foreign and (not self.needed or self._is_trusted(address)):
            return
        if not key:
            raise AuthError("an API key is needed", None, "send the header Authorization: Bearer <key>")
        digest = _digest(key)
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise AuthError("the API key is not valid", None, "check it for missing characters")

    def _is_trusted(self, address: str | None) -> bool:
        if not self._trusted or address is None:
            return False
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None) or peer
        return any(mapped in network for network in self._trusted)


def read_keys(path: Path) -> tuple[str, ...]:
    """Read `["key", ...]` or `{"name": "key", ...}`; raises UsageError, which never quotes a key, for anything else."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError("key file cannot be read", f"{path} ({error.strerror})", "check --api-keys") from error
    except ValueError as error:
        raise UsageError("key file is not JSON", path, 'write ["key", ...] or {"name": "key", ...}') from error
    keys = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(keys, list) or not keys or not all(_is_key(key) for key in keys):
        remedy = f"write keys of at least {MIN_KEY_CHARACTERS} visible ASCII characters"
        raise UsageError("key file holds no list of usable keys", path, remedy)
    return tuple(keys)


def bearer(authorization: str | None) -> str | None:
    """Return the key of an `Authorization: Bearer` header, None when there is no such header."""
    if authorization is None or not authorization.lower().startswith(BEARER):
        return None
    return authorization[len(BEARER) :].strip()


def is_foreign(headers: Headers) -> bool:
    """Tell whether a browser sends this for a page that is not from here, also one whose name was bent to our address.

    Browsers name the page's origin with every WebSocket and with every POST.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        page = urlsplit(origin)
        host = page.hostname or ""
    except ValueError:
        return True
    if page.netloc.lower() != headers.get("host", "").lower():
        return True
    return host != "localhost" and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_key(key: object) -> bool:
    return isinstance(key, str) and len(key) >= MIN_KEY_CHARACTERS and all("!" <= c <= "~" for c in key)


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="surrogateescape")).digest()
