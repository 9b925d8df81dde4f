"""What the child process is told: which graphs to load, where, and how a live stream is cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auricle.engines.sherpa.devices import Provider
    from auricle.engines.sherpa.model import SherpaModel

SAMPLE_RATE = 16_000
FRAME_MS = 10
FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000
EMISSION_DELAY_FRAMES = 30
"""Silence after the last sample, 0.3 s: a transducer trained live emits a word up to that long after it was said."""
_OUTPUTS_WITHOUT_ATTENTION = 3
_BATCH_SCALED = "DynamicQuantizeLinear"
_ASSUMED_CTC_SUBSAMPLING = 4


@dataclass(frozen=True, slots=True)
class Windows:
    """How a streaming graph walks over feature frames: `window` at a time, `shift` further on; silence around them.

    `time_scale` corrects the times of streaming CTC, for which sherpa-onnx assumes a subsampling of 4.
    """

    window: int
    shift: int
    left: int = 0
    time_scale: float = 1.0

    @property
    def tail(self) -> int:
        """Frames of silence after the last one, so that every frame and what is said late gets into a window."""
        return self.shift + max(0, self.window - self.shift - self.left) + EMISSION_DELAY_FRAMES + 1

    @property
    def chunk_samples(self) -> int:
        """Samples that advance a stream by one window."""
        return self.shift * FRAME_SAMPLES

    @property
    def chunk_ms(self) -> int:
        """The same in ms."""
        return self.shift * FRAME_MS

    @property
    def lookahead_ms(self) -> int:
        """How much audio after the first frame of a window the encoder waits for."""
        return (self.window - self.left - 1) * FRAME_MS


@dataclass(frozen=True, slots=True)
class Plan:
    """One model to load in the child process; `graphs` are paths by role, `windows` is None for an offline model.

    `batches` is false for graphs whose dynamic quantisation takes its scales from the whole batch: decoded together,
    recordings and streams would change each other's text.
    """

    kind: str
    graphs: Mapping[str, str]
    tokens: str
    provider: Provider
    threads: int
    feature_dim: int
    has_word_times: bool
    batches: bool
    windows: Windows | None


def plan_for(model: SherpaModel, provider: Provider, threads: int) -> Plan:
    """Say how `model` is to be loaded."""
    return Plan(
        kind=model.kind.name,
        graphs={role: str(chosen.path) for role, chosen in model.layout.graphs.items()},
        tokens=str(model.tokens.path),
        provider=provider,
        threads=threads,
        feature_dim=model.feature_dim,
        has_word_times=_has_word_times(model),
        batches=not any(_BATCH_SCALED in facts.quantised_ops for facts in model.graphs.values()),
        windows=_windows(model) if model.kind.live else None,
    )


def _has_word_times(model: SherpaModel) -> bool:
    """Byte-level pieces cannot be told apart, and Whisper needs an export with attention outputs."""
    if model.kind.name == "whisper":
        return len(model.graphs["decoder"].outputs) > _OUTPUTS_WITHOUT_ATTENTION
    return not model.tokens.is_byte_bpe


def _windows(model: SherpaModel) -> Windows:
    """Read the walk from the metadata.

    NeMo's window starts with the frames that its convolutions look back on, and the graph drops what they alone give:
    `left` frames before the first one make the first window's first output that of the first frame. A graph whose
    metadata has `left_frames` says how many it wants.
    """
    if not model.kind.is_nemo:
        return Windows(model.number("T"), model.number("decode_chunk_len"))
    window, shift, subsampling = (model.number(key) for key in ("window_size", "chunk_shift", "subsampling_factor"))
    scale = 1.0 if model.kind.is_transducer else subsampling / _ASSUMED_CTC_SUBSAMPLING
    told = "left_frames" in model.main.metadata
    left = model.number("left_frames") if told else window - shift + subsampling - 1
    return Windows(window, shift, left, scale)
