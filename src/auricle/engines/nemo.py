"""NeMo itself as an engine, for parity: `.nemo` archives in NeMo's own classes, live in its cache-aware pipeline.

In this process, by one caller at a time: a call of `transcribe` changes the model (it leaves the encoder in training
mode, where the next call is random, unless `eval` follows) and is not safe between threads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.engines.checks import check_choices
from auricle.engines.contract import ModelInfo, Support, WeightGroup
from auricle.engines.library import ONE_AT_A_TIME, LibraryRecognizer, LocalRunner, device_index
from auricle.engines.nemo_live import NemoStreamingRecognizer, build_pipeline, streaming_info
from auricle.engines.nemo_service import NemoService
from auricle.engines.precisions import precision_of
from auricle.engines.torch_threads import THREADS
from auricle.errors import ModelError, NotInstalledError, UnsupportedError
from auricle.fastconformer.loading import find_archive

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import LoadOptions
    from auricle.trace import Tracer

LONGEST_S = 60.0
"""Attention takes memory with the square of the length."""
REMEDY = 'pip install "nemo-toolkit[asr]>=3" in an environment of its own'


class NemoEngine:
    """Loads archives on the CPU or a CUDA card, in single precision."""

    name = "nemo"

    def support(self) -> list[Support]:
        """Usable where NeMo is installed."""
        if not is_installed():
            return [Support("cpu", "fp32", usable=False, reason="NeMo is not installed", remedy=REMEDY)]
        import torch

        rows = [Support("cpu", "fp32", usable=True)]
        if torch.cuda.is_available():
            return [*rows, Support("cuda", "fp32", usable=True)]
        return [*rows, Support("cuda", "fp32", usable=False, reason="torch finds no CUDA device here")]

    def load(self, options: LoadOptions, tracer: Tracer) -> LibraryRecognizer:
        """Load an archive, or the one alone in a folder."""
        check_choices("nemo", options)
        if not is_installed():
            raise NotInstalledError("NeMo is not installed", "nemo", REMEDY)
        if options.device != "cpu":
            _check_device(options.device)
        if options.precision not in {None, "fp32"}:
            raise UnsupportedError("NeMo is run in one precision here", options.precision, "use fp32")
        if options.model is None:
            raise ModelError("the nemo engine carries no model", None, "give a .nemo archive")
        path = find_archive(options.model)
        threads = THREADS.hold(options.threads)
        try:
            service = NemoService(path, options.device, tracer)
        except BaseException:
            THREADS.give_back()
            raise
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for dtype, count, size in service.weights():
            counts[dtype] += count
            sizes[dtype] += size
        weights = tuple(WeightGroup(dtype, counts[dtype], size) for dtype, size in sizes.most_common())
        info = ModelInfo(
            engine=self.name,
            name=options.model_name or path.stem,
            family=service.family,
            languages=(),
            sample_rate=service.sample_rate,
            device=options.device,
            precision=precision_of(weights),
            provider="torch",
            parameters=sum(counts.values()),
            weights=weights,
            files=(path.name,),
            threads=threads,
            max_audio_s=LONGEST_S,
            features=frozenset({"word_times"}),
            notes=(ONE_AT_A_TIME, "torch has one number of threads in a process: all its models here compute with it"),
        )
        runner = LocalRunner(service)
        try:
            return _serve(info, runner, service, path, tracer)
        except BaseException:
            runner.stop()
            raise


def _serve(info: ModelInfo, runner: LocalRunner, service: NemoService, path: Path, tracer: Tracer) -> LibraryRecognizer:
    """Return a recogniser that serves live streams, where NeMo's cache-aware pipeline can."""
    if not service.is_cache_aware:
        return LibraryRecognizer(info, runner)
    pipeline = build_pipeline(path, info.device, info.sample_rate)
    live = "live streams have no word times; their model is loaded a second time"
    info = replace(info, streaming=streaming_info(pipeline), notes=(*info.notes, live))
    return NemoStreamingRecognizer(info, runner, pipeline, tracer)


def is_installed() -> bool:
    """Whether NeMo's speech models can be imported, without doing so."""
    return find_spec("nemo") is not None and find_spec("nemo.collections") is not None


def _check_device(device: str) -> None:
    import torch

    index = device_index(device)
    if index is None:
        raise UnsupportedError("NeMo is run on no such device here", device, "use cpu, cuda or cuda:N")
    if index >= torch.cuda.device_count():
        raise UnsupportedError("torch finds no such CUDA device", device, "see `auricle doctor`")


ENGINE = NemoEngine()
