"""What a live benchmark is asked to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from auricle.bench import environment, quality
from auricle.bench.live.slo import Slo
from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.client.dialects.base import Target
    from auricle.corpus import Corpus

HIDDEN = "(hidden)"
DEFAULT_SLO = Slo()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """How to load a server and what to judge by.

    `levels` are streams at once, or, with `poisson`, as many on average. Streams that count are started for
    `seconds` of each level. `stream_s`, `gap_s` and `tail_s` make programmes (see `programmes.compose`). `reference`
    has every programme played once unpaced, one stream at a time, before the levels. A search for the capacity follows
    them when it is given a number of streams to begin with, `capacity_from`; its probes last `seconds` or more.
    """

    levels: tuple[int, ...]
    poisson: bool = False
    seconds: float = 20.0
    stream_s: float | None = None
    gap_s: float = 0.5
    tail_s: float = 0.0
    chunk_ms: int = 100
    speed: float = 1.0
    reference: bool = True
    clients: int | None = None
    capacity_from: int | None = None
    slo: Slo = DEFAULT_SLO
    normaliser: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("seconds", "chunk_ms", "speed"):
            _positive(name, getattr(self, name))
        for level in self.levels:
            _positive("a level", level)
        if self.capacity_from is not None and not self.reference and self.slo.wer_margin_points is not None:
            remedy = "play the reference, or set wer_margin_points = false in a file for --slo"
            raise UsageError("the WER of a probe has nothing to be compared with", "--no-reference", remedy)
        for name in ("gap_s", "tail_s"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative", getattr(self, name))


def described(settings: LiveSettings, target: Target) -> dict[str, Any]:
    """Return the settings as run records hold them: without the key and the values of headers."""
    asked = asdict(target) | {"headers": [[name, HIDDEN] for name, _ in target.headers]}
    return asdict(settings) | {"target": asked | {"key": None if target.key is None else HIDDEN}}


def head(corpus: Corpus, settings: LiveSettings) -> dict[str, object]:
    """Return what run.json tells of a run before it begins."""
    return {
        "environment": environment.capture(),
        "settings": asdict(settings),
        "corpus": {
            "name": corpus.name,
            "hash": corpus.hash,
            "licence": corpus.licence,
            "utterances": len(corpus.utterances),
            "duration_s": corpus.duration_s,
            "languages": corpus.languages,
        },
        "normaliser": quality.described(settings.normaliser, corpus.languages),
    }


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} must be above zero", value)
