"""From what a person names (engine, model, device, precision) to a loaded recogniser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from auricle.engines.contract import LoadOptions, Precision
from auricle.engines.registry import DEFAULT_ENGINE, engine_names, get_engine
from auricle.errors import UsageError
from auricle.models.store import ResolvedModel, resolve

if TYPE_CHECKING:
    from auricle.engines.contract import Recognizer
    from auricle.trace import Tracer


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """An engine and a model by name or path; either left out is the one that belongs to the other."""

    engine: str | None = None
    model: str | None = None
    device: str = "cpu"
    precision: str | None = None
    threads: int | None = None

    @property
    def label(self) -> str:
        """What reports call it: the parts that were given, in the order engine:model:device:precision."""
        parts = [self.engine or "", self.model or "", self.device, self.precision or ""]
        if not self.precision:
            parts = parts[: 2 if self.device == "cpu" else 3]
        text = ":".join(parts).strip(":")
        return text if self.threads is None else f"{text} x{self.threads}"


def load(request: LoadRequest, tracer: Tracer) -> Recognizer:
    """Load what is asked for.

    Raises UsageError for an unknown engine or precision, ModelError for a model that is unknown or not pulled, and what
    `Engine.load` raises.
    """
    model = None if request.model is None else resolve(request.model)
    engine = get_engine(request.engine or _engine_of(model))
    if request.threads is not None and request.threads < 1:
        raise UsageError("threads must be at least 1", request.threads)
    options = LoadOptions(
        model=None if model is None else model.path,
        model_name=None if model is None else model.name,
        device=request.device,
        precision=_precision(request.precision),
        threads=request.threads,
    )
    return engine.load(options, tracer)


def _engine_of(model: ResolvedModel | None) -> str:
    if model is None:
        return DEFAULT_ENGINE
    if model.entry is None:
        raise UsageError("no engine was named for this model", model.path, f"name one of {', '.join(engine_names())}")
    known = [name for name in model.entry.engines if name in engine_names()]
    if not known:
        named = ", ".join(model.entry.engines)
        raise UsageError(f"no engine for {model.name} is installed", f"it needs {named}", "see `auricle doctor`")
    return known[0]


def _precision(name: str | None) -> Precision | None:
    for precision in get_args(Precision):
        if name == precision:
            return precision  # type: ignore[no-any-return]  # get_args does not know what it returns
    if name is not None:
        raise UsageError("unknown precision", name, f"choose one of {', '.join(get_args(Precision))}")
    return None
