"""What a profile run records, in a folder as `auricle.bench.records` describes it, of kind `profile`.

Its events:

    utterance   id, reference, language, speaker, audio_s: one for each that is played
    loaded      info (ModelInfo), load_s, live (whether streams are played, else files), chunk_ms, first_short_s
    step        phase, run, turn (which group of streams it was part of), ids, fed_s (seconds of audio for each stream),
                last (for each whether that was the end), words (for each, how many its text has now), step_s,
                stages_s (by name), lanes (workers that ran at the same time). Of files a step is the whole file.
    played      phase, run, turn, id, audio_s, open_s (what opening the streams of the turn took), text (null where it
                failed), error: once for each utterance of a pass
    calibrated  device, threads, matmul (floating-point operations per second by type), copy_bytes_per_s, call_s (of an
                operator that does nothing to speak of, profiled as the others were)
    operator    node, parent (null for the outermost), stage, name, shapes, dtypes, arguments, calls, self_s, total_s,
                device_s, allocated_bytes: all calls of one operator on tensors of the same shapes in the same place of
                the tree of calls; total_s and device_s hold what it called, allocated_bytes is what was left allocated
    kernel      name, calls, device_s: what ran on an accelerator
    transfer    kind (HtoD, DtoH, DtoD), calls, bytes, device_s: copies between host and device
    unobservable  reason: why there are no operators

`phase` is `warmup`, `run` or `operators`. Passes over all utterances are counted from 0 as `run`. In the phase
`operators`, which comes after all others, torch's profiler is at work and slows every step: no figure of time is taken
from its steps but how much slower they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.engines.loading import LoadRequest

KIND = "profile"
Phase = Literal["warmup", "run", "operators"]
Mode = Literal["auto", "live", "files"]


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """How to profile: `runs` passes are counted after `warmup` passes; `streams` are played in lockstep.

    `mode` auto plays live streams where the engine serves them, else files. `chunk_ms` None is the engine's default.
    """

    request: LoadRequest
    runs: int = 3
    warmup: int = 1
    chunk_ms: int | None = None
    streams: int = 1
    mode: Mode = "auto"
    operators: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("runs", 1), ("warmup", 0), ("streams", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}", getattr(self, name))
