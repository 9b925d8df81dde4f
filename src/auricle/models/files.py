"""Which file of a model folder to open, found by name: `X.onnx`, `X.fp32.onnx`, `X.fp16.onnx` or `X.int8.onnx`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN = None
_GPU_ORDER = (_PLAIN, "fp32", "fp16", "int8")
_CPU_ORDER = ("int8", _PLAIN, "fp32", "fp16")


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """The file to open, the precision its name states (None for a plain `X.onnx`: read the graph), what else was there.

    `considered` names every file that exists for the stem, in the order of preference for the device.
    """

    path: Path
    precision: str | None
    considered: tuple[str, ...]


def find_model_file(folder: Path, stem: str, device: str, precision: str | None = None) -> ChosenFile:
    """Choose the file of `stem` in `folder`: float first on a GPU, int8 first on a CPU.

    A `precision` that is asked for must be in the file's name; fp32 may also be a plain `X.onnx`, whose real precision
    only its graph tells. Raises ModelError naming what the folder holds when there is no such file.
    """
    order = _CPU_ORDER if device.partition(":")[0] == "cpu" else _GPU_ORDER
    present = {suffix: path for suffix in order if (path := folder / _name(stem, suffix)).is_file()}
    wanted = {None: order, "fp32": ("fp32", _PLAIN)}.get(precision, (precision,))
    for suffix in wanted:
        if suffix in present:
            return ChosenFile(present[suffix], suffix, tuple(path.name for path in present.values()))
    tried = ", ".join(_name(stem, suffix) for suffix in wanted)
    raise ModelError(
        f"no {tried} in the model folder", folder, _remedy(folder, [path.name for path in present.values()])
    )


def _name(stem: str, suffix: str | None) -> str:
    return f"{stem}.onnx" if suffix is None else f"{stem}.{suffix}.onnx"


def _remedy(folder: Path, present: list[str]) -> str:
    if not folder.is_dir():
        return "give the path of an existing model folder, or the name of a model that `auricle models list` shows"
    if present:
        return f"there is {', '.join(present)}: ask for that precision or for none"
    found = sorted(path.name for path in folder.glob("*.onnx"))
    return f"the folder holds {', '.join(found)}" if found else "the folder holds no .onnx file"
