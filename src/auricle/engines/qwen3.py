"""The engine of Qwen3-ASR checkpoints, with a loop of its own: files and live streams, on the CPU or a CUDA device."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import psutil

from auricle.engines.checks import check_choices
from auricle.engines.contract import PRECISIONS, ModelInfo, StreamingInfo, Support, WeightGroup
from auricle.engines.precisions import parts_of, precision_of, whole
from auricle.engines.torch_threads import THREADS
from auricle.errors import ModelError, NotInstalledError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch

    from auricle.engines.contract import Feature, LoadOptions
    from auricle.engines.qwen3_recognizer import Qwen3Recognizer
    from auricle.qwen3.model import Qwen3Asr
    from auricle.qwen3.precision import Precision, Precisions
    from auricle.trace import Tracer

DEVICES = ("cpu", "cuda")
PARTS = ("encoder", "decoder")
MAX_AUDIO_S = 120.0
"""The cache of a batch grows with its longest recording; longer ones are split at silence."""

MOST_STREAMS = 256
MEMORY_SHARE = 0.25
"""Of the memory that is there, what live streams may keep."""

_PACKAGES = ("torch", "transformers", "safetensors")
_FEATURES: frozenset[Feature] = frozenset({"language", "prompt", "keywords"})


class Qwen3Engine:
    """Loads checkpoint folders in single precision, or in a smaller one for the encoder, the decoder or both."""

    name = "qwen3-asr"

    def support(self) -> list[Support]:
        """Say which devices and precisions can be used, from what is installed."""
        try:
            check_installed()
        except NotInstalledError as error:
            reason = f"{error.what}: {error.value}"
            return [Support("cpu", one, usable=False, reason=reason, remedy=error.remedy) for one in PRECISIONS]
        import torch

        absent = "" if torch.cuda.is_available() else "there is no CUDA device"
        return [
            Support(device, one, usable=not reason, reason=reason)
            for device, missing in zip(DEVICES, ("", absent), strict=True)
            for one in PRECISIONS
            for reason in [missing or ("the engine does not quantise" if one == "int8" else "")]
        ]

    def load(self, options: LoadOptions, tracer: Tracer) -> Qwen3Recognizer:
        """Load the checkpoint in the folder `options.model`."""
        check_installed()
        check_choices(self.name, options)
        device = _device(options.device)
        precisions = _precisions(options.precision)
        if options.model is None:
            raise ModelError("the qwen3-asr engine carries no model", None, "give the folder of a checkpoint")
        from auricle.engines.qwen3_live import Qwen3StreamingRecognizer
        from auricle.qwen3.model import Qwen3Asr

        threads = THREADS.hold(options.threads)
        try:
            model = Qwen3Asr(options.model, precisions, device)
            info = _describe(model, options, options.model, threads)
            return Qwen3StreamingRecognizer(model, info, tracer)
        except BaseException:
            THREADS.give_back()
            raise


def check_installed() -> None:
    """Raise NotInstalledError naming the packages that are missing."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        remedy = "pip install 'auricle[transformers]'"
        raise NotInstalledError("Qwen3-ASR models need a package", ", ".join(missing), remedy)


def _device(name: str) -> torch.device:
    import torch

    if name not in DEVICES:
        raise UnsupportedError("the qwen3-asr engine has no such device", name, f"use {' or '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        remedy = "use device cpu, or install torch with CUDA on a machine with an NVIDIA card"
        raise UnsupportedError("there is no CUDA device", name, remedy)
    return torch.device(name)


def _precisions(name: str | None) -> Precisions:
    """Read what precision is asked for, of the whole or of each part; fp32 where none is."""
    from auricle.qwen3.precision import Precisions

    if name is None or "=" not in name:
        same = _known(whole("the qwen3-asr engine", name) or "fp32")
        return Precisions(same, same)
    parts = parts_of(name)
    other = sorted(set(parts) - set(PARTS))
    if other:
        raise UnsupportedError("the qwen3-asr engine has no such part", name, f"its parts are {' and '.join(PARTS)}")
    return Precisions(*(_known(parts.get(part, "fp32")) for part in PARTS))


def _known(name: str) -> Precision:
    from auricle.qwen3.precision import DTYPES

    for known in DTYPES:
        if name == known:
            return known
    raise UnsupportedError("the qwen3-asr engine has no such precision", name, f"use {', '.join(DTYPES)}")


def _describe(model: Qwen3Asr, options: LoadOptions, folder: Path, threads: int) -> ModelInfo:
    import torch

    from auricle.qwen3.config import CONFIG_FILE
    from auricle.qwen3.folder import weight_files
    from auricle.qwen3.live import CHUNKS_S, slot_bytes
    from auricle.qwen3.precision import KEPT_IN_FP32

    weights = weight_groups(model.stored)
    parts = {precision_of(weight_groups(part.stored)) for part in (model.encoder, model.decoder)}
    slot = slot_bytes(model)
    free = psutil.virtual_memory().total if model.device.type == "cpu" else torch.cuda.mem_get_info(model.device)[0]
    steps = "as CUDA graphs" if model.device.type == "cuda" else "operation by operation"
    notes = [
        "torch has one number of threads in a process: all its models here compute with it",
        f"the decoder's linear layers run by {model.decoder.kernel}; decoding steps run {steps}",
        f"a position of the cache takes {model.kv_bytes:,} bytes",
    ]
    if model.precisions.is_reduced:
        notes.append(f"in fp32 whatever the weights are: {KEPT_IN_FP32}")
    chunks_ms = tuple(1000 * seconds for seconds in CHUNKS_S)
    return ModelInfo(
        engine=Qwen3Engine.name,
        name=options.model_name or folder.name,
        family="Qwen3-ASR",
        languages=model.prompts.languages,
        sample_rate=16_000,
        device=options.device,
        provider=torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else None,
        precision=parts.pop() if len(parts) == 1 else str(model.precisions),
        parameters=model.parameters,
        weights=weights,
        files=(CONFIG_FILE, *(path.name for path in weight_files(folder))),
        threads=threads,
        max_audio_s=MAX_AUDIO_S,
        features=_FEATURES,
        streaming=StreamingInfo(
            chunks_ms,
            tuple(float(chunk) for chunk in chunks_ms),
            max(1, min(MOST_STREAMS, int(MEMORY_SHARE * free) // slot)),
            (slot,) * len(chunks_ms),
            block=16,
        ),
        notes=tuple(notes),
        converted=model.precisions.is_reduced,
    )


def weight_groups(tensors: Iterable[torch.Tensor]) -> tuple[WeightGroup, ...]:
    """Count weights and their bytes by type; a tensor that several layers share counts once."""
    unique = {id(tensor): tensor for tensor in tensors}.values()
    groups: dict[str, tuple[int, int]] = {}
    for tensor in unique:
        name = str(tensor.dtype).removeprefix("torch.")
        count, size = groups.get(name, (0, 0))
        groups[name] = (count + tensor.numel(), size + tensor.numel() * tensor.element_size())
    return tuple(WeightGroup(name, count, size) for name, (count, size) in sorted(groups.items()))


ENGINE = Qwen3Engine()
