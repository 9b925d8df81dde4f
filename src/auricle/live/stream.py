"""A stream as the scheduler knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auricle.errors import EngineError
from auricle.live.buffer import AudioBuffer
from auricle.live.endpoint import Endpointer, EndpointRules
from auricle.live.stability import StablePrefix

if TYPE_CHECKING:
    from auricle.engines.contract import Recognizer, StreamOptions
    from auricle.live.events import Stamps
    from auricle.live.voice import Voice

MS_PER_S = 1000


@dataclass(slots=True, eq=False)
class LiveStream:
    """A stream as the scheduler knows it.

    `number` is the recogniser's, None before it is opened and after its end. A partial that says nothing new is left
    out unless `every_partial` is wanted, to see when each chunk was dealt with.
    """

    buffer: AudioBuffer
    options: StreamOptions
    period_s: float
    rate: int
    endpointer: Endpointer
    every_partial: bool = False
    stable: StablePrefix = field(default_factory=StablePrefix)
    number: int | None = None
    text: str = ""
    spoken: list[str] = field(default_factory=list)
    consumed: int = 0
    utterance_start: int = 0
    chunks: int = 0
    late_chunks: int = 0
    voice: Voice | None = None
    stamps: Stamps | None = None

    @property
    def consumed_s(self) -> float:
        """Seconds of audio that the engine has been given."""
        return self.consumed / self.rate


def make_stream(
    recognizer: Recognizer, options: StreamOptions, rules: EndpointRules, *, every_partial: bool = False
) -> LiveStream:
    """Return a stream of the recogniser's chunk size, not yet opened."""
    info = recognizer.info
    if info.streaming is None:
        raise EngineError(f"{info.name} does not serve live streams", None, "choose a streaming model")
    chunk_ms = info.streaming.chunk(options.chunk_ms)
    buffer = AudioBuffer(chunk_ms * info.sample_rate // MS_PER_S, info.streaming.first_short)
    return LiveStream(buffer, options, chunk_ms / MS_PER_S, info.sample_rate, Endpointer(rules), every_partial)
