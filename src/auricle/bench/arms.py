"""Arms of a comparison: how they are named on the command line, and the process that each runs in."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from auricle.engines.loading import LoadRequest
from auricle.errors import UsageError
from auricle.models.urls import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARTS = 4


def parse_arm(text: str) -> LoadRequest:
    """Read `engine[:model[:device[:precision]]]`, empty parts standing for the default, or `remote:ADDRESS`."""
    parts = _split(text)
    if len(parts) > PARTS or not parts[0]:
        raise UsageError("not an arm", text, "write engine[:model[:device[:precision]]]")
    engine, model, device, precision = parts + [""] * (PARTS - len(parts))
    return LoadRequest(engine, model or None, device or "cpu", precision or None)


def make_arms(texts: Sequence[str], threads: Sequence[int]) -> list[LoadRequest]:
    """Combine the arms with every number of threads; raises UsageError when two are the same."""
    counts: Sequence[int | None] = threads or [None]
    arms = [replace(parse_arm(text), threads=count) for text, count in itertools.product(texts, counts)]
    repeated = {arm.label for arm in arms if arms.count(arm) > 1}
    if repeated:
        raise UsageError("an arm is named twice", ", ".join(sorted(repeated)), "name each once; use --runs for repeats")
    return arms


def balanced_order(arms: int, runs: int, seed: int) -> Iterator[list[int]]:
    """Yield the order of the arms in every run: random, and each second run the reverse of the one before."""
    rng = random.Random(seed)  # noqa: S311  an order of runs is no secret
    order = list(range(arms))
    for run in range(runs):
        if run % 2:
            order.reverse()
        else:
            rng.shuffle(order)
        yield list(order)


def _split(text: str) -> list[str]:
    """Split at colons, but not at the one of a Windows drive such as `C:/models`, nor within an address at the end."""
    engine, _, model = text.partition(":")
    if is_address(model):
        return [engine, model]
    parts: list[str] = []
    for part in text.split(":"):
        if parts and len(parts[-1]) == 1 and parts[-1].isalpha() and part.startswith(("/", "\\")):
            parts[-1] += f":{part}"
        else:
            parts.append(part)
    return parts
