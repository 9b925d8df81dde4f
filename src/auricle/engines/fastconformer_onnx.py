"""The engine of folders that `auricle export --to onnx` wrote: FastConformer models in ONNX Runtime, files and live."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, cast, get_args

from auricle.engines.checks import check_choices
from auricle.engines.contract import ModelInfo, Support, WeightGroup
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer, streaming_info
from auricle.engines.fastconformer_recognizer import FastConformerRecognizer
from auricle.engines.precisions import precision_of
from auricle.engines.torch_threads import THREADS
from auricle.errors import NotInstalledError, UnsupportedError, UsageError
from auricle.fastconformer import loading
from auricle.fastconformer.describe import family_name
from auricle.fastconformer.memory import longest_s
from auricle.fastconformer.ort import session

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import Feature, LoadOptions, Precision
    from auricle.fastconformer.ort.whole import OrtFastConformer
    from auricle.trace import Tracer

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
ARENA, ON_CPU = "AURICLE_ONNX_ARENA", "AURICLE_ONNX_ON_CPU"

LONGEST_S = 120.0
"""The graph for files scores every frame with every other, so that memory grows with the square of the length."""


class OnnxEngine:
    """Loads exported folders on the CPU, or on a card where ONNX Runtime has CUDA or TensorRT."""

    name = "onnx"

    def support(self) -> list[Support]:
        """Every device with its precisions; unusable where a package or a provider is missing."""
        found = []
        for device in session.PROVIDERS:
            try:
                _check_installed()
                session.provider_of(device)
            except (NotInstalledError, UnsupportedError) as error:
                reason, remedy = f"{error.what}: {error.value}", error.remedy
                found += [Support(device, one, usable=False, reason=reason, remedy=remedy) for one in PRECISIONS]
            else:
                found += [Support(device, one, usable=True) for one in PRECISIONS]
        return found

    def load(self, options: LoadOptions, tracer: Tracer) -> FastConformerRecognizer:
        """Load a folder; its precision is the one that it was exported in."""
        if options.model is None:
            raise UsageError("the onnx engine carries no model", None, "give a folder that `auricle export` wrote")
        _check_installed()
        check_choices(self.name, options)
        session.provider_of(options.device)
        from auricle.fastconformer.ort.whole import OrtFastConformer

        threads = THREADS.hold(options.threads)
        try:
            model = OrtFastConformer(options.model, _settings(options.device, threads))
            _check_precision(options.precision, model.precision)
            name = options.model_name or options.model.name
            return _serve(model, _describe(model, name, options.model, threads, options.device), tracer)
        except BaseException:
            THREADS.give_back()
            raise


def _check_installed() -> None:
    loading.check_installed()
    session.check_installed()


def _check_precision(wanted: str | None, held: str) -> None:
    if wanted not in {None, held}:
        what = f"the folder was exported in {held}, not in"
        raise UnsupportedError(what, wanted, "export it again with --precision")


def _settings(device: str, threads: int) -> session.Settings:
    arena = os.environ.get(ARENA, "same-as-requested")
    if arena not in get_args(session.Arena):
        raise UsageError(f"{ARENA} must be one of {', '.join(get_args(session.Arena))}", arena)
    allowed = frozenset(filter(None, os.environ.get(ON_CPU, "").split(",")))
    return session.Settings(device, threads, cast("session.Arena", arena), allowed)


def _serve(model: OrtFastConformer, info: ModelInfo, tracer: Tracer) -> FastConformerRecognizer:
    """Return a recogniser that serves live streams if the folder can, else one for files that notes why it cannot."""
    from auricle.fastconformer.streaming.latency import latency_classes
    from auricle.fastconformer.streaming.streams import LiveStreams

    try:
        classes = latency_classes(model.config)
    except UnsupportedError as error:
        return FastConformerRecognizer(model, replace(info, notes=(*info.notes, f"files only: {error.value}")), tracer)
    streaming = streaming_info(model.config, classes, "fp32")  # state is in single precision in every export
    streams = LiveStreams(model, streaming.slots, tracer=tracer)
    return FastConformerStreamingRecognizer(model, replace(info, streaming=streaming), tracer, streams)


def _describe(model: OrtFastConformer, name: str, folder: Path, threads: int, device: str) -> ModelInfo:
    features: set[Feature] = {"word_times", "confidence"}
    if next(iter(model.decoders)) == "transducer":
        features.add("keywords")
    ran = ", ".join(f"{count} by {provider}" for provider, count in model.kernels.most_common())
    return ModelInfo(
        engine=OnnxEngine.name,
        name=name,
        family=family_name(model.config),
        languages=(),
        sample_rate=model.config.features.sample_rate,
        device=device,
        precision=precision_of(model.weights),
        provider=session.PROVIDERS[device],
        parameters=model.parameters,
        weights=tuple(WeightGroup(one.dtype, one.count, one.bytes) for one in model.weights),
        files=tuple(sorted(file.name for file in folder.iterdir() if file.name in model.manifest.files)),
        threads=threads,
        max_audio_s=min(LONGEST_S, longest_s(model.config)),
        features=frozenset(features),
        notes=(f"operators in a first run: {ran}",),
    )


ENGINE = OnnxEngine()
