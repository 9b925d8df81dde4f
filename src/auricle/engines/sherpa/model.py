"""Opens a model folder without sherpa-onnx: what is in it, and whether the library would live through loading it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from auricle.engines.contract import WeightGroup
from auricle.engines.precisions import precision_of
from auricle.engines.sherpa.kinds import (
    EXPORT_AGAIN,
    SENSE_VOICE_LANGUAGES,
    check_graph,
    numbers,
    recognise,
    whole_number,
)
from auricle.engines.sherpa.layout import find_layout
from auricle.engines.sherpa.tokens import read_tokens
from auricle.errors import ModelError, UnsupportedError
from auricle.models.onnx_graph import read_graph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auricle.engines.contract import Precision
    from auricle.engines.sherpa.kinds import Kind
    from auricle.engines.sherpa.layout import Layout
    from auricle.engines.sherpa.tokens import Tokens
    from auricle.models.onnx_graph import GraphFacts

DEFAULT_FEATURE_DIM = 80
FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class SherpaModel:
    """A checked model: its kind, its files and what they hold, `graphs` by role."""

    kind: Kind
    layout: Layout
    graphs: Mapping[str, GraphFacts]
    tokens: Tokens

    @property
    def main(self) -> GraphFacts:
        """The graph that carries the metadata."""
        return self.graphs[self.kind.main]

    @property
    def files(self) -> dict[str, str]:
        """The file name of each graph by role."""
        return {role: chosen.path.name for role, chosen in self.layout.graphs.items()}

    @property
    def weights(self) -> tuple[WeightGroup, ...]:
        """What the graphs store, constants included, by data type; the largest first."""
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for facts in self.graphs.values():
            for stored in facts.weights:
                counts[stored.dtype] += stored.count
                sizes[stored.dtype] += stored.bytes
        return tuple(WeightGroup(dtype, counts[dtype], size) for dtype, size in sizes.most_common())

    @property
    def precision(self) -> str:
        """What the weights really are: `fp32`, or `int8+fp32` when both take more than one byte in a hundred."""
        return precision_of(self.weights)

    @property
    def feature_dim(self) -> int:
        """Mel bands that the main graph takes."""
        shape = self.main.inputs[0].shape
        axis = 1 if self.kind.is_nemo else 2
        found = shape[axis] if len(shape) > axis else None
        declared = self.main.metadata.get("feat_dim")
        return found if isinstance(found, int) else int(declared or DEFAULT_FEATURE_DIM)

    @property
    def is_tdt(self) -> bool:
        """Whether the joiner gives durations beside tokens; sherpa-onnx tells it by the metadata key `url`."""
        return self.kind.name == "nemo-transducer" and "tdt" in self.main.metadata.get("url", "")

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that can be asked for."""
        if self.kind.name == "sense-voice":
            return SENSE_VOICE_LANGUAGES
        if self.kind.name != "whisper":
            return ()
        if not self.number("is_multilingual"):
            return ("en",)
        return tuple(self.main.metadata["all_language_codes"].split(","))

    @property
    def state_bytes(self) -> int | None:
        """Memory that one live stream's encoder state takes, None when the graph leaves its size open."""
        sizes = [self._state_size(index) for index in range(1, len(self.main.inputs))]
        return sum(size for size in sizes if size is not None) if None not in sizes else None

    def number(self, key: str) -> int:
        """Read a whole number from the metadata of the main graph."""
        return whole_number(self.main, key, self.files[self.kind.main])

    def _state_size(self, index: int) -> int | None:
        tensor = self.main.inputs[index]
        dims = [self.main.metadata.get(f"{tensor.name}_dim{axis}") for axis in (1, 2, 3)]
        if all(dims):
            return FLOAT32_BYTES * prod(int(dim) for dim in dims if dim)
        known = [dim for dim in tensor.shape if isinstance(dim, int)]
        return FLOAT32_BYTES * prod(known) if len(known) >= len(tensor.shape) - 1 else None


def open_model(folder: Path, device: str, precision: Precision | None) -> SherpaModel:
    """Find, read and check the model in `folder`.

    Raises ModelError for what would end the library's process, UnsupportedError for a precision that is not there.
    """
    layout = find_layout(folder, device, precision)
    graphs = {role: read_graph(chosen.path) for role, chosen in layout.graphs.items()}
    files = {role: chosen.path.name for role, chosen in layout.graphs.items()}
    kind = recognise(graphs, files)
    for role, rule in kind.graphs.items():
        check_graph(rule, graphs[role], files[role])
    model = SherpaModel(kind, layout, graphs, read_tokens(layout.tokens))
    _check_precision(model, precision)
    _check_details(model)
    return model


