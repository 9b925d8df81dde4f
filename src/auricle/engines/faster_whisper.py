"""Whisper by faster-whisper (CTranslate2), from a local folder: `model.bin`, `config.json`, `tokenizer.json`.

In a child process, because CTranslate2 keeps memory of its own. It decodes with no fall-back to sampling, so that a
recording always has one text.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.engines.checks import check_choices
from auricle.engines.contract import ModelInfo, Support
from auricle.engines.ctranslate2_file import FILE, read_weights
from auricle.engines.faster_whisper_service import Loaded, Plan
from auricle.engines.library import ChildRunner, LibraryRecognizer, device_index
from auricle.engines.precisions import precision_of
from auricle.errors import EngineError, ModelError, NotInstalledError, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.engines.contract import LoadOptions, Precision
    from auricle.trace import Tracer

SERVICE = "auricle.engines.faster_whisper_service:WhisperService"
SAMPLE_RATE = 16_000
COMPUTE_TYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "int8": "int8"}
SAID = {"int8_float32": "int8+fp32", "int8_float16": "int8+fp16", "int8_bfloat16": "int8+bf16"}
PRECISIONS = SAID | {compute_type: precision for precision, compute_type in COMPUTE_TYPES.items()}
REMEDY = 'pip install "auricle[whisper]"'
NEEDED = (FILE, "config.json", "tokenizer.json")
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}


class FasterWhisperEngine:
    """Loads folders that CTranslate2's converter wrote, on the CPU or a CUDA card, in any precision it has there."""

    name = "faster-whisper"

    def support(self) -> list[Support]:
        """What CTranslate2 says of this machine."""
        if find_spec("faster_whisper") is None:
            reason = "faster-whisper is not installed"
            return [Support("cpu", one, usable=False, reason=reason, remedy=REMEDY) for one in COMPUTE_TYPES]
        import ctranslate2

        rows = [_row("cpu", one, ctranslate2.get_supported_compute_types("cpu")) for one in COMPUTE_TYPES]
        if not ctranslate2.get_cuda_device_count():
            return [*rows, Support("cuda", "fp16", usable=False, reason="CTranslate2 finds no CUDA device")]
        return [*rows, *(_row("cuda", one, ctranslate2.get_supported_compute_types("cuda")) for one in COMPUTE_TYPES)]

    def load(self, options: LoadOptions, tracer: Tracer) -> LibraryRecognizer:
        """Load the model in the folder `options.model`."""
        check_choices("faster-whisper", options)
        folder = _folder(options)
        index = None if options.device == "cpu" else device_index(options.device)
        if options.device != "cpu" and index is None:
            raise UnsupportedError("faster-whisper has no such device", options.device, "use cpu, cuda or cuda:N")
        if options.precision not in {None, *COMPUTE_TYPES}:
            known = ", ".join(COMPUTE_TYPES)
            raise UnsupportedError("faster-whisper has no such precision", options.precision, f"use {known}")
        compute_type = "default" if options.precision is None else COMPUTE_TYPES[options.precision]
        plan = Plan(str(folder), "cpu" if index is None else "cuda", index or 0, compute_type, options.threads or 1)
        weights = read_weights(folder)
        runner = ChildRunner(self.name, SERVICE, (plan,), tracer)
        try:
            loaded = runner.call("loaded")
        except EngineError as error:
            what = f"faster-whisper cannot load this model: {error.what}"
            raise ModelError(what, f"{folder}: {error.value}", "convert it again") from error
        assert isinstance(loaded, Loaded)  # noqa: S101  what the service returns
        precision, held = PRECISIONS.get(loaded.compute_type, loaded.compute_type), precision_of(weights)
        info = ModelInfo(
            engine=self.name,
            name=options.model_name or folder.name,
            family="whisper",
            languages=loaded.languages,
            sample_rate=SAMPLE_RATE,
            device=options.device,
            precision=precision,
            provider="CTranslate2",
            parameters=sum(group.count for group in weights),
            weights=weights,
            files=NEEDED,
            threads=plan.threads,
            features=frozenset({"word_times", "confidence", "language", "prompt", "keywords"}),
            notes=(
                "one recording at a time, in the windows of 30 s of faster-whisper, without sampling",
                "word times change where a long recording is cut, and so may change its text",
                f"the weights are {held} in the file",
            ),
            converted=_bytes(precision) < _bytes(held),
        )
        return LibraryRecognizer(info, runner)


def _folder(options: LoadOptions) -> Path:
    if find_spec("faster_whisper") is None:
        raise NotInstalledError("faster-whisper is not installed", "faster_whisper", REMEDY)
    if options.model is None:
        raise ModelError("the faster-whisper engine carries no model", None, "give a folder that CTranslate2 wrote")
    folder = options.model.parent if options.model.name == FILE else options.model
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise ModelError(
            "the model lacks files", f"{folder}: {', '.join(missing)}", "convert it again, with its tokenizer"
        )
    return folder


def _row(device: str, precision: Precision, supported: set[str]) -> Support:
    if COMPUTE_TYPES[precision] in supported:
        return Support(device, precision, usable=True)
    return Support(device, precision, usable=False, reason=f"CTranslate2 has no {COMPUTE_TYPES[precision]} here")


def _bytes(precision: str) -> int:
    return min(BYTES[one] for one in precision.split("+"))


ENGINE = FasterWhisperEngine()
