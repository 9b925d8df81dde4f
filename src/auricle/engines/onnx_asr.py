"""NeMo's exports by onnx-asr: CTC, RNN-T and TDT graphs as `model.export()` writes them, for files.

In a child process, because ONNX Runtime may end the one it is in, and keeps memory.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.engines.checks import check_choices
from auricle.engines.contract import ModelInfo, Support, WeightGroup
from auricle.engines.library import ONE_AT_A_TIME, ChildRunner, LibraryRecognizer, device_index
from auricle.engines.onnx_asr_folder import CONFIG, SUFFIXES, VOCABULARY, check_features, find_model
from auricle.engines.onnx_asr_service import Plan
from auricle.engines.precisions import precision_of
from auricle.errors import EngineError, ModelError, NotInstalledError, UnsupportedError
from auricle.models.onnx_graph import read_graph
from auricle.tensors.telemetry import keep_telemetry_off

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.engines.contract import LoadOptions
    from auricle.models.onnx_graph import GraphFacts
    from auricle.trace import Tracer

SERVICE = "auricle.engines.onnx_asr_service:OnnxAsrService"
SAMPLE_RATE = 16_000
LONGEST_S = 60.0
"""Attention takes memory with the square of the length."""
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
REMEDY = 'pip install "auricle[onnx-asr]"'
PRECISIONS = tuple(one for one in SUFFIXES if one is not None)


class OnnxAsrEngine:
    """Loads local folders; downloads nothing."""

    name = "onnx-asr"

    def support(self) -> list[Support]:
        """What ONNX Runtime offers here."""
        if find_spec("onnx_asr") is None:
            reason = "onnx-asr is not installed"
            return [Support("cpu", one, usable=False, reason=reason, remedy=REMEDY) for one in PRECISIONS]
        there = _providers()
        rows = [Support("cpu", one, usable=True) for one in PRECISIONS]
        if PROVIDERS["cuda"] in there:
            return [*rows, *(Support("cuda", one, usable=True) for one in ("fp32", "fp16"))]
        reason = "ONNX Runtime was built without CUDA"
        return [*rows, Support("cuda", "fp32", usable=False, reason=reason, remedy="pip install onnxruntime-gpu")]

    def load(self, options: LoadOptions, tracer: Tracer) -> LibraryRecognizer:
        """Load the model in the folder `options.model`."""
        check_choices("onnx-asr", options)
        index = None if options.device == "cpu" else device_index(options.device)
        if options.device != "cpu" and index is None:
            raise UnsupportedError("onnx-asr is run on no such device", options.device, "use cpu, cuda or cuda:N")
        if options.precision not in SUFFIXES:
            known = ", ".join(PRECISIONS)
            raise UnsupportedError("onnx-asr has no such precision", options.precision, f"use {known}")
        if find_spec("onnx_asr") is None:
            raise NotInstalledError("onnx-asr is not installed", "onnx_asr", REMEDY)
        provider = PROVIDERS["cpu" if index is None else "cuda"]
        if provider not in _providers():
            raise UnsupportedError("ONNX Runtime has no such provider", provider, "pip install onnxruntime-gpu")
        if options.model is None:
            raise ModelError("the onnx-asr engine carries no model", None, "give the folder of an export")
        found = find_model(options.model, options.precision)
        facts = [read_graph(graph) for graph in found.graphs]
        for graph, fact in zip(found.graphs, facts, strict=True):
            check_features({one.name for one in fact.inputs}, fact.metadata, graph)
        weights = _weights(facts)
        threads = options.threads or 1
        plan = Plan(str(found.folder), found.kind, found.quantization, provider, index or 0, threads)
        runner = ChildRunner(self.name, SERVICE, (plan,), tracer)
        try:
            runner.call("ready")
        except EngineError as error:
            what = f"onnx-asr cannot load this model: {error.what}"
            raise ModelError(what, f"{found.folder}: {error.value}", "export it again") from error
        info = ModelInfo(
            engine=self.name,
            name=options.model_name or found.folder.name,
            family=found.kind,
            languages=(),
            sample_rate=SAMPLE_RATE,
            device=options.device,
            precision=precision_of(weights),
            provider=provider,
            parameters=sum(group.count for group in weights),
            weights=weights,
            files=(*(graph.name for graph in found.graphs), VOCABULARY, CONFIG),
            threads=threads,
            max_audio_s=LONGEST_S,
            features=frozenset({"word_times"}),
            notes=(
                ONE_AT_A_TIME,
                "a streaming model's export without caches and metadata cannot be told apart, and is misheard",
                "a word ends one frame after its last token begins",
            ),
        )
        return LibraryRecognizer(info, runner)


def _providers() -> Sequence[str]:
    keep_telemetry_off()
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def _weights(graphs: Sequence[GraphFacts]) -> tuple[WeightGroup, ...]:
    groups: dict[str, WeightGroup] = {}
    for one in (stored for graph in graphs for stored in graph.weights):
        before = groups.get(one.dtype, WeightGroup(one.dtype, 0, 0))
        groups[one.dtype] = WeightGroup(one.dtype, before.count + one.count, before.bytes + one.bytes)
    return tuple(sorted(groups.values(), key=lambda group: -group.bytes))


ENGINE = OnnxAsrEngine()
