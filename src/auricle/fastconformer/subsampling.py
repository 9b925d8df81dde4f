"""The pre-encoder: strided depthwise convolutions that make one encoder frame of eight feature frames.

NeMo calls it `dw_striding`. Each of its stages halves time and frequency; what lies beyond a recording's end is zeroed
before every convolution, so that a batch changes no result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.fastconformer.features import valid_frames
from auricle.fastconformer.memory import pre_encoder_frames
from auricle.turns import give_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.fastconformer.config import EncoderConfig

KERNEL = 3
STRIDE = 2
# Where each stage's strided convolution stands in NeMo's sequence of layers; a pointwise one follows all but the first.
STRIDED = (0, 2, 5)


class PreEncoder(nn.Module):
    """Features to encoder frames."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self._left, self._right = (KERNEL - 1, STRIDE - 1) if config.pre_encode_causal else (1, 1)
        channels = self._channels = config.pre_encode_channels
        layers: list[nn.Module] = [nn.Conv2d(1, channels, KERNEL, STRIDE), nn.ReLU(inplace=True)]
        for _ in STRIDED[1:]:
            layers += [
                nn.Conv2d(channels, channels, KERNEL, STRIDE, groups=channels),
                nn.Conv2d(channels, channels, 1),
                nn.ReLU(inplace=True),
            ]
        self.conv = nn.Sequential(*layers)
        bands = config.mels
        for _ in STRIDED:
            bands = self._halved(bands)
        self.out = nn.Linear(channels * bands, config.width)

    @property
    def dtype(self) -> torch.dtype:
        """The type that the encoder computes in."""
        convolution = self.conv[0]
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101  it is the first that was put there
        return convolution.weight.dtype

    def _halved(self, size: int) -> int:
        return (size + self._left + self._right - KERNEL) // STRIDE + 1

    def inputs(self, mels: int) -> list[tuple[int, int]]:
        """Return channels and bands of what each strided convolution is given, of `mels` bands in all."""
        second = self._halved(mels)
        return [(1, mels), (self._channels, second), (self._channels, self._halved(second))]

    def frames(self, features: int) -> int:
        """Return how many encoder frames `features` feature frames give; none gives none."""
        if features == 0:
            return 0
        for _ in STRIDED:
            features = self._halved(features)
        return features

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return encoder frames, shape `(batch, frames, width)`, and lengths, of features `(batch, frames, mels)`.

        A long recording is taken span by span, so that what the convolutions hold does not grow with it.
        """
        sizes, counts = [features.shape[1]], [lengths]
        for _ in STRIDED:
            sizes.append(self._halved(sizes[-1]))
            counts.append((counts[-1] + self._left + self._right - KERNEL) // STRIDE + 1)
        masks = counts if bool((lengths < sizes[0]).any()) else None
        step = pre_encoder_frames(len(features))
        spans = [(start, min(start + step, sizes[-1])) for start in range(0, sizes[-1], step)]
        parts = [self._span(features, sizes, masks, *span) for span in spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), torch.where(lengths == 0, 0, counts[-1])

    def _span(
        self, features: Tensor, sizes: Sequence[int], masks: Sequence[Tensor] | None, start: int, stop: int
    ) -> Tensor:
        """Return the encoder frames from `start` to `stop`, of features of which each stage has so many in all."""
        give_way()
        spans = [(start, stop)]
        for size in reversed(sizes[:-1]):
            first, last = self._needed(*spans[0])
            spans.insert(0, (max(first, 0), min(last, size)))
        (start, stop), stage = spans[0], 0
        # With channels last the convolutions take two thirds of the time on a CPU.
        x = features[:, None, start:stop].contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.conv):
            if index in STRIDED:
                first, last = self._needed(*spans[stage + 1])
                start, stop = spans[stage]
                x = x if masks is None else _masked(x, masks[stage] - start)
                x = functional.pad(x, (self._left, self._right, start - first, last - stop))
                stage += 1
            x = layer(x)
        x = x if masks is None else _masked(x, masks[stage] - spans[stage][0])
        frames: Tensor = self.out(x.transpose(1, 2).flatten(2))
        return frames

    def _needed(self, start: int, stop: int) -> tuple[int, int]:
        """Return the inputs of a strided convolution that the outputs from `start` to `stop` see, its padding too."""
        return start * STRIDE - self._left, (stop - 1) * STRIDE - self._left + KERNEL


def _masked(x: Tensor, lengths: Tensor) -> Tensor:
    """Return `(batch, channels, time, bands)` with zeros beyond each length."""
    return torch.where(valid_frames(lengths, x.shape[2])[:, None, :, None], x, 0.0)
