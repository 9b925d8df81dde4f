"""The engine of Auricle's own FastConformer runtime: `.nemo` archives of NeMo, without NeMo."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auricle.engines.checks import check_local
from auricle.engines.contract import PRECISIONS, ModelInfo, Support, WeightGroup
from auricle.engines.fastconformer_device import cuda_device, cuda_support, serve_on_device
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer, streaming_info
from auricle.engines.fastconformer_recognizer import FastConformerRecognizer
from auricle.engines.pool import usable_cpus
from auricle.engines.precisions import precision_of, whole
from auricle.engines.torch_threads import THREADS
from auricle.errors import NotInstalledError, UnsupportedError
from auricle.fastconformer.describe import family_name
from auricle.fastconformer.loading import check_installed, find_archive, load
from auricle.fastconformer.memory import longest_s
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.tuning import Tuning, tune_process
from auricle.models.catalogue import catalogue
from auricle.models.store import shipped_path
from auricle.turns import Turns

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import Feature, LoadOptions, Precision
    from auricle.fastconformer.model import FastConformer
    from auricle.trace import Tracer

DEFAULT_MODEL = "auricle-digits-en"
"""The one that comes with Auricle."""


class FastConformerEngine:
    """Loads archives on the CPU or a CUDA device, in single precision or in a smaller one."""

    name = "fastconformer"

    def support(self) -> list[Support]:
        """The CPU and CUDA with their precisions; unusable where a package or a card is missing, or it cannot."""
        try:
            check_installed()
        except NotInstalledError as error:
            reason = f"{error.what}: {error.value}"
            return [Support("cpu", one, usable=False, reason=reason, remedy=error.remedy) for one in PRECISIONS]
        return [*(_support(precision) for precision in PRECISIONS), *cuda_support()]

    def load(self, options: LoadOptions, tracer: Tracer) -> FastConformerRecognizer:
        """Load an archive, or the one alone in a folder; without a model the one that comes with Auricle."""
        check_local(self.name, options)
        check_installed()
        device = None if options.device == "cpu" else cuda_device(options.device)
        if device is not None:
            tune_process(Tuning())  # before the first tensor is there
        precision = whole("the fastconformer engine", options.precision) or "fp32"
        name, path = options.model_name, options.model
        if path is None:
            name, path = DEFAULT_MODEL, shipped_path(f"{DEFAULT_MODEL}.nemo")
        path = find_archive(path)
        threads = THREADS.hold(options.threads)
        try:
            model = load(path, precision, 1 if options.beam is None else options.beam, options.local_attention, device)
            info = _describe(model, name or path.stem, path, threads, options.device)
            notes = info.notes if options.beam is None else (*info.notes, f"a beam of {options.beam}")
            if options.local_attention is not None:
                notes = (*notes, f"local attention to {options.local_attention} frames on each side")
            info = replace(info, converted=precision != "fp32", notes=notes)
            return _serve(model, info, tracer, options.replicas)
        except BaseException:
            THREADS.give_back()
            raise


def _support(precision: Precision) -> Support:
    from auricle.tensors.packed import largest_weight

    try:
        if precision == "int8":
            largest_weight()
    except UnsupportedError as error:
        return Support("cpu", precision, usable=False, reason=error.what, remedy=error.remedy)
    return Support("cpu", precision, usable=True)


def _serve(model: FastConformer, info: ModelInfo, tracer: Tracer, replicas: int) -> FastConformerRecognizer:
    """Return a recogniser that serves live streams if the model can, else one for files that notes why it cannot."""
    from auricle.fastconformer.device.whole import DeviceFastConformer
    from auricle.fastconformer.streaming.streams import LiveStreams

    if isinstance(model, DeviceFastConformer):
        return serve_on_device(model, info, tracer, replicas)
    try:
        classes = latency_classes(model.config)
    except UnsupportedError as error:
        return FastConformerRecognizer(model, replace(info, notes=(*info.notes, f"files only: {error.value}")), tracer)
    streaming = streaming_info(model.config, classes, model.precision, model.beam, replicas)
    streams = LiveStreams(model, streaming.slots, tracer=tracer)
    turns = Turns() if 2 * (info.threads or 1) > usable_cpus() else None  # else each has cores of its own
    return FastConformerStreamingRecognizer(model, replace(info, streaming=streaming), tracer, streams, turns)


def _describe(model: FastConformer, name: str, path: Path, threads: int, device: str) -> ModelInfo:
    config = model.config
    entry = catalogue().get(name)
    languages = entry.languages if entry is not None and FastConformerEngine.name in entry.engines else None
    # A model of several languages tells them apart itself and takes no wish, unless it has prompts.
    known: tuple[str, ...] = languages if languages is not None and len(languages) == 1 else ()
    if config.prompts is not None:
        known = tuple(name for name, _ in config.prompts.languages)
    return ModelInfo(
        engine=FastConformerEngine.name,
        name=name,
        family=family_name(config),
        languages=known,
        sample_rate=config.features.sample_rate,
        device=device,
        precision=precision_of(model.trained),
        parameters=model.parameters,
        weights=tuple(WeightGroup(one.dtype, one.count, one.bytes) for one in model.weights),
        files=(path.name,),
        threads=threads,
        max_audio_s=longest_s(config, model.precision),
        features=_features(model, has_language=bool(known)),
        notes=(
            "torch has one number of threads in a process: all its models here compute with it",
            "linear layers run by " + ", ".join(f"{kernel} ({count})" for kernel, count in model.kernels.most_common()),
        ),
    )


def _features(model: FastConformer, *, has_language: bool) -> frozenset[Feature]:
    features: set[Feature] = {"word_times", "confidence"}
    if has_language:
        features.add("language")
    if next(iter(model.decoders)) == "transducer":
        features.add("keywords")
    return frozenset(features)


ENGINE = FastConformerEngine()
