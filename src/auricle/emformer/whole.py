"""Whole recordings through the encoder, many segments of one at a time.

Layer after layer, all segments of a block are computed together: what a segment sees of the past is a view into the
keys and values of the recording so far. The results are those of torchaudio's `forward`, whose mask says the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from auricle.emformer.config import LEFT, RIGHT, SEGMENT
from auricle.emformer.encoder import hidden

if TYPE_CHECKING:
    from auricle.emformer.encoder import Encoder

BLOCK = 64
"""So many segments are computed together: their keys and values take 9 MB in a layer of 512."""


class _Recording:
    """The past of consecutive segments of one recording, the last of which may be cut short."""

    def __init__(self, layers: int, width: int) -> None:
        self._before = [torch.zeros(LEFT, 2 * width) for _ in range(layers)]
        self._frames = 0
        self.mask: Tensor | None = None

    def begin(self, segments: int, last: int) -> None:
        """Say that a block of segments comes, the last with so many frames."""
        first = torch.arange(segments) * SEGMENT
        place = torch.arange(LEFT + SEGMENT)
        absent = place < LEFT - self._frames - first[:, None]
        absent[-1, LEFT + last :] = True
        self.mask = hidden(torch.cat((absent.new_zeros(segments, RIGHT), absent), dim=1))
        self._frames += segments * SEGMENT

    def seen(self, layer: int, projected: Tensor) -> Tensor:
        """Return keys and values of the right context, the past, and the segment itself."""
        line = torch.cat((self._before[layer], projected[:, RIGHT:].flatten(0, 1)))
        self._before[layer] = line[-LEFT:].clone()
        windows = line.unfold(0, LEFT + SEGMENT, SEGMENT).transpose(1, 2)
        return torch.cat((projected[:, :RIGHT], windows), dim=1)


def encode(encoder: Encoder, features: Tensor) -> Tensor:
    """Return the encoder frames `(frames, joint)` of features `(frames, mels)` that end with the right context."""
    line = encoder.reduced(features)
    count = len(line) - RIGHT
    if count <= 0:
        return torch.empty(0, encoder.layer_norm.normalized_shape[0])
    segments = -(-count // SEGMENT)
    last = count - (segments - 1) * SEGMENT
    # The last segment's own frames end early, and its right context is what follows those, whatever the grid says.
    right = torch.cat((line[SEGMENT : segments * SEGMENT : SEGMENT], line[count:]))
    own = functional.pad(line[:count], (0, 0, 0, SEGMENT - last)).view(segments, SEGMENT, -1)
    rows = torch.cat((right[:, None], own), dim=1)
    past = _Recording(len(encoder.layers), line.shape[1])
    frames = []
    for start in range(0, segments, BLOCK):
        block = rows[start : start + BLOCK]
        past.begin(len(block), last if start + len(block) == segments else SEGMENT)
        frames.append(encoder(block, past).flatten(0, 1))
    return torch.cat(frames)[:count]
