"""Where sherpa-onnx can really run: what the installed package holds, and what its providers cannot run."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from auricle.engines.contract import Support
from auricle.errors import NotInstalledError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auricle.engines.contract import Precision
    from auricle.models.onnx_graph import GraphFacts

Provider = Literal["cpu", "cuda", "trt"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
_NOT_INSTALLED = "sherpa-onnx is not installed"
INSTALL = 'pip install "auricle[sherpa]"'
_CUDA_WHEEL = "install a CUDA build of sherpa-onnx (k2-fsa.github.io/sherpa/onnx/cuda.html), or use device cpu"
_QUANTISED = "its quantised operators run on the CPU"
_LIBRARIES = {"cuda": "onnxruntime_providers_cuda", "trt": "onnxruntime_providers_tensorrt"}
_DEVICES: dict[str, Provider] = {"cpu": "cpu", "cuda": "cuda", "cuda:0": "cuda", "trt": "trt"}
ONNX_RUNTIME_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "trt": "TensorrtExecutionProvider",
}


def provider_of(device: str) -> Provider:
    """Return sherpa-onnx's name for `device`; raises UnsupportedError for one that it does not have."""
    try:
        return _DEVICES[device]
    except KeyError:
        known = ", ".join(_DEVICES)
        raise UnsupportedError("the sherpa-onnx engine does not run on this device", device, f"use {known}") from None


def check_graphs(provider: Provider, graphs: Mapping[str, GraphFacts], *, live: bool) -> None:
    """Raise UnsupportedError for what the library or ONNX Runtime would run on the CPU instead, naming it."""
    if provider == "cpu":
        return
    if provider == "trt" and not live:
        raise UnsupportedError(
            "sherpa-onnx runs streaming models alone with TensorRT", "this model is offline", "use device cuda or cpu"
        )
    for name, graph in graphs.items():
        if graph.quantised_ops:
            raise UnsupportedError(
                f"{name} cannot run on {provider}: {_QUANTISED}",
                ", ".join(f"{count} x {operator}" for operator, count in graph.quantised_ops.items()),
                "use the fp32 or fp16 files (precision fp32), or device cpu",
            )


def installed_package() -> Path:
    """Return the folder of the sherpa-onnx package, without importing it; raises NotInstalledError."""
    folder = _package()
    if folder is None:
        raise NotInstalledError(_NOT_INSTALLED, None, INSTALL)
    return folder


def check_build(provider: Provider, package: Path) -> None:
    """Raise UnsupportedError when the installed build has no such provider."""
    if provider != "cpu" and not _has_provider(package, provider):
        raise UnsupportedError(f"this sherpa-onnx has no {provider} provider", _build(), _CUDA_WHEEL)


def support() -> list[Support]:
    """Say which device and precision can be used here, from the files of the installed package."""
    folder = _package()
    return [_support(folder, device, precision) for device in ("cpu", "cuda") for precision in PRECISIONS]


def _support(folder: Path | None, device: str, precision: str) -> Support:
    if folder is None:
        return Support(device, precision, usable=False, reason=_NOT_INSTALLED, remedy=INSTALL)
    if device == "cuda" and not _has_provider(folder, "cuda"):
        return Support(device, precision, usable=False, reason=f"{_build()} has no CUDA provider", remedy=_CUDA_WHEEL)
    if device == "cuda" and precision == "int8":
        return Support(device, precision, usable=False, reason=_QUANTISED, remedy="use fp32, or int8 on the cpu")
    return Support(device, precision, usable=True)


def _package() -> Path | None:
    spec = find_spec("sherpa_onnx")
    return Path(spec.origin).parent if spec and spec.origin else None


def _has_provider(folder: Path, provider: Provider) -> bool:
    return any(folder.rglob(f"*{_LIBRARIES[provider]}.*"))


def _build() -> str:
    return f"sherpa-onnx {version('sherpa-onnx')}"
