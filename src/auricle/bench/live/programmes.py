"""What streams play: one utterance each, or several with silence between them.

Programmes are made once for a run, so that every level, and the reference of one stream at a time, play the same ones.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.client.clips import Clip

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Piece:
    """An utterance in a programme, which it enters `offset_s` seconds after the start."""

    utterance: str
    offset_s: float


@dataclass(frozen=True, slots=True)
class Programme:
    """Utterances in order; `tail_s` of silence follows the last."""

    name: str
    pieces: tuple[Piece, ...]
    duration_s: float


def compose(
    lengths_s: Mapping[str, float], stream_s: float | None, gap_s: float, tail_s: float, seed: int
) -> list[Programme]:
    """Put utterances, by their lengths, into programmes of at least `stream_s` seconds, or one each for None.

    Every utterance comes equally often, and none after itself unless it is the only one. `gap_s` of silence lies
    between two, `tail_s` after the last. A corpus shorter than `stream_s` is one programme that holds it several times
    over; of a longer one the last programme may be short.
    """
    if stream_s is None:
        return [_programme(name, [name], lengths_s, gap_s, tail_s) for name in lengths_s]
    rounds = max(1, math.ceil(stream_s / sum(length_s + gap_s for length_s in lengths_s.values())))
    chosen: list[list[str]] = [[]]
    length_s = 0.0
    for name in _shuffled(list(lengths_s), rounds, seed):
        if rounds == 1 and length_s >= stream_s:
            chosen.append([])
            length_s = 0.0
        chosen[-1].append(name)
        length_s += lengths_s[name] + gap_s
    return [_programme(f"stream-{n}", names, lengths_s, gap_s, tail_s) for n, names in enumerate(chosen)]


def render(programme: Programme, clips: Mapping[str, Clip]) -> Clip:
    """Return the recording of a programme from those of its utterances, with digital silence between them."""
    first = clips[programme.pieces[0].utterance]
    width = len(first.pcm) // max(first.samples, 1)
    pcm = bytearray()
    for piece in programme.pieces:
        pcm.extend(bytes(round(piece.offset_s * first.rate) * width - len(pcm)))
        pcm.extend(clips[piece.utterance].pcm)
    pcm.extend(bytes(max(0, round(programme.duration_s * first.rate) * width - len(pcm))))
    return Clip(programme.name, first.rate, len(pcm) // width, bytes(pcm))


def _programme(
    name: str, utterances: Sequence[str], lengths_s: Mapping[str, float], gap_s: float, tail_s: float
) -> Programme:
    pieces, at_s = [], 0.0
    for utterance in utterances:
        pieces.append(Piece(utterance, at_s))
        at_s += lengths_s[utterance] + gap_s
    return Programme(name, tuple(pieces), at_s - gap_s + tail_s)


def _shuffled(utterances: Sequence[str], rounds: int, seed: int) -> Iterator[str]:
    """Yield every utterance once in each round; one that would follow itself over a seam goes one place further."""
    rng = random.Random(f"{seed} programmes")  # noqa: S311  an order of recordings is no secret
    last: str | None = None
    for _ in range(rounds):
        order = list(utterances)
        rng.shuffle(order)
        if order[0] == last and len(order) > 1:
            order[0], order[1] = order[1], order[0]
        last = order[-1]
        yield from order
