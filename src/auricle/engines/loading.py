"""From what a person names (engine, model, device, precision) to a loaded recogniser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.engines.contract import PRECISIONS, LoadOptions
from auricle.engines.precisions import parts_of, reduced_in
from auricle.engines.registry import DEFAULT_ENGINE, engine_names, get_engine
from auricle.errors import UnsupportedError, UsageError
from auricle.models import verdicts
from auricle.models.store import ResolvedModel, resolve
from auricle.models.urls import is_address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.engines.contract import ModelInfo, Recognizer
    from auricle.trace import Tracer

UNCHECKED = "-unchecked"
"""What is put after a precision to have it without a verdict of the gate, or against one."""

REMOTE = "remote"
"""The engine, and the device, of models that a server holds."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """An engine and a model by name or path; either left out is the one that belongs to the other.

    `precision` is one of the contract's, or one for each part of a model such as `encoder=fp32,decoder=fp16`; followed
    by `-unchecked` it is loaded whatever `auricle models check` said.
    """

    engine: str | None = None
    model: str | None = None
    device: str = "cpu"
    precision: str | None = None
    threads: int | None = None
    beam: int | None = None
    local_attention: int | None = None
    replicas: int = 1

    @property
    def label(self) -> str:
        """What reports call it: the parts that were given, in the order engine:model:device:precision."""
        parts = [self.engine or "", self.model or "", self.device, self.precision or ""]
        if not self.precision:
            parts = parts[: 2 if self.device == "cpu" else 3]
        text = ":".join(parts).strip(":")
        text = text if self.threads is None else f"{text} x{self.threads}"
        text = text if self.beam is None else f"{text} beam {self.beam}"
        return text if self.local_attention is None else f"{text} local {self.local_attention}"


def load(request: LoadRequest, tracer: Tracer) -> Recognizer:
    """Load what is asked for.

    Raises UsageError for an unknown engine or precision, ModelError for a model that is unknown or not pulled,
    UnsupportedError for a precision that failed its check, or that the engine made itself and was not checked here, and
    what `Engine.load` raises.
    """
    if request.model is not None and is_address(request.model):
        return _load_remote(request, request.model, tracer)
    model = None if request.model is None else resolve(request.model)
    engine = get_engine(request.engine or _engine_of(model))
    if request.threads is not None and request.threads < 1:
        raise UsageError("threads must be at least 1", request.threads)
    name = request.precision or ""
    options = LoadOptions(
        model=None if model is None else model.path,
        model_name=None if model is None else model.name,
        device=request.device,
        precision=_precision(name.removesuffix(UNCHECKED) or None),
        threads=request.threads,
        beam=request.beam,
        local_attention=request.local_attention,
        replicas=request.replicas,
    )
    recognizer = engine.load(options, tracer)
    try:
        if not name.endswith(UNCHECKED):
            _admit(recognizer.info, options.model)
    except BaseException:
        recognizer.unload()
        raise
    return recognizer


def _load_remote(request: LoadRequest, address: str, tracer: Tracer) -> Recognizer:
    """Load what a server holds; its device is its own, so that no other choice than the usual one is taken."""
    if request.engine not in {None, REMOTE}:
        raise UsageError(f"{request.engine} runs models itself", address, f"use the engine {REMOTE} for a server")
    options = LoadOptions(
        model_name=address,
        device=REMOTE if request.device == "cpu" else request.device,
        precision=_precision(request.precision),
        threads=request.threads,
        beam=request.beam,
        local_attention=request.local_attention,
        address=address,
    )
    return get_engine(REMOTE).load(options, tracer)


def files_of(info: ModelInfo, path: Path | None) -> list[Path]:
    """Return the files of a loaded model that was found at `path`, None where the engine carries it."""
    path = path or resolve(info.name).path
    return [] if path is None else verdicts.files_of(path, info.files)


def subject_of(info: ModelInfo, files: Sequence[Path]) -> verdicts.Subject:
    """Return what a verdict on a loaded model is about."""
    return verdicts.subject_of(info.engine, info.precision, info.provider or info.device, files)


def _admit(info: ModelInfo, path: Path | None) -> None:
    """Refuse a precision that failed, and one that the engine made itself and that has not passed."""
    reduced = reduced_in(info.precision)
    if not reduced or (path is None and not info.converted):
        return
    files = files_of(info, path)
    verdict = verdicts.find(subject_of(info, files), files)
    if verdict is None and not info.converted:
        return
    if verdict is None:
        what = f"{info.precision} was never checked against fp32 here for this model"
    elif verdict.outcome == "failed" or (info.converted and verdict.outcome != "passed"):
        what = f"the check of {info.precision} against fp32: {verdict.outcome}, {'; '.join(verdict.reasons)}"
    else:
        return
    precision = info.precision if "=" in info.precision else reduced[0]
    check = f"auricle models check {path or info.name} --engine {info.engine} --precision {precision}"
    check = check if info.device == "cpu" else f"{check} --device {info.device}"
    raise UnsupportedError(what, info.name, f"{check}; or ask for {precision}{UNCHECKED}")


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


def _precision(name: str | None) -> str | None:
    """Return the precision that was asked for; raises UsageError for one that nothing has."""
    if name is not None and name not in PRECISIONS:
        parts_of(name)
    return name
