"""What the time to first token is made of, where a server tells its own times.

A server that is asked for `stamps` (`--query stamps=true`) gives, with a message, times of its own monotonic clock in
seconds for the last packet of audio that the message covers: `received` from the socket, `ready` to be recognised,
`tick` (the turn that took it began), `step` (its own step in that turn began), `stepped` (and ended), `sent` (the
message was written). Only differences of one clock are taken, so the clocks need not agree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from auricle.score.timing import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.bench.live.reading import Message, Stream

MS_PER_S = 1000.0
PARTS = ("speech", "client", "network", "event_loop", "tick_wait", "queue", "compute")
NAMES = ("received", "ready", "tick", "step", "stepped", "sent")


def first_token_parts(streams: Sequence[Stream]) -> dict[str, Any] | None:
    """Return the median of each part in ms over the streams whose first words are stamped; None without any.

    The medians are None where so few streams do not bear one.

    `speech` is from the onset to when the last packet was due whose audio the words needed, `client` its late sending,
    `network` both ways, with what neither side's clock sees. The parts of a stream sum to its TTFT; medians need not.
    """
    found = [parts for stream in streams if (parts := parts_of(stream)) is not None]
    if not found:
        return None
    medians = {f"{name}_ms": percentile([MS_PER_S * parts[name] for parts in found], 0.5) for name in PARTS}
    return {"n": len(found), **medians}


def parts_of(stream: Stream) -> dict[str, float] | None:
    """Return the parts of one stream in seconds; None where its first words are not stamped."""
    message = next((message for message in stream.messages if message.text.strip()), None)
    piece, offset_s = stream.pieces[0]
    if message is None or piece["onset_s"] is None or not is_stamped(message):
        return None
    onset_s, stamps, told = stream.captured_s(offset_s + piece["onset_s"]), message.stamps, stream.event
    number = math.ceil(round((message.covered_s or 0.0) * told["rate"] / told["chunk"], 3)) - 1
    if onset_s is None or stamps is None or not 0 <= number < len(told["due_s"]):
        return None
    due_s, sent_s = told["due_s"][number], told["sent_s"][number]
    return {
        "speech": due_s - onset_s,
        "client": sent_s - due_s,
        "network": (message.at_s - sent_s) - (stamps["sent"] - stamps["received"]),
        "event_loop": stamps["ready"] - stamps["received"] + stamps["sent"] - stamps["stepped"],
        "tick_wait": stamps["tick"] - stamps["ready"],
        "queue": stamps["step"] - stamps["tick"],
        "compute": stamps["stepped"] - stamps["step"],
    }


def is_stamped(message: Message) -> bool:
    """Tell whether a message has all stamps."""
    return message.stamps is not None and all(name in message.stamps for name in NAMES)
