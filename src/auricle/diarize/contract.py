"""The contract between Auricle and a diarizer: who spoke when in one recording.

A diarizer is a plug-in: an object that satisfies `DiarizerEngine`, named in the entry-point group `auricle.diarizers`.
What it cannot honour it refuses with `UnsupportedError`. Everything here is importable without what diarizers need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.audio import Audio
    from auricle.engines.contract import Support
    from auricle.trace import Tracer


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's stretch of speech in seconds from the start of the recording; turns of two speakers may overlap."""

    speaker: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class KnownSpeaker:
    """A speaker by name, with a clip of their voice at the diarizer's rate."""

    name: str
    clip: Audio


@dataclass(frozen=True, slots=True)
class DiarizeOptions:
    """What is known of the speakers: exactly `speakers`, or bounds, or nothing; and voices that have names.

    Speakers without a name are called `speaker_0`, `speaker_1`, ... in the order in which they are first heard.
    """

    speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    known: tuple[KnownSpeaker, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizerInfo:
    """What was really loaded and where it really runs; a limit that does not exist is None."""

    name: str
    sample_rate: int
    device: str
    max_speakers: int | None = None
    max_audio_s: float | None = None
    knows_voices: bool = False
    overlaps: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiarizerLoadOptions:
    """What to load, frozen for the life of the diarizer; None is its own choice."""

    device: str = "cpu"
    threads: int | None = None


class Diarizer(Protocol):
    """A loaded diarizer. Its methods may be called from several threads; results never depend on who else calls."""

    @property
    def info(self) -> DiarizerInfo:
        """What was really loaded."""
        ...

    def diarize(
        self,
        blocks: Iterable[NDArray[np.float32]],
        options: DiarizeOptions,
        cancel: threading.Event | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> list[Turn]:
        """Return the turns of one recording, by start; none where nobody speaks.

        `blocks` are mono samples `(samples,)` at `info.sample_rate`, read once; `progress` is told the seconds of audio
        that are done. Raises UnsupportedError for what `info` does not offer, EngineError when diarization fails,
        CancelledError soon after `cancel` is set, and what `blocks` raises.
        """
        ...

    def unload(self) -> None:
        """Free the memory; a second call does nothing, any other raises EngineError."""
        ...


class DiarizerEngine(Protocol):
    """A plug-in that loads diarizers of one kind."""

    @property
    def name(self) -> str:
        """The name on the command line, such as `embedded`."""
        ...

    def support(self) -> Sequence[Support]:
        """Say which devices can be used on this machine, without loading anything."""
        ...

    def load(self, options: DiarizerLoadOptions, tracer: Tracer) -> Diarizer:
        """Load it; its stage spans go to `tracer`. Raises NotInstalledError, ModelError or UnsupportedError."""
        ...
