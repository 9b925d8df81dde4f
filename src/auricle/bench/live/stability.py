"""How much of what was shown was later changed."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from auricle.bench.live.matching import held
from auricle.bench.live.scoring import shown_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.bench.live.reading import Stream


def upwr(streams: Sequence[Stream]) -> dict[str, Any] | None:
    """Return words shown and later changed ÷ words shown; None where no word was shown.

    A word is shown when a message brings it, new or in place of another; it is changed when it does not stand in the
    next message about the same utterance, partial or final. One before it that changes, comes or goes does not change
    it. Words are as they came, with case and punctuation.
    """
    shown = changed = 0
    for stream in streams:
        for texts in shown_texts(stream.messages):
            for before, after in pairwise([(), *(tuple(text.split()) for text in texts)]):
                same = len(held(before, after))
                changed += len(before) - same
                shown += len(after) - same
    return {"shown": shown, "changed": changed, "upwr": changed / shown} if shown else None
