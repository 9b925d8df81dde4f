"""Writes a model into a folder of graphs, in the layout of the program that is to load them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.errors import UnsupportedError
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.export import decoders
from auricle.fastconformer.export.files import file_encoder
from auricle.fastconformer.export.foreign import (
    check_onnx_asr,
    onnx_asr_config,
    sherpa_live_encoder,
    sherpa_live_metadata,
    sherpa_metadata,
    token_table,
)
from auricle.fastconformer.export.graph import Graph, WeightsFile
from auricle.fastconformer.export.live import live_encoder
from auricle.fastconformer.export.manifest import (
    CTC,
    FEATURES,
    FILES,
    JOINT,
    LIVE,
    PREDICTION,
    PROJECTION,
    TOKENIZER,
    WEIGHTS,
    Manifest,
    Stored,
    sha256,
)
from auricle.fastconformer.network import filled
from auricle.fastconformer.streaming.latency import latency_classes
from auricle.fastconformer.transducer import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.config import TransducerConfig
    from auricle.fastconformer.export.manifest import ExportPrecision, Layout
    from auricle.fastconformer.network import Network
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.transducer import Joint


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write. `chunk_ms` is the one latency class of a layout that has no other, None for files.

    `kept` are the linear layers, by name, that stay in single precision in an int8 export; one of `layers.3` keeps all
    of that layer.
    """

    layout: Layout = "onnx"
    precision: ExportPrecision = "fp32"
    chunk_ms: int | None = None
    kept: Collection[str] = ()

    def quantises(self, name: str) -> bool:
        """Whether a linear layer is to be in int8: those of the encoder's layers that are not kept."""
        return self.precision == "int8" and name.startswith("layers.") and not any(
            name == one or name.startswith(f"{one}.") for one in self.kept
        )  # fmt: skip


def write(archive: Archive, source: Path, folder: Path, plan: Plan) -> Manifest:
    """Write the graphs of a model into an empty folder, and its manifest.

    Raises UnsupportedError naming the option of the model, or of the plan, that the layout cannot hold.
    """
    config = archive.config
    if config.prompts is not None:
        raise UnsupportedError("a model that is told its language cannot be exported", source.name, "serve it in torch")
    network = filled(config, archive.weights)
    with torch.inference_mode(), WeightsFile(folder / WEIGHTS) as weights:
        _Writer(archive, network, folder, plan, weights).write()
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for dtype, count, size in weights.stored:
        counts[dtype] += count
        sizes[dtype] += size
    manifest = Manifest.current(
        layout=plan.layout,
        source=source.name,
        source_sha256=sha256(source) if source.is_file() else "",
        precision=plan.precision,
        config=config,
        context=config.encoder.contexts[0],
        parameters=sum(value.numel() for value in network.parameters()),
        weights=[Stored(dtype=one, count=counts[one], bytes=size) for one, size in sizes.most_common()],
        kept=tuple(plan.kept),
    )
    return manifest.seal(folder)


