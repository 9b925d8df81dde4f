"""The operations as Triton kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import triton

from auricle.errors import UnsupportedError
from auricle.fastconformer.device import kernels

if TYPE_CHECKING:
    from torch import Tensor

    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.device.operations import Norm, Places, Rule, Strided, Taps, Walks
    from auricle.fastconformer.streaming.latency import LatencyClass

_TAPS = 9
_COLUMNS_AT_ONCE = 256
_LEAST_TILE = 16
_WARPS = 4
_BAND_WARPS = 2


class TritonOperations:
    """See `Operations`; only convolutions over nine frames, which all published models have, are known."""

    def stride(
        self, x: Tensor, state: Tensor, convolution: Strided, inputs: Inputs, first: Tensor, real: Tensor, *, relu: bool
    ) -> Tensor:
        """Convolve with stride 2 over time and bands."""
        batch, time, bands, channels_in = x.shape
        channels, out_bands = len(convolution.bias), bands // 2 + 1
        x = x.contiguous()
        out = x.new_empty(batch, time // 2, out_bands, channels)
        kernels.stride_kernel[(batch * (time // 2),)](
            x, state, convolution.kernel, convolution.bias, out, inputs.slots, inputs.done, first, real,
            time, bands, inputs=channels_in, channels=channels, out_bands=out_bands,
            CHANNELS=triton.next_power_of_2(channels), RELU=relu, num_warps=_BAND_WARPS,
        )  # fmt: skip
        last = first + (time - 1)
        kept = torch.where(((last >= 0) & (last < real))[:, None, None], x[:, -1], 0.0)
        state[inputs.slots] = kept.transpose(1, 2)
        return out

    def add_norm(self, x: Tensor, y: Tensor, factor: float, norm: Norm) -> tuple[Tensor, Tensor]:
        """Add and norm."""
        return self._add_norms(x, y, factor, norm, norm, twice=False)

    def add_norms(self, x: Tensor, y: Tensor, factor: float, norm: Norm, after: Norm) -> tuple[Tensor, Tensor]:
        """Add and norm twice."""
        return self._add_norms(x, y, factor, norm, after, twice=True)

    def attend(
        self, projected: Tensor, places: Places, keys: Tensor, values: Tensor, inputs: Inputs, latency: LatencyClass
    ) -> Tensor:
        """Attend to the rings."""
        heads, per_head = places.content_bias.shape
        rows, distances, frames = len(projected), places.table.shape[2], latency.frames
        queries = projected.view(rows, 3, heads, per_head)[:, 0].transpose(0, 1)
        by_distance = torch.bmm(queries, places.table)
        out = projected.new_empty(rows, heads * per_head)
        tile = max(_LEAST_TILE, triton.next_power_of_2(latency.ring))
        depth = max(_LEAST_TILE, triton.next_power_of_2(per_head))
        common = projected, by_distance, places.bias, places.content_bias, keys, values, out, inputs.slots, inputs.done
        scale = 1.0 / math.sqrt(per_head)
        if frames == 1:
            kernels.attend_one_kernel[(rows, heads)](
                *common, scale, heads, latency.ring, rows, distances, keys.stride(0), keys.stride(1),
                per_head=per_head, RING=tile, DEPTH=depth, num_warps=_WARPS,
            )  # fmt: skip
            return out
        kernels.attend_kernel[(rows // frames, heads)](
            *common, inputs.frames, scale,
            heads, frames, latency.ring, latency.turns, rows, distances, keys.stride(0), keys.stride(1),
            per_head=per_head, QUERIES=max(_LEAST_TILE, triton.next_power_of_2(frames)), RING=tile, DEPTH=depth,
            PRECISION="ieee" if projected.dtype == torch.float32 else "tf32", num_warps=_WARPS,
        )  # fmt: skip
        return out

    def convolve(self, gated: Tensor, taps: Taps, before: Tensor, inputs: Inputs, frames: int) -> Tensor:
        """Gate, convolve, norm and swish; raises UnsupportedError for another number of taps than nine."""
        count, width = taps.kernel.shape
        if count != _TAPS:
            raise UnsupportedError("on CUDA a convolution is over nine frames, not", count, "serve it on the CPU")
        rows = len(gated)
        out = gated.new_empty(rows, width)
        grid = (rows // frames, triton.cdiv(width, _COLUMNS_AT_ONCE))
        kernels.convolve_kernel[grid](
            gated, taps.kernel, taps.bias, before, out, inputs.slots, inputs.done, width,
            frames=frames, WIDTH=_COLUMNS_AT_ONCE, SWISH=taps.norm is None,
        )  # fmt: skip
        if taps.norm is not None:
            norm = taps.norm
            kernels.norm_swish_kernel[(rows,)](
                out, norm.weight, norm.bias, norm.eps, width, WIDTH=triton.next_power_of_2(width)
            )
        return out

    def search(self, scores: Tensor, base: Tensor, walks: Walks, rule: Rule, told: Tensor) -> None:
        """Walk each row to its next label."""
        rows, frames, outputs = scores.shape
        jumps = 0 if rule.durations is None else len(rule.durations)
        kernels.search_kernel[(rows,)](
            scores, base, walks.length, walks.frame, walks.last, walks.emitted, walks.label, walks.found, told,
            walks.frame if rule.durations is None else rule.durations,
            outputs, rule.blank, rule.max_symbols, rows,
            frames=frames, JUMPS=max(2, triton.next_power_of_2(jumps)), jumps=jumps,
            KINDS=triton.next_power_of_2(rule.blank + 1),
        )  # fmt: skip

    def recur(self, gates: Tensor, walks: Walks, layer: int) -> Tensor:
        """Advance a recurrent layer."""
        hidden, cells = walks.hidden[layer], walks.cells[layer]
        rows, width = hidden.shape
        out = torch.empty_like(hidden)
        grid = (rows, triton.cdiv(width, _COLUMNS_AT_ONCE))
        kernels.recur_kernel[grid](gates, hidden, cells, out, walks.found, width, WIDTH=_COLUMNS_AT_ONCE)
        return out

    def _add_norms(
        self, x: Tensor, y: Tensor, factor: float, norm: Norm, after: Norm, *, twice: bool
    ) -> tuple[Tensor, Tensor]:
        rows, width = x.shape
        added, normed = torch.empty_like(x), torch.empty_like(x)
        kernels.add_norm_kernel[(rows,)](
            x, y, factor, norm.weight, norm.bias, norm.eps, after.weight, after.bias, after.eps, added, normed, width,
            WIDTH=triton.next_power_of_2(width), TWICE=twice,
        )  # fmt: skip
        return added, normed
