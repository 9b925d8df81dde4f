"""The operations in torch alone: the form of every device but CUDA, and what the other form is held to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from auricle.fastconformer.streaming.subsampling import masked, padded

if TYPE_CHECKING:
    from auricle.fastconformer.device.inputs import Inputs
    from auricle.fastconformer.device.operations import Norm, Places, Rule, Strided, Taps, Walks
    from auricle.fastconformer.streaming.latency import LatencyClass


class TorchOperations:
    """See `Operations`."""

    def stride(
        self, x: Tensor, state: Tensor, convolution: Strided, inputs: Inputs, first: Tensor, real: Tensor, *, relu: bool
    ) -> Tensor:
        """Convolve with stride 2 over time and bands."""
        x = masked(x, first, real)
        before = torch.where(inputs.fresh[:, None, None], 0.0, state[inputs.slots])
        state[inputs.slots] = x[:, -1].transpose(1, 2)
        kernel = convolution.kernel.permute(2, 0, 1)[:, None]
        groups = x.shape[3]
        x = padded(before.transpose(1, 2), x).permute(0, 3, 1, 2)
        out = functional.conv2d(x, kernel, convolution.bias, stride=2, groups=groups).permute(0, 2, 3, 1)
        return functional.relu(out) if relu else out

    def add_norm(self, x: Tensor, y: Tensor, factor: float, norm: Norm) -> tuple[Tensor, Tensor]:
        """Add and norm."""
        x = torch.add(x, y, alpha=factor)
        return x, _norm(x, norm)

    def add_norms(self, x: Tensor, y: Tensor, factor: float, norm: Norm, after: Norm) -> tuple[Tensor, Tensor]:
        """Add and norm twice."""
        x = _norm(torch.add(x, y, alpha=factor), norm)
        return x, _norm(x, after)

    def attend(
        self, projected: Tensor, places: Places, keys: Tensor, values: Tensor, inputs: Inputs, latency: LatencyClass
    ) -> Tensor:
        """Attend to the rings."""
        heads, per_head = places.content_bias.shape
        frames, ring = latency.frames, latency.ring
        batch = len(projected) // frames
        query, key, value = projected.view(batch, frames, 3, heads, per_head).unbind(2)
        time = _times(inputs.done, latency)
        written = (inputs.done % latency.turns)[:, None] * frames + torch.arange(frames, device=time.device)
        keys[inputs.slots[:, None], :, written] = key
        values[inputs.slots[:, None], :, written] = value
        real = inputs.frames.clamp(min=1)[:, None]
        seen = (time < real) & (time >= -frames * inputs.done[:, None])
        distances = ring - 1 - torch.arange(frames, device=time.device)[:, None] + time[:, None]
        by_distance = torch.einsum("bfhd,hdp->bhfp", query, places.table).float() + places.bias[:, None]
        scores = by_distance.gather(3, distances[:, None].expand(-1, heads, -1, -1))
        held = torch.where(seen[:, None, :, None], keys[inputs.slots, :, :ring], 0.0)
        scores = scores + torch.einsum("bfhd,bhrd->bhfr", query + places.content_bias, held).float()
        scores = (scores / math.sqrt(per_head)).masked_fill(~seen[:, None, None], -math.inf)
        weights = scores.softmax(dim=3).to(projected.dtype)
        held = torch.where(seen[:, None, :, None], values[inputs.slots, :, :ring], 0.0)
        return torch.einsum("bhfr,bhrd->bfhd", weights, held).reshape(batch * frames, heads * per_head)

    def convolve(self, gated: Tensor, taps: Taps, before: Tensor, inputs: Inputs, frames: int) -> Tensor:
        """Gate, convolve, norm and swish."""
        batch = len(gated) // frames
        x = functional.glu(gated.view(batch, frames, -1), dim=2)
        held = torch.where(inputs.fresh[:, None, None], 0.0, before[inputs.slots])
        x = torch.cat((held, x), dim=1)
        before[inputs.slots] = x[:, frames:]
        windows = x.unfold(1, len(taps.kernel), 1).float()
        out = ((windows * taps.kernel.t().float()).sum(3) + taps.bias.float()).to(gated.dtype)
        out = out if taps.norm is None else _norm(out, taps.norm)
        return functional.silu(out).flatten(0, 1)

    def search(self, scores: Tensor, base: Tensor, walks: Walks, rule: Rule, told: Tensor) -> None:
        """Walk each row to its next label."""
        kinds, count = rule.blank + 1, scores.shape[1]
        labels = scores[..., :kinds].argmax(dim=2)
        jumps = None
        if rule.durations is not None:
            jumps = rule.durations[scores[..., kinds : kinds + len(rule.durations)].argmax(dim=2)]
        place = _next(walks, base, labels, jumps, rule)
        frame = torch.where(walks.frame < walks.length, base + place, walks.frame)
        found = (place < count) & (frame < walks.length)
        place = place.clamp(max=count - 1)
        rows = torch.arange(len(place), device=place.device)
        jump = torch.zeros_like(place) if jumps is None else jumps[rows, place]
        chosen = scores[rows, place, :kinds].float()
        probability = torch.exp(chosen.amax(dim=1) - chosen.logsumexp(dim=1))
        emitted = torch.where(frame == walks.last, walks.emitted + 1, 1)
        full = (jump == 0) & (emitted >= rule.max_symbols)
        walks.frame.copy_(torch.where(found, frame + jump + full, frame))
        walks.emitted.copy_(torch.where(found, emitted, walks.emitted))
        walks.last.copy_(torch.where(found, frame, walks.last))
        walks.label.copy_(torch.where(found, labels[rows, place], rule.blank))
        walks.found.copy_(found)
        for row, each in zip(told, (torch.where(found, walks.label, -1), frame, jump.clamp(min=1)), strict=False):
            row.copy_(each)
        told[-1].copy_(probability.view(torch.int32))

    def recur(self, gates: Tensor, walks: Walks, layer: int) -> Tensor:
        """Advance a recurrent layer."""
        hidden, cells = walks.hidden[layer], walks.cells[layer]
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cells + enter.sigmoid() * new.tanh()
        out = leave.sigmoid() * cell.tanh()
        hidden.copy_(torch.where(walks.found[:, None], out, hidden))
        cells.copy_(torch.where(walks.found[:, None], cell, cells))
        return out


def _next(walks: Walks, base: Tensor, labels: Tensor, jumps: Tensor | None, rule: Rule) -> Tensor:
    """Return the place of each row's next label, counted from `base`, or where its blanks lead out of sight."""
    count = labels.shape[1]
    places = torch.arange(count, device=labels.device)
    blank = (labels == rule.blank) & (base[:, None] + places < walks.length[:, None])
    step = torch.ones_like(labels) if jumps is None else jumps.clamp(min=1)
    leads = torch.where(blank, places + step, places)
    for _ in range(math.ceil(math.log2(count)) if count > 1 else 0):
        leads = torch.where(leads < count, leads.gather(1, leads.clamp(max=count - 1)), leads)
    return leads.gather(1, (walks.frame - base).clamp(max=count - 1)[:, None])[:, 0]


def _norm(x: Tensor, norm: Norm) -> Tensor:
    return functional.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def _times(done: Tensor, latency: LatencyClass) -> Tensor:
    """Return which frame each place of a ring holds, `(batch, ring)`, counted from the first of the chunk."""
    turn = (done % latency.turns)[:, None] * latency.frames
    after = (torch.arange(latency.ring, device=done.device) - turn) % latency.ring
    return torch.where(after < latency.frames, after, after - latency.ring)
