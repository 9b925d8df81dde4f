"""Loads models: checks what is asked for against the folder and this machine, and says what was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.engines.checks import check_choices
from auricle.engines.contract import ModelInfo, StreamingInfo
from auricle.engines.precisions import whole
from auricle.engines.sherpa.devices import (
    ONNX_RUNTIME_NAMES,
    PRECISIONS,
    check_build,
    check_graphs,
    installed_package,
    provider_of,
    support,
)
from auricle.engines.sherpa.model import open_model
from auricle.engines.sherpa.plan import SAMPLE_RATE, plan_for
from auricle.errors import EngineError, ModelError

if TYPE_CHECKING:
    from auricle.engines.contract import Feature, LoadOptions, Support
    from auricle.engines.sherpa.model import SherpaModel
    from auricle.engines.sherpa.plan import Plan
    from auricle.engines.sherpa.recognizer import SherpaRecognizer
    from auricle.trace import Tracer

DEFAULT_THREADS = 1
"""The library's own; its threads spin while they wait, and on busy cores a second one doubles the time."""

WHISPER_LONGEST_S = 29.49
"""sherpa-onnx drops what comes after 2,950 of Whisper's 3,000 frames."""

OFFLINE_LONGEST_S = 60.0
"""Attention takes memory with the square of the length: at 113 M parameters 0.6 GB for 60 s, 1.4 GB for 120 s."""

SLOTS = 256


class SherpaEngine:
    """Runs sherpa-onnx exports from local folders; see the package for how the library is kept in check."""

    name = "sherpa-onnx"

    def support(self) -> list[Support]:
        """Say what can be used here, from the installed files alone."""
        return support()

    def load(self, options: LoadOptions, tracer: Tracer) -> SherpaRecognizer:
        """Check and load the model in the folder `options.model`, or the one that this graph file belongs to."""
        from auricle.engines.sherpa.recognizer import SherpaRecognizer
        from auricle.engines.sherpa.streaming import SherpaStreamingRecognizer

        provider = provider_of(options.device)
        precision = whole("sherpa-onnx", options.precision, PRECISIONS)
        check_choices("sherpa-onnx", options)
        package = installed_package()
        if options.model is None:
            raise ModelError("the sherpa-onnx engine carries no model", None, "give the folder of a sherpa-onnx export")
        if not options.model.exists():
            raise ModelError("no such model folder", options.model, "see `auricle models list` for models to pull")
        model = open_model(options.model, options.device, precision)
        named = {model.files[role]: facts for role, facts in model.graphs.items()}
        check_graphs(provider, named, live=model.kind.live)
        check_build(provider, package)
        plan = plan_for(model, provider, options.threads or DEFAULT_THREADS)
        info = _describe(model, plan, options)
        try:
            if plan.windows is not None:
                return SherpaStreamingRecognizer(info, plan, plan.windows, SLOTS, tracer)
            return SherpaRecognizer(info, plan, tracer)
        except EngineError as error:
            what = f"sherpa-onnx cannot load this model: {error.what}"
            raise ModelError(what, f"{model.layout.folder}: {error.value}", "export or download it again") from error


def _describe(model: SherpaModel, plan: Plan, options: LoadOptions) -> ModelInfo:
    return ModelInfo(
        engine=SherpaEngine.name,
        name=options.model_name or model.layout.folder.name,
        family=f"{model.kind.name} (TDT)" if model.is_tdt else model.kind.name,
        languages=model.languages,
        sample_rate=SAMPLE_RATE,
        device=options.device,
        precision=model.precision,
        provider=ONNX_RUNTIME_NAMES[plan.provider],
        weights=model.weights,
        files=(*model.files.values(), model.tokens.path.name),
        threads=plan.threads,
        max_audio_s=_longest_s(model),
        features=_features(model, plan),
        streaming=_streaming(model, plan),
        notes=_notes(model, plan),
    )


def _longest_s(model: SherpaModel) -> float | None:
    if model.kind.live:
        return None
    return WHISPER_LONGEST_S if model.kind.name == "whisper" else OFFLINE_LONGEST_S


def _features(model: SherpaModel, plan: Plan) -> frozenset[Feature]:
    features: set[Feature] = set()
    if plan.has_word_times:
        features |= {"word_times", "confidence"} if model.kind.is_transducer else {"word_times"}
    return frozenset(features | ({"language"} if model.languages else set()))


def _streaming(model: SherpaModel, plan: Plan) -> StreamingInfo | None:
    if plan.windows is None:
        return None
    bytes_per_slot = None if model.state_bytes is None else (model.state_bytes,)
    return StreamingInfo((plan.windows.chunk_ms,), (plan.windows.lookahead_ms,), SLOTS, bytes_per_slot)


def _notes(model: SherpaModel, plan: Plan) -> tuple[str, ...]:
    notes = ["sherpa-onnx runs encoder and search in one call: the stage `recognise` is both"]
    for role, chosen in model.layout.graphs.items():
        others = [name for name in chosen.considered if name != chosen.path.name]
        if others:
            notes.append(f"{role}: {chosen.path.name} was chosen, {', '.join(others)} is there too")
    if not plan.batches:
        notes.append(
            "dynamic quantisation takes its scales from the whole batch: decoded one at a time, as texts differ"
        )
    return tuple(notes)


ENGINE = SherpaEngine()
