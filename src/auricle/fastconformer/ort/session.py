"""Sessions of ONNX Runtime that do what they were asked to, or refuse: where every operator ran is read back."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from auricle.errors import EngineError, ModelError, NotInstalledError, UnsupportedError
from auricle.tensors.telemetry import keep_telemetry_off

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Arena = Literal["same-as-requested", "power-of-two", "none"]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_ARENAS = {"same-as-requested": "kSameAsRequested", "power-of-two": "kNextPowerOfTwo"}
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How sessions compute. `on_cpu` names kinds of operators that may run on the CPU though a card was asked for.

    `arena` is how a provider's memory grows: as asked for, doubling, or without an arena.
    """

    device: str = "cpu"
    threads: int = 1
    arena: Arena = "same-as-requested"
    on_cpu: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one operator ran, and the types of numbers it was given."""

    name: str
    kind: str
    provider: str
    types: tuple[str, ...]


def check_installed() -> None:
    """Raise NotInstalledError without ONNX Runtime."""
    if find_spec("onnxruntime") is None:
        raise NotInstalledError("exported models need a package", "onnxruntime", "pip install 'auricle[onnx]'")


class Session:
    """One graph, loaded; `placed` tells where each of its operators ran in a first run with the given `sizes`.

    Raises ModelError for a graph that cannot be loaded, UnsupportedError for a provider that is not there, or for
    operators that it left to the CPU.
    """

    def __init__(self, path: Path, settings: Settings, sizes: Mapping[str, int]) -> None:
        keep_telemetry_off()
        import onnxruntime

        wanted = provider_of(settings.device)
        with tempfile.TemporaryDirectory() as folder:
            options = _options(settings, Path(folder, "run"))
            try:
                self.raw: Any = onnxruntime.InferenceSession(path, options, providers=_chain(wanted, settings))
                self.inputs = {one.name: (one.shape, _TYPES[one.type]) for one in self.raw.get_inputs()}
                self.outputs = [one.name for one in self.raw.get_outputs()]
                self.raw.run(None, {name: self.zeros(name, sizes) for name in self.inputs})
            except failures() as error:
                raise ModelError(f"ONNX Runtime cannot run the graph ({error})", path, "export it again") from error
            self.placed = read_profile(Path(self.raw.end_profiling()))
        check_placed(self.placed, wanted, settings.on_cpu)

    def zeros(self, name: str, sizes: Mapping[str, int]) -> NDArray[Any]:
        """Return what an input may be, all zero, with sizes for the dimensions that vary."""
        shape, kind = self.inputs[name]
        return np.zeros([sizes[one] if isinstance(one, str) else one for one in shape], kind)

    def run(self, *values: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Return all outputs of all inputs, in order; raises EngineError."""
        try:
            found: Sequence[NDArray[Any]] = self.raw.run(self.outputs, dict(zip(self.inputs, values, strict=True)))
        except failures() as error:
            raise EngineError("ONNX Runtime failed", error, "give shorter or fewer recordings at once") from error
        return found


def failures() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its errors have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return tuple(one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception))


def provider_of(device: str) -> str:
    """Return the provider of a device; raises UnsupportedError for one that is unknown or not installed."""
    keep_telemetry_off()
    import onnxruntime

    if device not in PROVIDERS:
        raise UnsupportedError("the onnx engine has no such device", device, f"use {', '.join(PROVIDERS)}")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[device] not in available:
        what = f"this ONNX Runtime has no {PROVIDERS[device]}"
        raise UnsupportedError(what, f"it has {', '.join(available)}", "install onnxruntime-gpu, or use cpu")
    return PROVIDERS[device]


def read_profile(path: Path) -> list[Placed]:
    """Return where the operators of a profiled run were computed."""
    events = json.loads(path.read_text(encoding="utf-8"))
    found = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            about = event["args"]
            types = tuple(kind for one in about.get("input_type_shape", ()) for kind in one)
            name = event["name"].removesuffix("_kernel_time")
            found[name] = Placed(name, about["op_name"], about["provider"], types)
    return list(found.values())


def check_placed(placed: Iterable[Placed], wanted: str, allowed: Collection[str]) -> None:
    """Raise UnsupportedError for operators that ran elsewhere than asked, unless their kind is allowed by name."""
    strays = [one for one in placed if one.provider != wanted and one.kind not in allowed]
    if strays:
        kinds = ", ".join(sorted({one.kind for one in strays}))
        names = ", ".join(one.name for one in strays[:_SHOWN])
        what = f"{len(strays)} operators fell back from {wanted} to {strays[0].provider}"
        raise UnsupportedError(what, f"{kinds} ({names} ...)", "allow these kinds by name, or use device cpu")


def summary(placed: Iterable[Placed]) -> Counter[str]:
    """Count operators by provider and by whether they multiply whole numbers."""
    whole = ("MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits", "ConvInteger")
    return Counter(f"{one.provider}{' in int8' if one.kind in whole else ''}" for one in placed)


def _options(settings: Settings, profile: Path) -> Any:
    keep_telemetry_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena != "none"
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(profile)
    return options


def _chain(wanted: str, settings: Settings) -> list[Any]:
    """Return the provider asked for with its settings; what it leaves goes to the CPU, where it is found."""
    if wanted == PROVIDERS["cpu"]:
        return [wanted]
    own = {} if settings.arena == "none" else {"arena_extend_strategy": _ARENAS[settings.arena]}
    cuda = (PROVIDERS["cuda"], own)
    first = [cuda] if wanted == PROVIDERS["cuda"] else [(wanted, {}), cuda]
    return [*first, PROVIDERS["cpu"]]
