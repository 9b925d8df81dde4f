"""Triton kernels of a step, each over all rows of a block; the shapes are those of `Operations`.

What stands in a slot is read where it is and written back there: nothing is gathered beforehand. Sums are in single
precision whatever the precision of the tensors. Under TRITON_INTERPRET=1 they run on a CPU.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _column(x, state, band, bands, place, row0, inputs, source, good0, good1, good2, held):
    """Return one band of the three times that an output sees; the first may be the row that a slot holds."""
    within = (band >= 0) & (band < bands)
    at = x + (row0 + place) * bands * inputs + band * inputs + source
    first = tl.load(at, mask=good0 & within, other=0.0).to(tl.float32)
    first += tl.load(state + source * bands + band, mask=held & within, other=0.0).to(tl.float32)
    second = tl.load(at + bands * inputs, mask=good1 & within, other=0.0).to(tl.float32)
    third = tl.load(at + 2 * bands * inputs, mask=good2 & within, other=0.0).to(tl.float32)
    return first, second, third


@triton.jit
def stride_kernel(
    x, state, kernel, bias, out, slots, done, first, real,
    time, bands, inputs: tl.constexpr, channels, out_bands: tl.constexpr, CHANNELS: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """One program: one output time of one row, all channels, band after band, of which every other is seen twice."""
    row = tl.program_id(0) // (time // 2)
    step = tl.program_id(0) % (time // 2)
    slot, age = tl.load(slots + row), tl.load(done + row)
    start, end = tl.load(first + row), tl.load(real + row)
    channel = tl.arange(0, CHANNELS)
    known = channel < channels
    source = channel * 0 if inputs == 1 else channel
    place = 2 * step - 1
    good0 = known & (place >= 0) & (start + place >= 0) & (start + place < end)
    good1 = known & (start + place + 1 >= 0) & (start + place + 1 < end)
    good2 = known & (start + place + 2 >= 0) & (start + place + 2 < end)
    held = known & (place < 0) & (age > 0)
    home = state + slot * inputs * bands
    row0 = (row * time).to(tl.int64)
    w00 = tl.load(kernel + channel, mask=known, other=0.0).to(tl.float32)
    w01 = tl.load(kernel + channels + channel, mask=known, other=0.0).to(tl.float32)
    w02 = tl.load(kernel + 2 * channels + channel, mask=known, other=0.0).to(tl.float32)
    w10 = tl.load(kernel + 3 * channels + channel, mask=known, other=0.0).to(tl.float32)
    w11 = tl.load(kernel + 4 * channels + channel, mask=known, other=0.0).to(tl.float32)
    w12 = tl.load(kernel + 5 * channels + channel, mask=known, other=0.0).to(tl.float32)
    w20 = tl.load(kernel + 6 * channels + channel, mask=known, other=0.0).to(tl.float32)
    w21 = tl.load(kernel + 7 * channels + channel, mask=known, other=0.0).to(tl.float32)
    w22 = tl.load(kernel + 8 * channels + channel, mask=known, other=0.0).to(tl.float32)
    offset = tl.load(bias + channel, mask=known, other=0.0).to(tl.float32)
    goal = out + tl.program_id(0).to(tl.int64) * out_bands * channels + channel
    a0, a1, a2 = _column(x, home, -2, bands, place, row0, inputs, source, good0, good1, good2, held)
    for band in range(out_bands):
        b0, b1, b2 = _column(x, home, 2 * band - 1, bands, place, row0, inputs, source, good0, good1, good2, held)
        c0, c1, c2 = _column(x, home, 2 * band, bands, place, row0, inputs, source, good0, good1, good2, held)
        total = offset + a0 * w00 + b0 * w01 + c0 * w02
        total += a1 * w10 + b1 * w11 + c1 * w12
        total += a2 * w20 + b2 * w21 + c2 * w22
        if RELU:
            total = tl.maximum(total, 0.0)
        tl.store(goal + band * channels, total.to(out.dtype.element_ty), mask=known)
        a0, a1, a2 = c0, c1, c2


@triton.jit
def _normed(value, weight, bias, column, known, width, eps):
    mean = tl.sum(value, axis=0) / width
    apart = tl.where(known, value - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(apart * apart, axis=0) / width + eps)
    factor = tl.load(weight + column, mask=known, other=0.0).to(tl.float32)
    offset = tl.load(bias + column, mask=known, other=0.0).to(tl.float32)
    return apart * scale * factor + offset


@triton.jit
def add_norm_kernel(
    x, y, factor, weight, bias, eps, after_weight, after_bias, after_eps, added, normed, width,
    WIDTH: tl.constexpr, TWICE: tl.constexpr,
):  # fmt: skip
    """One program: one row; TWICE norms the sum, and then that again."""
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, WIDTH)
    known = column < width
    one = tl.load(x + row + column, mask=known, other=0.0).to(tl.float32)
    other = tl.load(y + row + column, mask=known, other=0.0).to(tl.float32)
    total = (one + factor * other).to(x.dtype.element_ty).to(tl.float32)
    if TWICE:
        total = _normed(total, weight, bias, column, known, width, eps).to(x.dtype.element_ty).to(tl.float32)
        again = _normed(total, after_weight, after_bias, column, known, width, after_eps)
    else:
        again = _normed(total, weight, bias, column, known, width, eps)
    tl.store(added + row + column, total.to(x.dtype.element_ty), mask=known)
    tl.store(normed + row + column, again.to(x.dtype.element_ty), mask=known)


@triton.jit
def norm_swish_kernel(x, weight, bias, eps, width, WIDTH: tl.constexpr):
    """One program: one row, in place."""
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, WIDTH)
    known = column < width
    value = tl.load(x + row + column, mask=known, other=0.0).to(tl.float32)
    value = _normed(value, weight, bias, column, known, width, eps)
    tl.store(x + row + column, (value * tl.sigmoid(value)).to(x.dtype.element_ty), mask=known)


@triton.jit
def convolve_kernel(
    gated, kernel, bias, state, out, slots, done, width,
    frames: tl.constexpr, WIDTH: tl.constexpr, SWISH: tl.constexpr,
):  # fmt: skip
    """One program: some columns of one row; the eight frames before each are carried along."""
    row = tl.program_id(0)
    slot, age = tl.load(slots + row), tl.load(done + row)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    known = column < width
    held = state + slot * 8 * width + column
    old = known & (age > 0)
    x0 = tl.load(held, mask=old, other=0.0).to(tl.float32)
    x1 = tl.load(held + width, mask=old, other=0.0).to(tl.float32)
    x2 = tl.load(held + 2 * width, mask=old, other=0.0).to(tl.float32)
    x3 = tl.load(held + 3 * width, mask=old, other=0.0).to(tl.float32)
    x4 = tl.load(held + 4 * width, mask=old, other=0.0).to(tl.float32)
    x5 = tl.load(held + 5 * width, mask=old, other=0.0).to(tl.float32)
    x6 = tl.load(held + 6 * width, mask=old, other=0.0).to(tl.float32)
    x7 = tl.load(held + 7 * width, mask=old, other=0.0).to(tl.float32)
    taps = kernel + column
    w0 = tl.load(taps, mask=known, other=0.0).to(tl.float32)
    w1 = tl.load(taps + width, mask=known, other=0.0).to(tl.float32)
    w2 = tl.load(taps + 2 * width, mask=known, other=0.0).to(tl.float32)
    w3 = tl.load(taps + 3 * width, mask=known, other=0.0).to(tl.float32)
    w4 = tl.load(taps + 4 * width, mask=known, other=0.0).to(tl.float32)
    w5 = tl.load(taps + 5 * width, mask=known, other=0.0).to(tl.float32)
    w6 = tl.load(taps + 6 * width, mask=known, other=0.0).to(tl.float32)
    w7 = tl.load(taps + 7 * width, mask=known, other=0.0).to(tl.float32)
    w8 = tl.load(taps + 8 * width, mask=known, other=0.0).to(tl.float32)
    offset = tl.load(bias + column, mask=known, other=0.0).to(tl.float32)
    place = (row * frames).to(tl.int64)
    for step in range(frames):
        one = tl.load(gated + (place + step) * 2 * width + column, mask=known, other=0.0).to(tl.float32)
        gate = tl.load(gated + (place + step) * 2 * width + width + column, mask=known, other=0.0).to(tl.float32)
        x8 = (one * tl.sigmoid(gate)).to(gated.dtype.element_ty).to(tl.float32)
        total = offset + x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3 + x4 * w4 + x5 * w5 + x6 * w6 + x7 * w7 + x8 * w8
        total = total.to(out.dtype.element_ty).to(tl.float32)
        if SWISH:
            total = total * tl.sigmoid(total)
        tl.store(out + (place + step) * width + column, total.to(out.dtype.element_ty), mask=known)
        x0, x1, x2, x3, x4, x5, x6, x7 = x1, x2, x3, x4, x5, x6, x7, x8
    kind = state.dtype.element_ty
    tl.store(held, x0.to(kind), mask=known)
    tl.store(held + width, x1.to(kind), mask=known)
    tl.store(held + 2 * width, x2.to(kind), mask=known)
    tl.store(held + 3 * width, x3.to(kind), mask=known)
    tl.store(held + 4 * width, x4.to(kind), mask=known)
    tl.store(held + 5 * width, x5.to(kind), mask=known)
    tl.store(held + 6 * width, x6.to(kind), mask=known)
    tl.store(held + 7 * width, x7.to(kind), mask=known)


@triton.jit
def attend_kernel(
    projected, by_distance, distance_bias, content_bias, keys, values, out, slots, done, real, scale,
    heads, frames, ring, turns, rows, distances, slot_stride, head_stride,
    per_head: tl.constexpr, QUERIES: tl.constexpr, RING: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One program: one head of one row; the chunk's keys and values go to the ring, and then all are read from there.

    `time` is which frame a place of the ring holds, counted from the first of the chunk.
    """
    row, head = tl.program_id(0), tl.program_id(1)
    slot, age = tl.load(slots + row), tl.load(done + row)
    end = tl.maximum(tl.load(real + row), 1)
    turn = (age % turns) * frames
    place = tl.arange(0, RING)
    query = tl.arange(0, QUERIES)
    depth = tl.arange(0, DEPTH)
    whole = depth < per_head
    asked = (query < frames)[:, None] & whole[None, :]
    width = heads * per_head
    home = slot * slot_stride + head * head_stride
    chunk = (row * frames).to(tl.int64) * 3 * width + head * per_head
    line = chunk + query[:, None] * 3 * width + depth[None, :]
    written = home + (turn + query[:, None]) * per_head + depth[None, :]
    tl.store(keys + written, tl.load(projected + line + width, mask=asked, other=0.0), mask=asked)
    tl.store(values + written, tl.load(projected + line + 2 * width, mask=asked, other=0.0), mask=asked)
    q = tl.load(projected + line, mask=asked, other=0.0)
    u = tl.load(content_bias + head * per_head + depth, mask=whole, other=0.0)
    q = (q + u[None, :]).to(projected.dtype.element_ty)
    after = (place - turn + ring) % ring
    time = tl.where(after < frames, after, after - ring)
    seen = (place < ring) & (time < end) & (time >= -frames * age)
    held = home + place[:, None] * per_head + depth[None, :]
    good = seen[:, None] & whole[None, :]
    distance = ring - 1 - query[:, None] + time[None, :]
    told = (query < frames)[:, None] & seen[None, :]
    scored = ((head * rows + row * frames).to(tl.int64) + query)[:, None] * distances + distance
    bias = tl.load(by_distance + scored, mask=told, other=0.0).to(tl.float32)
    bias += tl.load(distance_bias + head * distances + distance, mask=told, other=0.0)
    tl.debug_barrier()
    k = tl.load(keys + held, mask=good, other=0.0)
    v = tl.load(values + held, mask=good, other=0.0)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) + bias
    scores = tl.where(seen[None, :], scores * scale, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    weights = weights / tl.sum(weights, axis=1)[:, None]
    heard = tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
    goal = out + ((row * frames).to(tl.int64) + query[:, None]) * width + head * per_head + depth[None, :]
    tl.store(goal, heard.to(out.dtype.element_ty), mask=asked)


@triton.jit
def attend_one_kernel(
    projected, by_distance, distance_bias, content_bias, keys, values, out, slots, done, scale,
    heads, ring, rows, distances, slot_stride, head_stride,
    per_head: tl.constexpr, RING: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The same for chunks of one frame, which see themselves whatever their end."""
    row, head = tl.program_id(0), tl.program_id(1)
    slot, age = tl.load(slots + row), tl.load(done + row)
    turn = (age % ring).to(tl.int32)
    place = tl.arange(0, RING)
    depth = tl.arange(0, DEPTH)
    whole = depth < per_head
    width = heads * per_head
    home = slot * slot_stride + head * head_stride
    chunk = row.to(tl.int64) * 3 * width + head * per_head + depth
    new_key = tl.load(projected + chunk + width, mask=whole, other=0.0)
    new_value = tl.load(projected + chunk + 2 * width, mask=whole, other=0.0)
    after = (place - turn + ring) % ring
    time = tl.where(after == 0, 0, after - ring)
    seen = (place < ring) & (time >= -age)
    held = home + place[:, None] * per_head + depth[None, :]
    old = (seen & (time < 0))[:, None] & whole[None, :]
    now = (time == 0)[:, None]
    k = tl.load(keys + held, mask=old, other=0.0)
    v = tl.load(values + held, mask=old, other=0.0)
    distance = ring - 1 + time
    line = (head * rows + row).to(tl.int64) * distances
    bias = tl.load(by_distance + line + distance, mask=seen, other=0.0).to(tl.float32)
    bias += tl.load(distance_bias + head * distances + distance, mask=seen, other=0.0)
    kind = projected.dtype.element_ty
    q = tl.load(projected + chunk, mask=whole, other=0.0)
    q = (q + tl.load(content_bias + head * per_head + depth, mask=whole, other=0.0)).to(kind).to(tl.float32)
    k = tl.where(now, new_key[None, :], k).to(tl.float32)
    scores = (tl.sum(k * q[None, :], axis=1) + bias) * scale
    scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, axis=0))
    weights = (weights / tl.sum(weights, axis=0)).to(kind).to(tl.float32)
    v = tl.where(now, new_value[None, :], v).to(tl.float32)
    heard = tl.sum(v * weights[:, None], axis=0)
    tl.store(out + row.to(tl.int64) * width + head * per_head + depth, heard.to(kind), mask=whole)
    tl.store(keys + home + turn * per_head + depth, new_key, mask=whole)
    tl.store(values + home + turn * per_head + depth, new_value, mask=whole)


@triton.jit
def search_kernel(
    scores, base, length, frame, last, emitted, label, found, told, durations,
    stride, blank, max_symbols, rows,
    frames: tl.constexpr, JUMPS: tl.constexpr, jumps: tl.constexpr, KINDS: tl.constexpr,
):  # fmt: skip
    """One program: one row, walked over its blanks to its next label or out of sight."""
    row = tl.program_id(0)
    first, end, start = tl.load(base + row), tl.load(length + row), tl.load(frame + row)
    kind = tl.arange(0, KINDS)
    place = start - first
    hit = start < 0
    going = start < end
    chosen, jump, probability = blank + 0 * place, 0 * place, 0.0
    for step in range(frames):
        here = going & (place == step) & (first + step < end)
        line = scores + (row.to(tl.int64) * frames + step) * stride
        value = tl.load(line + kind, mask=here & (kind <= blank), other=float("-inf")).to(tl.float32)
        best = tl.max(value, axis=0)
        # Of scores that are not numbers the best may be any, even one that is not there.
        index = tl.minimum(tl.argmax(value, axis=0).to(tl.int64), blank)
        lasts = 0 * place
        if jumps:
            turn = tl.arange(0, JUMPS)
            wish = tl.load(line + blank + 1 + turn, mask=here & (turn < jumps), other=float("-inf")).to(tl.float32)
            lasts = tl.load(durations + tl.argmax(wish, axis=0))
        says = here & (index != blank)
        share = 1.0 / tl.maximum(tl.sum(tl.exp(value - tl.where(here, best, 0.0)), axis=0), 1.0)
        probability = tl.where(says, share, probability)
        chosen = tl.where(says, index, chosen)
        jump = tl.where(says, lasts, jump)
        place = tl.where(here & (index == blank), place + tl.maximum(lasts, 1), place)
        hit = hit | says
        going = going & (hit == 0)
    at = tl.where(start < end, first + place, start)
    count = tl.where(at == tl.load(last + row), tl.load(emitted + row) + 1, 1)
    full = ((jump == 0) & (count >= max_symbols)).to(tl.int64)
    tl.store(frame + row, tl.where(hit, at + jump + full, at))
    tl.store(emitted + row, count, mask=hit)
    tl.store(last + row, at, mask=hit)
    tl.store(label + row, chosen)
    tl.store(found + row, hit)
    tl.store(told + row, tl.where(hit, chosen, -1).to(tl.int32))
    tl.store(told + rows + row, at.to(tl.int32))
    tl.store(told + 2 * rows + row, tl.maximum(jump, 1).to(tl.int32))
    tl.store(told + 3 * rows + row, tl.cast(probability, tl.int32, bitcast=True))


@triton.jit
def _tanh(x):
    return 2.0 * tl.sigmoid(2.0 * x) - 1.0


@triton.jit
def recur_kernel(gates, hidden, cells, out, found, width, WIDTH: tl.constexpr):
    """One program: some columns of one row; the state moves on only where something was found."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    known = column < width
    line = gates + row * 4 * width + column
    enter = tl.load(line, mask=known, other=0.0).to(tl.float32)
    forget = tl.load(line + width, mask=known, other=0.0).to(tl.float32)
    new = tl.load(line + 2 * width, mask=known, other=0.0).to(tl.float32)
    leave = tl.load(line + 3 * width, mask=known, other=0.0).to(tl.float32)
    place = row * width + column
    cell = tl.load(cells + place, mask=known, other=0.0).to(tl.float32)
    cell = tl.sigmoid(forget) * cell + tl.sigmoid(enter) * _tanh(new)
    heard = (tl.sigmoid(leave) * _tanh(cell)).to(out.dtype.element_ty)
    tl.store(out + place, heard, mask=known)
    moves = known & (tl.load(found + row) != 0)
    tl.store(hidden + place, heard, mask=moves)
    tl.store(cells + place, cell.to(cells.dtype.element_ty), mask=moves)
