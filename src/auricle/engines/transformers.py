"""Models in transformers' own classes, from local folders, for files: Parakeet, Nemotron streaming, Whisper, Moonshine.

In this process, by one caller at a time: a call of `generate` keeps its state on the model. Live streams are not served
for the same reason: a stream would be one call that lasts as long as it.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from auricle.engines.checks import check_choices
from auricle.engines.contract import ModelInfo, Support, WeightGroup
from auricle.engines.library import ONE_AT_A_TIME, LibraryRecognizer, LocalRunner, device_index
from auricle.engines.precisions import precision_of
from auricle.engines.torch_threads import THREADS
from auricle.engines.transformers_families import FAMILIES, Family
from auricle.engines.transformers_service import TransformersService
from auricle.errors import ModelError, NotInstalledError, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import LoadOptions, Precision
    from auricle.trace import Tracer

DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
REMEDY = 'pip install "auricle[transformers]"'
CONFIG = "config.json"


class TransformersEngine:
    """Loads folders that `save_pretrained` wrote: safetensors alone, no code of the folder's, no network."""

    name = "transformers"

    def support(self) -> list[Support]:
        """The CPU, and the cards that torch finds."""
        if missing := _missing():
            reason = f"{missing} is not installed"
            return [Support("cpu", one, usable=False, reason=reason, remedy=REMEDY) for one in DTYPES]
        import torch

        rows = [Support("cpu", one, usable=True) for one in DTYPES]
        if torch.cuda.is_available():
            return [*rows, *(Support("cuda", one, usable=True) for one in DTYPES)]
        return [*rows, Support("cuda", "fp32", usable=False, reason="torch finds no CUDA device here")]

    def load(self, options: LoadOptions, tracer: Tracer) -> LibraryRecognizer:
        """Load the model in the folder `options.model`, in single precision unless another is asked for."""
        check_choices("transformers", options)
        if missing := _missing():
            raise NotInstalledError(f"{missing} is not installed", missing, REMEDY)
        if options.device != "cpu":
            _check_device(options.device)
        precision = options.precision or "fp32"
        if precision not in DTYPES:
            raise UnsupportedError("transformers has no such precision here", precision, f"use {', '.join(DTYPES)}")
        if options.model is None:
            raise ModelError("the transformers engine carries no model", None, "give a folder that transformers wrote")
        folder = options.model.parent if options.model.is_file() else options.model
        config = _config(folder)
        family = _family(config, folder)
        threads = THREADS.hold(options.threads)
        try:
            service = TransformersService(folder, family, DTYPES[precision], options.device, tracer)
            info = _describe(service, options, folder, family, threads, _stored(config))
        except BaseException:
            THREADS.give_back()
            raise
        return LibraryRecognizer(info, LocalRunner(service))


def _describe(
    service: TransformersService, options: LoadOptions, folder: Path, family: Family, threads: int, stored: str
) -> ModelInfo:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for dtype, count, size in service.weights():
        counts[dtype] += count
        sizes[dtype] += size
    weights = tuple(WeightGroup(dtype, counts[dtype], size) for dtype, size in sizes.most_common())
    return ModelInfo(
        engine=TransformersEngine.name,
        name=options.model_name or folder.name,
        family=family.name,
        languages=service.languages,
        sample_rate=service.sample_rate,
        device=options.device,
        precision=precision_of(weights),
        provider="torch",
        parameters=sum(counts.values()),
        weights=weights,
        files=tuple(sorted(file.name for file in folder.glob("*.safetensors"))),
        threads=threads,
        max_audio_s=family.longest_s,
        features=family.features - (frozenset() if service.languages else {"language"}),
        notes=(
            ONE_AT_A_TIME,
            "torch has one number of threads in a process: all its models here compute with it",
            "files only: a call of generate keeps its state on the model",
        ),
        converted=DTYPES["fp32"] == stored and precision_of(weights) != "fp32",
    )


def _missing() -> str | None:
    return next((name for name in ("torch", "transformers") if find_spec(name) is None), None)


def _check_device(device: str) -> None:
    import torch

    index = device_index(device)
    if index is None:
        raise UnsupportedError("torch is run on no such device here", device, "use cpu, cuda or cuda:N")
    if index >= torch.cuda.device_count():
        raise UnsupportedError("torch finds no such CUDA device", device, "see `auricle doctor`")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("not a folder of transformers", f"{path} ({error})", "save it with save_pretrained") from error
    if not isinstance(config, dict):
        raise ModelError("not a folder of transformers", path, "save it with save_pretrained")
    return config


def _family(config: dict[str, Any], folder: Path) -> Family:
    classes = config.get("architectures") or [None]
    family = FAMILIES.get(classes[0])
    if family is None:
        known = ", ".join(FAMILIES)
        raise UnsupportedError(
            "not a class of transformers that is run here", f"{folder}: {classes[0]}", f"known: {known}"
        )
    return family


def _stored(config: dict[str, Any]) -> str:
    return str(config.get("dtype") or config.get("torch_dtype") or DTYPES["fp32"])


ENGINE = TransformersEngine()
