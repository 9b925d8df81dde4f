"""How much of what was shown was later changed."""

from __future__ import annotations

from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

from auricle.bench.live.scoring import shown_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.bench.live.reading import Stream


def upwr(streams: Sequence[Stream]) -> dict[str, Any] | None:
    """Return words shown and later changed ÷ words shown; None where no word was shown.

    A word is shown when a message brings it, whether it is new at its place or replaces another; it is changed when the
    next message about the same utterance, partial or final, has not the same words up to and with it. Words are as they
    came, with case and punctuation.
    """
    shown = changed = 0
    for stream in streams:
        for texts in shown_texts(stream.messages):
            words = [[], *(text.split() for text in texts)]
            for before, after in pairwise(words):
                same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
                changed += len(before) - same
                shown += len(after) - same
    return {"shown": shown, "changed": changed, "upwr": changed / shown} if shown else None
