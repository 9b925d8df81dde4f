"""The engine of torchaudio's Emformer RNN-T models, without torchaudio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from auricle.emformer.config import (
    FIRST_SAMPLES,
    SAMPLE_RATE_HZ,
    SEGMENT_SAMPLES,
    WINDOW_SAMPLES,
)
from auricle.emformer.files import find
from auricle.emformer.loading import check_installed, load
from auricle.engines.contract import PRECISIONS, ModelInfo, StreamingInfo, Support, WeightGroup
from auricle.engines.emformer_recognizer import LONGEST_S, EmformerRecognizer
from auricle.engines.torch_threads import THREADS
from auricle.errors import ModelError, NotInstalledError, UnsupportedError
from auricle.models.catalogue import catalogue

if TYPE_CHECKING:
    from auricle.emformer.files import ModelFiles
    from auricle.emformer.model import Emformer
    from auricle.engines.contract import LoadOptions
    from auricle.trace import Tracer

_MS_PER_S = 1000
_NUMBER_BYTES = 4

MOST_STREAMS = 4096
MEMORY_SHARE = 0.5
"""Of the machine's memory, what the state of all streams may take."""


class EmformerEngine:
    """Loads a folder of weights, global statistics and SentencePiece model on the CPU, in single precision."""

    name = "emformer"

    def support(self) -> list[Support]:
        """The CPU in fp32; unusable where a package is missing."""
        try:
            check_installed()
        except NotInstalledError as error:
            return [Support("cpu", "fp32", False, f"{error.what}: {error.value}", error.remedy)]
        return [Support("cpu", "fp32", usable=True)]

    def load(self, options: LoadOptions, tracer: Tracer) -> EmformerRecognizer:
        """Load a folder with a beam of `options.beam` hypotheses, ten for None."""
        check_installed()
        _check(options)
        if options.model is None:
            remedy = "auricle models pull emformer-rnnt-base-librispeech, or give the folder of its three files"
            raise ModelError("the emformer engine carries no model", None, remedy)
        files = find(options.model)
        threads = THREADS.hold(options.threads)
        try:
            model = load(files, options.beam)
            info = _describe(model, options.model_name or options.model.name, files, threads)
            return EmformerRecognizer(model, info, tracer)
        except BaseException:
            THREADS.give_back()
            raise


def _check(options: LoadOptions) -> None:
    if options.device != "cpu":
        raise UnsupportedError("the emformer engine computes on the CPU", options.device, "use cpu")
    if options.precision not in {None, "fp32"}:
        known = "" if options.precision in PRECISIONS else "such a "
        raise UnsupportedError(f"the emformer engine has no {known}precision", options.precision, "use fp32")
    if options.local_attention is not None:
        raise UnsupportedError("emformer has no local attention to choose", options.local_attention, "leave it out")


def _describe(model: Emformer, name: str, files: ModelFiles, threads: int) -> ModelInfo:
    entry = catalogue().get(name)
    languages = entry.languages if entry is not None and EmformerEngine.name in entry.engines else None
    features = {"word_times", "confidence"} | ({"language"} if languages else set())
    return ModelInfo(
        engine=EmformerEngine.name,
        name=name,
        family="Emformer RNN-T",
        languages=languages or (),
        sample_rate=SAMPLE_RATE_HZ,
        device="cpu",
        precision="fp32",
        parameters=model.parameters,
        weights=tuple(WeightGroup(kind, count, count * _NUMBER_BYTES) for kind, count in model.numbers.items()),
        files=files.names,
        threads=threads,
        max_audio_s=LONGEST_S,
        features=frozenset(features),  # type: ignore[arg-type]  # literals
        streaming=_streaming(model),
        notes=(
            "torch has one number of threads in a process: all its models here compute with it",
            "linear layers run by " + ", ".join(f"{kernel} ({count})" for kernel, count in model.kernels.most_common()),
            f"a beam of {model.beam}",
        ),
    )


def _streaming(model: Emformer) -> StreamingInfo:
    from auricle.emformer.streams import BLOCK, LiveStreams

    taken = LiveStreams(model, 0).bytes_per_slot
    return StreamingInfo(
        chunk_ms=(SEGMENT_SAMPLES * _MS_PER_S // SAMPLE_RATE_HZ,),
        lookahead_ms=(WINDOW_SAMPLES * _MS_PER_S / SAMPLE_RATE_HZ,),
        slots=max(1, min(MOST_STREAMS, int(MEMORY_SHARE * psutil.virtual_memory().total) // taken)),
        bytes_per_slot=(taken,),
        first_short=SEGMENT_SAMPLES - FIRST_SAMPLES,
        block=BLOCK,
    )


ENGINE = EmformerEngine()
