"""Events of a profile whose figures are known."""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]
SETTINGS = {"streams": 1, "runs": 2, "warmup": 1, "seed": 0}
CHUNK_S = 0.1


def loaded(*, live: bool = True, first_short_s: float = 0.02) -> Event:
    info = {"engine": "x", "name": "m", "device": "cpu", "precision": "fp32", "threads": 1}
    fields = {"chunk_ms": 100 if live else None, "first_short_s": first_short_s if live else None}
    return {"event": "loaded", "t_s": 0.0, "info": info, "load_s": 1.0, "live": live, **fields}


def play(
    name: str,
    steps_s: list[float],
    audio_s: float,
    *,
    run: int = 0,
    phase: str = "run",
    words_at: int | None = 1,
    open_s: float = 0.0,
    text: str | None = "one",
    first_short_s: float = 0.02,
    error: str | None = None,
    encoder: float = 0.5,
) -> list[Event]:
    """Return the events of one stream whose n-th step takes so long, `encoder` of that in one stage."""
    events: list[Event] = []
    left_s = audio_s
    for index, step_s in enumerate(steps_s):
        wanted_s = CHUNK_S - (first_short_s if index == 0 else 0.0)
        fed_s = min(wanted_s, left_s) if index < len(steps_s) - 1 else left_s
        left_s -= fed_s
        events.append(
            {
                "event": "step",
                "t_s": float(len(events)),
                "phase": phase,
                "run": run,
                "turn": 0,
                "ids": [name],
                "fed_s": [fed_s],
                "last": [index == len(steps_s) - 1],
                "words": [int(words_at is not None and index >= words_at)],
                "step_s": step_s,
                "stages_s": {"encoder": encoder * step_s, "decode": 0.25 * step_s},
                "lanes": 1,
            }
        )
    told = {"event": "played", "t_s": 0.0, "phase": phase, "run": run, "turn": 0, "id": name}
    return [*events, told | {"audio_s": audio_s, "open_s": open_s, "text": text, "error": error}]
