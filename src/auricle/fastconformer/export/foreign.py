"""The layouts that sherpa-onnx and onnx-asr load: their metadata, tables of tokens, and sherpa-onnx's live encoder.

sherpa-onnx hands the three caches of NeMo's live encoder from one chunk to the next without looking at them. So they
hold what this runtime keeps: `cache_last_channel` the rings of keys and values, `cache_last_time` everything else, and
`cache_last_channel_len` how many chunks were done.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auricle.errors import UnsupportedError
from auricle.fastconformer.config import SUBSAMPLING
from auricle.fastconformer.export.graph import INT64
from auricle.fastconformer.export.layers import END, joined, size_of
from auricle.fastconformer.export.live import Stream, run, shapes
from auricle.fastconformer.streaming.block import ENDLESS
from auricle.fastconformer.tokens import Tokenizer

if TYPE_CHECKING:
    from auricle.fastconformer.archive import Archive
    from auricle.fastconformer.config import EncoderConfig, FeatureConfig, ModelConfig
    from auricle.fastconformer.encoder import Encoder
    from auricle.fastconformer.export.graph import Graph
    from auricle.fastconformer.streaming.latency import LatencyClass

_EARLY = SUBSAMPLING - 1
"""Feature frames of a window that only the next chunk's frames see; they wait in the cache."""

_MODEL_TYPES = {
    "transducer": "EncDecRNNTBPEModel",
    "hybrid": "EncDecHybridRNNTCTCBPEModel",
    "ctc": "EncDecCTCModelBPE",
}
_ASR_TYPES = {False: "nemo-conformer-rnnt", True: "nemo-conformer-tdt"}
_ASR_MELS = (80, 128)
_ASR_WINDOW = (16_000, 400, 160, 512, 0.97)


def token_table(archive: Archive) -> str:
    """Return a line for each token, its piece and its number, the blank last."""
    pieces = Tokenizer(archive.tokenizer, archive.config.vocabulary).pieces
    return "".join(f"{piece} {index}\n" for index, piece in enumerate([*pieces, "<blk>"]))


def sherpa_metadata(config: ModelConfig) -> dict[str, object]:
    """Return the metadata that sherpa-onnx asks of an encoder, or of a CTC model; without one it ends the process."""
    transducer = config.transducer
    predictor = {} if transducer is None else {
        "pred_rnn_layers": transducer.rnn_layers,
        "pred_hidden": transducer.hidden,
    }  # fmt: skip
    return {
        "model_type": _MODEL_TYPES[config.family],
        "vocab_size": config.vocabulary if transducer is not None else config.vocabulary + 1,
        "subsampling_factor": SUBSAMPLING,
        "normalize_type": "per_feature" if config.features.per_feature else "",
        "feat_dim": config.features.mels,
        "version": 1,
        **({"url": "fastconformer-tdt"} if transducer is not None and transducer.durations else {}),
        **predictor,
    }


def sherpa_live_metadata(config: ModelConfig, encoder: Encoder, latency: LatencyClass) -> dict[str, object]:
    """Return the metadata of a live encoder; `left_frames` tells Auricle that no window begins before the first."""
    size = config.encoder
    window = SUBSAMPLING * latency.frames
    return sherpa_metadata(config) | {
        "window_size": window,
        "chunk_shift": window,
        "left_frames": 0,
        "cache_last_channel_dim1": 2 * size.layers,
        "cache_last_channel_dim2": size.heads * latency.ring,
        "cache_last_channel_dim3": size.width // size.heads,
        "cache_last_time_dim1": 1,
        "cache_last_time_dim2": 1,
        "cache_last_time_dim3": sum(_others(encoder, size)[1]),
    }


