"""How a server is named: its address, and after `#` how it is asked, such as `https://host/v1#model=whisper-1`.

What follows `#` is never sent as part of the address. The key is not in it: it comes from the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from auricle.client.dialects import DIALECTS, HTTP, dialect_of
from auricle.errors import UsageError
from auricle.models.urls import is_loopback, redacted

if TYPE_CHECKING:
    from urllib.parse import SplitResult

KEY = "AURICLE_REMOTE_KEY"
"""The environment variable that holds the key, unless the address names another with `key_env`."""

Ability = Literal["word_times", "language", "prompt", "keywords"]
LIVE_SCHEMES = frozenset({"ws", "wss"})
SCHEMES = frozenset({"http", "https"}) | LIVE_SCHEMES
SECRETS = frozenset({"key", "api_key", "apikey", "token", "access_token", "auth", "auth_id", "password", "secret"})
HIDDEN = "[key]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAddress:
    """A server and how it is asked; the fields after `dialect` are those that may follow `#`.

    `model` None: the server's own or only one. `can` is what the server is said to honour beyond text, for OpenAI's
    upload word times, a prompt, keywords and a language, live the language alone. `key_env` names the variable with the
    key. `plain` is the one host beside this machine to which audio and key may go unencrypted. `answer_s` bounds an
    answer, `connect_s` a connection. A request is tried again at most `retries` times and waits no longer than
    `retry_s` for that in all. `parallel` is how many requests run at once, `slots` how many live streams.
    """

    url: str
    dialect: str
    model: str | None = None
    can: frozenset[Ability] = frozenset({"language"})
    key_env: str = KEY
    plain: str | None = None
    answer_s: float = 120.0
    connect_s: float = 10.0
    retries: int = 4
    retry_s: float = 60.0
    parallel: int = 4
    slots: int = 64
    max_audio_s: float = 600.0

    @property
    def is_live(self) -> bool:
        """Whether it is a WebSocket."""
        return self.dialect != HTTP

    @property
    def key(self) -> str | None:
        """The key in the environment now, None without one; raises UsageError for one that no header can carry."""
        key = os.environ.get(self.key_env, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError("the key holds what no header can carry", self.key_env, "set it anew, without line breaks")
        return key or None

    @property
    def where(self) -> str:
        """The address without what may be secret."""
        return redacted(self.url)

    def hidden(self, text: object) -> str:
        """Return what a server or library said, without the key if it holds it."""
        return str(text) if self.key is None else str(text).replace(self.key, HIDDEN)


def read_address(text: str) -> RemoteAddress:
    """Read an address with its options; raises UsageError for what is unknown, secret, or would go out in the clear."""
    url, _, rest = text.partition("#")
    parts = _parts(url)
    given = dict(parse_qsl(rest, keep_blank_values=True))
    dialect = given.pop("dialect", None) or dialect_of(url)
    if dialect not in DIALECTS or (dialect == HTTP) == (parts.scheme in LIVE_SCHEMES):
        raise UsageError(f"an address with {parts.scheme}:// has no such dialect", dialect, f"known: {_known(parts)}")
    options = {name: _read(name, value) for name, value in given.items()}
    address = RemoteAddress(url=urlunsplit(parts), dialect=dialect, **options)
    _check_plain(parts, address)
    if address.is_live and address.can - {"language"}:
        raise UsageError("a live stream cannot be asked for this", ", ".join(sorted(address.can)), "write can=language")
    if dialect == "sherpa" and (address.model or "can" in given):
        raise UsageError("sherpa-onnx's protocol can ask for nothing", rest, "set it on the server")
    return address


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError when it is no number
    except ValueError as error:
        raise UsageError(f"not an address ({error})", redacted(url), "check the spelling") from error
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise UsageError(
            "not the address of a server", redacted(url), "write http, https, ws or wss://HOST[:PORT]/PATH"
        )
    secrets = sorted(SECRETS.intersection(name.lower() for name, _ in parse_qsl(parts.query)))
    if parts.username is not None or secrets:
        what = "a key in an address would be written into records"
        raise UsageError(what, redacted(url), f"leave it out and set {KEY} in the environment")
    return parts


def _read(name: str, value: str) -> Any:
    """Return the value of an option, in the type of its field."""
    kinds = {field.name: str(field.type) for field in fields(RemoteAddress)}
    if name in {"url", "dialect"} or name not in kinds:
        known = ", ".join(sorted(set(kinds) - {"url"}))
        raise UsageError("an address has no such option", name, f"known: {known}")
    if name == "can":
        wanted = frozenset(filter(None, value.split(",")))
        if unknown := wanted - set(get_args(Ability)):
            raise UsageError("no such ability", ", ".join(sorted(unknown)), f"known: {', '.join(get_args(Ability))}")
        return wanted
    if kinds[name] not in {"int", "float"}:
        return value
    try:
        number = int(value) if kinds[name] == "int" else float(value)
    except ValueError:
        number = -1
    if not (0 if name == "retries" else 1e-3) <= number < float("inf"):
        raise UsageError(f"{name} must be a number above zero", value)
    return number


def _check_plain(parts: SplitResult, address: RemoteAddress) -> None:
    if parts.scheme in {"https", "wss"} or parts.hostname == address.plain or is_loopback(parts.hostname or ""):
        return
    what = f"{parts.scheme} would send audio and key in the clear"
    raise UsageError(what, address.where, f"use {parts.scheme}s, or write #plain={parts.hostname}")


def _known(parts: SplitResult) -> str:
    return ", ".join(one for one in DIALECTS if (one == HTTP) != (parts.scheme in LIVE_SCHEMES))