class _Writer:
    def __init__(self, archive: Archive, network: Network, folder: Path, plan: Plan, weights: WeightsFile) -> None:
        self._archive, self._config, self._network = archive, archive.config, network
        self._folder, self._plan, self._weights = folder, plan, weights

    def write(self) -> None:
        {"onnx": self._own, "sherpa-onnx": self._sherpa, "onnx-asr": self._onnx_asr}[self._plan.layout]()

    def _own(self) -> None:
        config, network = self._config, self._network
        if self._plan.chunk_ms is not None:
            what = "this layout holds one graph for all chunk sizes, so none can be chosen"
            raise UnsupportedError(what, self._plan.chunk_ms, "leave it out")
        (self._folder / TOKENIZER).write_bytes(self._archive.tokenizer)
        bank = network.preprocessor.featurizer
        np.savez(self._folder / FEATURES, window=bank.window.numpy(), fb=bank.fb.numpy())
        self._graph(FILES, self._file_encoder)
        try:
            classes = latency_classes(config)
        except UnsupportedError:
            classes = ()
        if classes:
            self._graph(LIVE, lambda g: live_encoder(g, network.encoder, config.encoder, classes))
        if config.transducer is not None:
            parts = self._transducer()
            self._graph(PREDICTION, lambda g: decoders.prediction(g, *parts))
            self._graph(PROJECTION, lambda g: decoders.projection(g, parts[2]))
            self._graph(JOINT, lambda g: decoders.joint(g, parts[0], parts[2]))
        head = network.decoder if isinstance(network.decoder, CtcHead) else network.ctc_decoder
        if head is not None:
            self._graph(CTC, lambda g: decoders.ctc(g, head, config.encoder.width, config.vocabulary + 1))

    def _sherpa(self) -> None:
        (self._folder / "tokens.txt").write_text(token_table(self._archive), encoding="utf-8")
        config = self._config
        if config.transducer is None:
            self._ctc("model.onnx", sherpa_metadata(config))
            return
        if self._plan.chunk_ms is None:
            self._graph("encoder.onnx", self._file_encoder, sherpa_metadata(config))
        else:
            latency = self._latency(self._plan.chunk_ms)
            write = partial(sherpa_live_encoder, encoder=self._network.encoder, config=config.encoder, latency=latency)
            self._graph("encoder.onnx", write, sherpa_live_metadata(config, self._network.encoder, latency))
        parts = self._transducer()
        self._graph("decoder.onnx", lambda g: decoders.nemo_decoder(g, *parts[:2]))
        self._graph("joiner.onnx", lambda g: decoders.nemo_joint(g, parts[0], parts[2], config.encoder.width))

    def _onnx_asr(self) -> None:
        config = self._config
        check_onnx_asr(config, self._plan.chunk_ms)
        (self._folder / "vocab.txt").write_text(token_table(self._archive), encoding="utf-8")
        (self._folder / "config.json").write_text(json.dumps(onnx_asr_config(config)), encoding="utf-8")
        if config.transducer is None:
            self._ctc("model.onnx", {})
            return
        self._graph("encoder-model.onnx", self._file_encoder)
        parts, width = self._transducer(), config.encoder.width
        self._graph("decoder_joint-model.onnx", lambda g: decoders.nemo_decoder_joint(g, *parts, width))

    def _file_encoder(self, g: Graph) -> None:
        config = self._config.encoder
        file_encoder(g, self._network.encoder, config, config.contexts[0])

    def _ctc(self, name: str, metadata: Mapping[str, object]) -> None:
        config, head = self._config, self._network.decoder
        assert isinstance(head, CtcHead)  # noqa: S101  a model without a transducer has it

        def write(g: Graph) -> None:
            encoder = config.encoder
            file_encoder(g, self._network.encoder, encoder, encoder.contexts[0], outputs=False)
            decoders.ctc(g, head, encoder.width, config.vocabulary + 1, "outputs")

        self._graph(name, write, metadata)

    def _graph(self, name: str, write: Callable[[Graph], None], metadata: Mapping[str, object] | None = None) -> None:
        graph = Graph(name.removesuffix(".onnx"), self._weights, self._plan.quantises)
        write(graph)
        graph.save(self._folder / name, metadata or {})

    def _latency(self, chunk_ms: int) -> LatencyClass:
        classes = {one.chunk_ms: one for one in latency_classes(self._config)}
        if chunk_ms not in classes:
            known = ", ".join(map(str, classes))
            raise UnsupportedError("the model has no chunk of this many ms", chunk_ms, f"choose from {known}")
        return classes[chunk_ms]

    def _transducer(self) -> tuple[TransducerConfig, Predictor, Joint]:
        config, predictor, joint = self._config.transducer, self._network.decoder, self._network.joint
        assert config is not None and joint is not None and isinstance(predictor, Predictor)  # noqa: S101, PT018
        return config, predictor, joint
