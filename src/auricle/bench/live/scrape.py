"""What a server tells beside its streams: that it is there, its lookahead, its own counters."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from auricle.client.errors import ServerError
from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.client.dialects.base import Target

PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
TIMEOUT_S = 10.0
KEPT = ("auricle_", "process_")


def reach(target: Target) -> None:
    """Raise ServerError when nothing listens at the address, UsageError when it is none."""
    try:
        parts = urlsplit(target.url)
        host, port = parts.hostname, parts.port or PORTS[parts.scheme]
    except (KeyError, ValueError) as error:
        raise UsageError(
            "not the address of a server", target.url, "write ws://HOST:PORT/PATH or http://HOST"
        ) from error
    try:
        socket.create_connection((host or "", port), target.connect_s).close()
    except OSError as error:
        raise ServerError("the server cannot be reached", f"{target.url} ({error})", "is it running?") from error


def lookahead_ms(url: str) -> float | None:
    """Return the lookahead of the model that Auricle's server tells at /health; None where another server does not.

    It is that of the chunk size that the address asks for.
    """
    parts = urlsplit(url)
    asked = parse_qs(parts.query).get("chunk_ms")
    health = f"http{'s' if parts.scheme in ('wss', 'https') else ''}://{parts.netloc}/health"
    try:
        with urllib.request.urlopen(health, timeout=TIMEOUT_S) as answer:  # noqa: S310  the user's own server
            live = json.loads(answer.read())["live"]
        told = live["lookahead_ms"][asked[0] if asked else str(live["chunk_ms"][0])]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    return float(told) if isinstance(told, int | float) else None


def scrape(url: str, key: str | None) -> dict[str, float]:
    """Return sums, counts and gauges by name, labels in braces, histogram buckets left out; raises ServerError."""
    request = urllib.request.Request(url, headers={} if key is None else {"Authorization": f"Bearer {key}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  the user's own server
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        raise ServerError("the server's metrics cannot be read", f"{url} ({error})", "check --metrics") from error
    return read(text)


def read(text: str) -> dict[str, float]:
    """Return what `scrape` returns of Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(KEPT) and not sample.name.endswith(("_bucket", "_created")):
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                figures[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return figures