def sherpa_live_encoder(g: Graph, encoder: Encoder, config: EncoderConfig, latency: LatencyClass) -> None:
    """Write the live encoder of one latency class with the inputs and outputs that NeMo's has, in their order."""
    frames, depth, rings = latency.frames, config.width // config.heads, 2 * config.layers
    names, sizes = _others(encoder, config)
    g.input("audio_signal", ("batch", config.mels, "features"))
    g.input("length", ("batch",), INT64)
    channel = ("batch", rings, config.heads * latency.ring, depth)
    time = ("batch", 1, 1, sum(sizes))
    g.input("cache_last_channel", channel)
    g.input("cache_last_time", time)
    g.input("cache_last_channel_len", ("batch",), INT64)
    g.output("outputs", ("batch", config.width, frames))
    g.output("encoded_lengths", ("batch",), INT64)
    g.output("cache_last_channel_next", channel)
    g.output("cache_last_time_next", time)
    g.output("cache_last_channel_next_len", ("batch",), INT64)
    with g.scope("caches"):
        ring = joined(g, -1, config.heads, latency.ring, depth)
        parts = g.several("Split", rings, "cache_last_channel", axis=1)
        for number, part in enumerate(parts):
            kind = "values" if number % 2 else "keys"
            g("Reshape", part, ring, out=f"{kind}.{number // 2}")
        early = _unpacked(g, names, sizes, encoder, config)
        new = g("Transpose", "audio_signal", perm=[0, 2, 1])
        features = g("Concat", early, new, axis=1)
        later = g("Slice", features, g.whole(-_EARLY), g.whole(END), g.whole(1))
        features = g("Slice", features, g.whole(0), g.whole(SUBSAMPLING * frames), g.whole(1))
        total = g("Expand", g.one(ENDLESS), g("Shape", "cache_last_channel_len"))
    place = Stream("cache_last_channel_len", g.one(frames), g.one(latency.ring), total)
    x = run(g, features, place, encoder, config, (latency,))
    with g.scope("outputs"):
        x = g("Reshape", x, joined(g, size_of(g, features, 0), frames, config.width))
        g("Transpose", x, perm=[0, 2, 1], out="outputs")
        g("Expand", g.one(frames), g("Shape", "length"), out="encoded_lengths")
        g("Add", "cache_last_channel_len", g.one(1), out="cache_last_channel_next_len")
        packed = joined(g, -1, 1, config.heads * latency.ring, depth)
        kinds = [f"{kind}.{number}.next" for number in range(config.layers) for kind in ("keys", "values")]
        g("Concat", *(g("Reshape", one, packed) for one in kinds), axis=1, out="cache_last_channel_next")
        rest = [later, *(f"{name}.next" for name in names[1:])]
        g("Concat", *(g("Reshape", one, g.whole(0, 1, 1, -1)) for one in rest), axis=3, out="cache_last_time_next")


def _others(encoder: Encoder, config: EncoderConfig) -> tuple[list[str], list[int]]:
    """Return names and sizes of what a stream carries beside its rings, the features that wait first."""
    state = [(name, shape) for name, shape in shapes(encoder.pre_encode, config) if "ring" not in shape]
    sizes = [math.prod(one for one in shape if isinstance(one, int)) for _, shape in state]
    return ["early", *(name for name, _ in state)], [_EARLY * config.mels, *sizes]


def _unpacked(g: Graph, names: list[str], sizes: list[int], encoder: Encoder, config: EncoderConfig) -> str:
    """Name what `cache_last_time` holds; return the features that waited, `(batch, 7, mels)`."""
    known = dict(shapes(encoder.pre_encode, config)) | {"early": ("batch", _EARLY, config.mels)}
    parts = g.several("Split", len(sizes), "cache_last_time", g.whole(*sizes), axis=3)
    for name, part in zip(names, parts, strict=True):
        shape = [one for one in known[name] if isinstance(one, int)]
        g("Reshape", part, g.whole(-1, *shape), out=name)
    return "early"


def check_onnx_asr(config: ModelConfig, chunk_ms: int | None) -> None:
    """Raise UnsupportedError for a model that onnx-asr would load and hear wrongly."""
    features, transducer = config.features, config.transducer
    if chunk_ms is not None:
        raise UnsupportedError("onnx-asr serves no live streams", f"{chunk_ms} ms", "leave the chunk out")
    if not features.per_feature:
        what = "onnx-asr normalises the features of every recording, which this model was not trained with"
        raise UnsupportedError(what, "preprocessor.normalize", "export it --to sherpa-onnx or onnx")
    if features.mels not in _ASR_MELS or _window(features) != _ASR_WINDOW:
        raise UnsupportedError("onnx-asr computes other features than", features, "export it --to onnx")
    durations = () if transducer is None else transducer.durations
    if durations != tuple(range(len(durations))):
        raise UnsupportedError("onnx-asr takes durations for 0, 1, 2 ..., not", durations, "export it --to onnx")


def onnx_asr_config(config: ModelConfig) -> dict[str, object]:
    """Return what stands in `config.json`."""
    transducer = config.transducer
    kind = "nemo-conformer-ctc" if transducer is None else _ASR_TYPES[bool(transducer.durations)]
    values = {"model_type": kind, "features_size": config.features.mels, "subsampling_factor": SUBSAMPLING}
    return values if transducer is None else values | {"max_tokens_per_step": transducer.max_symbols}


def _window(features: FeatureConfig) -> tuple[int, int, int, int, float | None]:
    return (
        features.sample_rate,
        features.window_samples,
        features.hop_samples,
        features.n_fft,
        features.preemphasis,
    )
