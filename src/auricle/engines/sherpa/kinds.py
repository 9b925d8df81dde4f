"""The kinds of model that the engine runs, told apart by graphs and metadata, and what sherpa-onnx needs of each.

The library reads these metadata keys without asking whether they are there, and indexes inputs and outputs by number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auricle.models.onnx_graph import GraphFacts

EXPORT_AGAIN = "export the model again with the script that sherpa-onnx has for it"
_LIVE_KEYS = frozenset({"window_size", "chunk_shift", "decode_chunk_len", "T", "cache_last_channel_dim1"})
_STATE_INPUT = "cache"


@dataclass(frozen=True, slots=True)
class GraphRule:
    """What one graph must have: how many inputs, how many outputs (one of), and metadata.

    `positive` and `integers` are keys of whole numbers, `vectors` of comma-separated numbers.
    """

    inputs: int | None
    outputs: tuple[int, ...] | None
    positive: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model: a pattern for the `model_type` of its main graph, and one rule for each of its graphs."""

    name: str
    model_type: str
    graphs: Mapping[str, GraphRule]
    live: bool = False

    @property
    def is_nemo(self) -> bool:
        """Whether the graphs come from NVIDIA NeMo, whose features have frames along the last axis."""
        return self.name.startswith("nemo")

    @property
    def is_transducer(self) -> bool:
        """Whether a joiner decides the next token."""
        return "joiner" in self.graphs

    @property
    def main(self) -> str:
        """The role of the graph that carries the metadata."""
        return "encoder" if "encoder" in self.graphs else "model"


_NEMO_RNNT = r"EncDec\w*(RNNT|Hybrid)\w*"
_NEMO_CTC = r"EncDec\w*(CTC|Hybrid)\w*"
_NEMO_PREDICTOR = ("pred_rnn_layers", "pred_hidden")
_NEMO_JOINT = {"decoder": GraphRule(4, (4,)), "joiner": GraphRule(2, (1,))}
_NEMO_LIVE = (
    "window_size",
    "chunk_shift",
    "subsampling_factor",
    "vocab_size",
    *(f"cache_last_{what}_dim{axis}" for what in ("channel", "time") for axis in (1, 2, 3)),
)
_ZIPFORMER_JOINT = {
    "decoder": GraphRule(1, (1,), positive=("vocab_size", "context_size")),
    "joiner": GraphRule(2, (1,)),
}
_ZIPFORMER2_LIVE = GraphRule(
    None,
    None,
    positive=("T", "decode_chunk_len"),
    vectors=(
        *("encoder_dims", "query_head_dims", "value_head_dims", "num_heads", "num_encoder_layers"),
        *("cnn_module_kernels", "left_context_len"),
    ),
)
_WHISPER_ENCODER = GraphRule(
    1,
    (2,),
    positive=("n_mels", "n_text_layer", "n_text_ctx", "n_text_state", "n_vocab"),
    integers=("sot", "eot", "blank_id", "translate", "transcribe", "is_multilingual", "no_timestamps", "no_speech"),
    vectors=("sot_sequence",),
)
SENSE_VOICE_LANGUAGES = ("zh", "en", "ja", "ko", "yue")
_SENSE_VOICE = GraphRule(
    4,
    (1,),
    positive=("vocab_size", "lfr_window_size", "lfr_window_shift"),
    integers=(
        *("normalize_samples", "with_itn", "without_itn", "lang_auto"),
        *(f"lang_{language}" for language in SENSE_VOICE_LANGUAGES),
    ),
    vectors=("neg_mean", "inv_stddev"),
)

