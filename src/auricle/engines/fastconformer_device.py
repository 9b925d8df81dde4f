"""FastConformer models on a CUDA device: what can be had there, and how it is served."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.engines.contract import PRECISIONS, Support
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer, streaming_info
from auricle.engines.fastconformer_recognizer import FastConformerRecognizer
from auricle.errors import EngineError, NotInstalledError, UnsupportedError
from auricle.fastconformer.memory import STATE_BYTES, beam_bytes, slot_bytes
from auricle.fastconformer.tuning import in_force, told
from auricle.turns import Turns

if TYPE_CHECKING:
    import torch

    from auricle.engines.contract import ModelInfo
    from auricle.fastconformer.device.model import DeviceModel
    from auricle.fastconformer.device.whole import DeviceFastConformer
    from auricle.trace import Tracer

MOST_STREAMS = 16_384
MEMORY_SHARE = 0.6
"""Of the card's memory that is free, what the state of all live streams takes: the rest is for files."""


def cuda_support() -> list[Support]:
    """Say which precisions can be used on a CUDA device; torch must be installed."""
    try:
        cuda_device("cuda")
    except (UnsupportedError, NotInstalledError) as error:
        return [Support("cuda", one, usable=False, reason=error.what, remedy=error.remedy) for one in PRECISIONS]
    return [Support("cuda", one, usable=True) for one in PRECISIONS]


def cuda_device(name: str) -> torch.device:
    """Return the first CUDA device, which `CUDA_VISIBLE_DEVICES` may choose: graphs and kernels know no other.

    Raises UnsupportedError for another name or an absent card, NotInstalledError without Triton.
    """
    import torch

    if name not in {"cuda", "cuda:0"}:
        remedy = "use cpu or cuda; CUDA_VISIBLE_DEVICES says which card is the first"
        raise UnsupportedError("the fastconformer engine has no such device", name, remedy)
    if not torch.cuda.is_available():
        remedy = "use device cpu, or install torch with CUDA on a machine with an NVIDIA card"
        raise UnsupportedError("there is no CUDA device", name, remedy)
    if find_spec("triton") is None:
        raise NotInstalledError("FastConformer models on CUDA need a package", "triton", "pip install triton")
    return torch.device("cuda", 0)


def serve_on_device(
    model: DeviceFastConformer, info: ModelInfo, tracer: Tracer, replicas: int = 1
) -> FastConformerRecognizer:
    """Return a recogniser that serves live streams if the model can, else one for files that notes why it cannot.

    Raises EngineError for a card whose memory does not hold so many `replicas`.
    """
    import torch

    from auricle.fastconformer.device.streams import DeviceStreams

    # Which card it was is part of what a precision was checked on.
    card = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else None
    with torch.inference_mode():  # as every model enters it
        settings = f"settings of torch: {told(in_force())}"
    info = replace(info, provider=card, notes=(*info.notes, settings))
    try:
        live = model.for_streams()
    except UnsupportedError as error:
        return FastConformerRecognizer(model, replace(info, notes=(*info.notes, f"files only: {error.value}")), tracer)
    slots = _slots(live, replicas)
    try:
        streams = DeviceStreams(live, slots, tracer=tracer)
        for latency in streams.classes:
            streams.prepare(latency, boosted=True)
    except torch.OutOfMemoryError as error:
        raise EngineError("the card has too little memory for live streams", error, "free some, or use cpu") from error
    streaming = replace(
        streaming_info(model.config, live.classes, model.precision, model.beam),
        slots=slots,
        bytes_per_slot=(streams.bytes_per_slot,) * len(live.classes),
        block=streams.block,
    )
    form = "as CUDA graphs" if live.device.type == "cuda" else "operation by operation"
    notes = (*info.notes, f"steps of live streams run {form}")
    info = replace(info, streaming=streaming, notes=notes)
    return FastConformerStreamingRecognizer(model, info, tracer, streams, Turns())


def _slots(model: DeviceModel, replicas: int) -> int:
    """Return how many streams the device has memory for; on a CPU, where this only serves tests, a few."""
    import torch

    from auricle.fastconformer.device.int8 import kept_in

    if model.device.type != "cuda":
        return 8
    free, total = torch.cuda.mem_get_info(model.device)
    longest = max(model.classes, key=lambda latency: latency.ring)
    slot = slot_bytes(model.config, longest, kept_in(model.precision))
    per_slot = slot + beam_bytes(model.config, model.beam, STATE_BYTES["fp32"])
    return slots_of_replica(free, total, torch.cuda.memory_reserved(model.device), per_slot, replicas)


def slots_of_replica(free: int, total: int, held: int, per_slot: int, replicas: int) -> int:
    """Return how many streams of `per_slot` bytes one of several replicas serves on a card with so many bytes.

    Alone it takes its share of what is free; of several each has an equal part of the card, in which it `held` its
    weights before. Raises EngineError where that part holds no stream.
    """
    mine = free if replicas == 1 else min(free, total // replicas - held)
    fitting = int(MEMORY_SHARE * mine) // per_slot
    if replicas > 1 and fitting < 1:
        part = f"{total // replicas / 2**30:.1f} GiB for each, {held / 2**30:.1f} of them for weights"
        raise EngineError(f"the card's memory does not hold {replicas} replicas", part, "use fewer --replicas")
    return max(1, min(MOST_STREAMS, fitting))
