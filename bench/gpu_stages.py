"""What each stage of a step takes, as a graph of its own, and which share of the card's ceilings a step reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.fastconformer.device.decoder import Transducer
from auricle.fastconformer.device.decoding import GreedyDecoding
from auricle.fastconformer.device.inputs import Row
from auricle.fastconformer.device.streams import DeviceStreams
from bench.gpu_card import timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.fastconformer.config import EncoderConfig
    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.device.step import Step
    from auricle.fastconformer.streaming.latency import LatencyClass

OLD = 20
"""Chunks that the streams have heard: rings are full."""


def stages(model: DeviceModel, latency: LatencyClass, size: int, ceilings: dict[str, float]) -> dict[str, object]:
    """Return the milliseconds of the stages of a step of `size` chunks."""
    streams = DeviceStreams(model, size, (size,))
    streams.prepare(latency)
    step = streams._steps[latency][size]
    audio = np.zeros(latency.chunk_samples, np.float32)
    with torch.inference_mode():
        step.inputs.put([Row(slot, OLD, audio) for slot in range(size)])
        times = {"step": timed(step._graphs[False][0].replay)} | {
            name: timed(graphed(work)) for name, work in _works(model, streams, step, latency).items()
        }
    flops = 2 * size * latency.frames * _products(model.config.encoder)
    state = 2 * sum(each[0, :, : latency.ring].numel() for each in (*streams._pool.keys, *streams._pool.values)) * size
    floor_s = flops / ceilings["bf16_TFLOP_s"] / 1e12, state / ceilings["copy_TB_s"] / 1e12
    return {
        "chunk_ms": latency.chunk_ms,
        "rows": size,
        "iterations": step.decoding.iterations if isinstance(step.decoding, GreedyDecoding) else None,
        **{f"{name}_ms": round(1000 * value, 3) for name, value in times.items()},
        "products_floor_ms": round(1000 * floor_s[0], 3),
        "rings_floor_ms": round(1000 * floor_s[1], 3),
        "roofline_share": round(max(floor_s) / times["step"], 3),
    }


def _works(
    model: DeviceModel, streams: DeviceStreams, step: Step, latency: LatencyClass
) -> dict[str, Callable[[], object]]:
    inputs, pool, decoding = step.inputs, streams._pool, step.decoding
    if not isinstance(decoding, GreedyDecoding) or not isinstance(model.decoder, Transducer):
        raise TypeError(decoding)
    walks, decoder = decoding.walks, model.decoder
    inputs.send()
    features = model.features(inputs, pool)
    frames = model.encoder(features, inputs, latency, pool)
    return {
        "send": inputs.send,
        "features": lambda: model.features(inputs, pool),
        "pre_encoder": lambda: model.encoder._pre_encode(features.to(model.dtype), pool.rows, inputs),
        "encoder": lambda: model.encoder(features, inputs, latency, pool),
        "projection": lambda: decoder.begin(walks, frames, inputs.frames),
        "iteration": lambda: decoder.iterate(walks, 1),
    }


def _products(encoder: EncoderConfig) -> int:
    """Return the multiplications that the linear layers of all encoder layers make for one frame."""
    width, inner = encoder.width, encoder.feed_forward
    return encoder.layers * (4 * width * inner + 4 * width**2 + 3 * width**2)


def graphed(work: Callable[[], object]) -> Callable[[], object]:
    """Return the replay of a graph of `work`."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch says nothing of its types
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