KINDS = (
    Kind(
        "nemo-transducer",
        _NEMO_RNNT,
        {"encoder": GraphRule(2, (2,), positive=("vocab_size", "subsampling_factor", *_NEMO_PREDICTOR)), **_NEMO_JOINT},
    ),
    Kind("zipformer-transducer", r"conformer|zipformer2?", {"encoder": GraphRule(2, (2,)), **_ZIPFORMER_JOINT}),
    Kind("nemo-ctc", _NEMO_CTC, {"model": GraphRule(2, (1, 2), positive=("vocab_size", "subsampling_factor"))}),
    Kind("zipformer-ctc", r"zipformer2_ctc", {"model": GraphRule(2, (2,))}),
    Kind("whisper", r"whisper.*", {"encoder": _WHISPER_ENCODER, "decoder": GraphRule(6, (3, 4))}),
    Kind("sense-voice", r"sense_voice_ctc", {"model": _SENSE_VOICE}),
    Kind(
        "nemo-streaming-transducer",
        _NEMO_RNNT,
        {"encoder": GraphRule(5, (5,), positive=(*_NEMO_LIVE, *_NEMO_PREDICTOR)), **_NEMO_JOINT},
        live=True,
    ),
    Kind("nemo-streaming-ctc", _NEMO_CTC, {"model": GraphRule(5, (5,), positive=_NEMO_LIVE)}, live=True),
    Kind(
        "zipformer2-streaming-transducer", r"zipformer2", {"encoder": _ZIPFORMER2_LIVE, **_ZIPFORMER_JOINT}, live=True
    ),
    Kind("zipformer2-streaming-ctc", r"zipformer2(_ctc)?", {"model": _ZIPFORMER2_LIVE}, live=True),
)


def recognise(graphs: Mapping[str, GraphFacts], files: Mapping[str, str]) -> Kind:
    """Tell the kind of the graphs by role; `files` names them in errors. Raises ModelError for an unknown kind."""
    main = "encoder" if "encoder" in graphs else "model"
    if main not in graphs:
        raise ModelError("an encoder is missing beside", ", ".join(files.values()), EXPORT_AGAIN)
    metadata = graphs[main].metadata
    model_type = metadata.get("model_type", "")
    if not model_type:
        raise ModelError("metadata key model_type is missing", files[main], EXPORT_AGAIN)
    has_state = any(tensor.name.startswith(_STATE_INPUT) for tensor in graphs[main].inputs)
    live = has_state or not _LIVE_KEYS.isdisjoint(metadata)
    for kind in KINDS:
        if kind.graphs.keys() == graphs.keys() and kind.live == live and re.fullmatch(kind.model_type, model_type):
            return kind
    found = f"model_type {model_type}, {'streaming' if live else 'offline'}, graphs {' + '.join(files.values())}"
    raise ModelError("not a kind of model that this engine runs", found, f"it runs {', '.join(k.name for k in KINDS)}")


def check_graph(rule: GraphRule, facts: GraphFacts, name: str) -> None:
    """Raise ModelError unless the graph called `name` has the inputs, outputs and metadata of `rule`."""
    missing = [key for key in (*rule.positive, *rule.integers, *rule.vectors) if not facts.metadata.get(key)]
    if missing:
        raise ModelError(f"metadata of {name} lacks", ", ".join(missing), EXPORT_AGAIN)
    for key in (*rule.positive, *rule.integers):
        whole_number(facts, key, name, least=1 if key in rule.positive else 0)
    for key in rule.vectors:
        numbers(facts, key, name)
    _check_count(name, "inputs", len(facts.inputs), None if rule.inputs is None else (rule.inputs,))
    _check_count(name, "outputs", len(facts.outputs), rule.outputs)


def whole_number(facts: GraphFacts, key: str, name: str, *, least: int = 0) -> int:
    """Read a metadata value; raises ModelError unless it is a whole number of at least `least`."""
    value = facts.metadata[key].strip()
    if not (value.isascii() and value.isdigit() and int(value) >= least):
        raise ModelError(f"metadata key {key} of {name} must be a whole number from {least} on", value, EXPORT_AGAIN)
    return int(value)


def numbers(facts: GraphFacts, key: str, name: str) -> tuple[float, ...]:
    """Read a metadata value of comma-separated numbers; raises ModelError when it is anything else."""
    value = facts.metadata[key]
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ModelError(
            f"metadata key {key} of {name} must be numbers with commas", value[:40], EXPORT_AGAIN
        ) from None


def _check_count(name: str, what: str, found: int, allowed: tuple[int, ...] | None) -> None:
    if allowed is not None and found not in allowed:
        wanted = " or ".join(map(str, allowed))
        raise ModelError(f"{name} must have {wanted} {what}", found, EXPORT_AGAIN)
