"""A server's own counters, from its Prometheus endpoint."""

from __future__ import annotations

import urllib.error
import urllib.request

from auricle.client.errors import ServerError

TIMEOUT_S = 10.0
KEPT = ("auricle_", "process_")


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
