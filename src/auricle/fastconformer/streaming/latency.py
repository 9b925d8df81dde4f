"""The latency classes of a model: which chunks a live stream may be cut into, and what each waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import UnsupportedError
from auricle.fastconformer.config import SUBSAMPLING

if TYPE_CHECKING:
    from auricle.fastconformer.config import FeatureConfig, ModelConfig

_MS_PER_S = 1000
_REMEDY = "transcribe files with it, or choose a model that was trained for live streams"


@dataclass(frozen=True, slots=True)
class LatencyClass:
    """Chunks of `frames` encoder frames, each of which sees its chunk and the `left` frames before it.

    An utterance begins with a chunk of `first_samples`, exactly those that its frames need; every other has
    `chunk_samples`. The last frame of a chunk is heard at once, the first waits for `lookahead_ms` of later audio.
    """

    left: int
    frames: int
    chunk_samples: int
    first_samples: int
    chunk_ms: int
    lookahead_ms: float

    @property
    def ring(self) -> int:
        """How many frames of keys and values a stream keeps: all that a query sees."""
        return self.left + self.frames

    @property
    def turns(self) -> int:
        """How many chunks a ring holds; each goes where the oldest was."""
        return self.ring // self.frames


def latency_classes(config: ModelConfig) -> tuple[LatencyClass, ...]:
    """Return the latency classes of a model, its default first.

    Raises UnsupportedError naming the option for which the model cannot be served live with exact results.
    """
    encoder = config.encoder
    if config.features.per_feature:
        raise _refused("preprocessor.normalize = 'per_feature'")
    if not encoder.pre_encode_causal:
        raise _refused("encoder.causal_downsampling = False")
    if encoder.conv_right:
        raise _refused(f"encoder.conv_context_size = [{encoder.conv_left}, {encoder.conv_right}]")
    classes = []
    for context in encoder.contexts:
        if not context.chunked or context.right is None:
            raise _refused("encoder.att_context_style = 'regular'")
        if context.left is None:
            raise _refused(f"encoder.att_context_size = [-1, {context.right}]")
        classes.append(_class(config.features, context.left, context.right + 1))
    return tuple(classes)


def reach(config: FeatureConfig) -> tuple[int, int]:
    """Return how many samples before its centre, and from it on, a feature frame sees."""
    before = config.n_fft // 2 - (config.n_fft - config.window_samples) // 2
    return before, config.window_samples - before


def _class(features: FeatureConfig, left: int, frames: int) -> LatencyClass:
    hop, rate = features.hop_samples, features.sample_rate
    _, after = reach(features)
    samples = frames * SUBSAMPLING * hop
    first = (frames - 1) * SUBSAMPLING * hop + after
    return LatencyClass(left, frames, samples, first, samples * _MS_PER_S // rate, first * _MS_PER_S / rate)


def _refused(option: str) -> UnsupportedError:
    return UnsupportedError("this model cannot be served live with exact results, because of", option, _REMEDY)