def _check_precision(model: SherpaModel, wanted: Precision | None) -> None:
    """Check that the main graph holds what was asked for; beside int8 and fp16 the rest may be float."""
    if wanted is None or (wanted == model.precision == "fp32"):
        return
    held = {role: precision_of(facts.weights) for role, facts in model.graphs.items()}
    main = held[model.kind.main].split("+")
    if wanted == "fp32" or wanted not in main or (wanted == "fp16" and "int8" in main):
        told = ", ".join(f"{model.files[role]} holds {precision}" for role, precision in held.items())
        raise UnsupportedError(f"the model has no {wanted} weights", told, "ask for what it holds, or for no precision")


def _check_details(model: SherpaModel) -> None:
    """Check what the library checks, and what it should."""
    name = model.kind.name
    if model.kind.is_nemo:
        _check_normalisation(model)
    if name in {"nemo-transducer", "nemo-streaming-transducer"}:
        _check_nemo_joiner(model)
        model.tokens.check_count(model.number("vocab_size") + 1, exactly=True)
        model.tokens.check_blank(last=True)
    elif model.kind.is_transducer:
        decoder = model.graphs["decoder"]
        model.tokens.check_count(whole_number(decoder, "vocab_size", model.files["decoder"]), exactly=False)
    elif name == "whisper":
        _check_whisper(model)
    else:
        width = model.main.outputs[0].shape[-1:]
        if width and isinstance(width[0], int):
            model.tokens.check_count(width[0], exactly=False)
        if name == "sense-voice":
            _check_sense_voice(model)
        else:
            model.tokens.check_blank()
    if name.startswith("zipformer2-streaming"):
        _check_zipformer2(model)


def _check_normalisation(model: SherpaModel) -> None:
    found = model.main.metadata.get("normalize_type", "")
    if found not in {"", "NA", "per_feature"}:
        raise ModelError("sherpa-onnx does not know normalize_type", found, "it knows per_feature and an empty value")
    if model.kind.live and found == "per_feature":
        raise UnsupportedError(
            "sherpa-onnx does not normalise the features of a streaming model, which this one needs",
            f"normalize_type {found}",
            "use the model offline, or one that was trained without normalisation",
        )


def _check_nemo_joiner(model: SherpaModel) -> None:
    width = model.graphs["joiner"].outputs[0].shape[-1:]
    tokens = model.number("vocab_size") + 1
    if not width or not isinstance(width[0], int):
        raise ModelError(f"{model.files['joiner']} leaves the size of its output open", width, EXPORT_AGAIN)
    if model.is_tdt and width[0] <= tokens:
        raise ModelError("the metadata key url names a TDT model, the joiner has no durations", width[0], EXPORT_AGAIN)
    if not model.is_tdt and width[0] != tokens:
        raise ModelError(
            f"{model.files['joiner']} has {width[0]} outputs for {tokens} tokens",
            model.layout.folder,
            "a TDT model must have `tdt` in the metadata key url of its encoder, else the numbers must be equal",
        )


def _check_whisper(model: SherpaModel) -> None:
    if not model.number("is_multilingual"):
        return
    name, metadata = model.files["encoder"], model.main.metadata
    missing = [key for key in ("all_language_tokens", "all_language_codes") if not metadata.get(key)]
    if missing:
        raise ModelError(f"metadata of {name} lacks", ", ".join(missing), EXPORT_AGAIN)
    codes = metadata["all_language_codes"].split(",")
    if len(numbers(model.main, "all_language_tokens", name)) != len(codes):
        raise ModelError("all_language_tokens and all_language_codes differ in length", name, EXPORT_AGAIN)


def _check_sense_voice(model: SherpaModel) -> None:
    wanted = DEFAULT_FEATURE_DIM * model.number("lfr_window_size")
    for key in ("neg_mean", "inv_stddev"):
        found = len(numbers(model.main, key, model.files["model"]))
        if found != wanted:
            raise ModelError(f"metadata key {key} must have {wanted} numbers", found, EXPORT_AGAIN)


def _check_zipformer2(model: SherpaModel) -> None:
    name = model.files[model.kind.main]
    vectors = {key: numbers(model.main, key, name) for key in model.kind.graphs[model.kind.main].vectors}
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise ModelError(f"metadata of {name}: these must have the same length", ", ".join(vectors), EXPORT_AGAIN)
    wanted = 3 + 6 * int(sum(vectors["num_encoder_layers"]))
    if len(model.main.inputs) != wanted or len(model.main.outputs) != wanted:
        found = f"{len(model.main.inputs)} and {len(model.main.outputs)}"
        raise ModelError(f"{name} must have {wanted} inputs and outputs", found, EXPORT_AGAIN)
