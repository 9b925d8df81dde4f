"""Finds the files of one sherpa-onnx model by their names: its graphs, one for each role, and its tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError
from auricle.models.files import ChosenFile, find_model_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auricle.engines.contract import Precision

_PRECISION_SUFFIX = re.compile(r"\.(fp32|fp16|int8)$")
_ROLE = re.compile(r"(?P<before>(?:.*-)?)(?P<role>encoder|decoder|joiner)(?P<after>(?:[-.].*)?)")
_SINGLE = "model"


@dataclass(frozen=True, slots=True)
class Layout:
    """The chosen graph file of each role (`model`, or `encoder`, `decoder` and `joiner`) and the token table."""

    folder: Path
    graphs: Mapping[str, ChosenFile]
    tokens: Path


def find_layout(model: Path, device: str, precision: Precision | None) -> Layout:
    """Find the files of the model in the folder `model`, or of the one that the graph file `model` belongs to.

    A graph that is named by its file is that file; its companions are sought in the same precision. Raises ModelError
    when there is none, when there are several, or when no file has the precision asked for.
    """
    folder = model.parent if model.is_file() else model
    stems = {_stem(path.name) for path in folder.glob("*.onnx")} if folder.is_dir() else set()
    if not stems:
        raise ModelError("no .onnx file in the model folder", folder, "give the folder of a sherpa-onnx export")
    before, roles = _choose(_group(stems), model)
    if model.is_file():
        precision = precision or _precision(model.name)
    graphs = {
        role: _named(model)
        if model.is_file() and stem == _stem(model.name)
        else _file(folder, role, stem, device, precision)
        for role, stem in sorted(roles.items())
    }
    return Layout(folder, graphs, _tokens(folder, before))


def _stem(name: str) -> str:
    return _PRECISION_SUFFIX.sub("", name.removesuffix(".onnx"))


def _precision(name: str) -> Precision:
    suffix = _PRECISION_SUFFIX.search(name.removesuffix(".onnx"))
    stated: dict[str, Precision] = {"fp16": "fp16", "int8": "int8"}
    return stated.get(suffix[1], "fp32") if suffix else "fp32"


def _group(stems: set[str]) -> dict[tuple[str, str], dict[str, str]]:
    """Group stems into models: those that differ in their role alone belong together."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for stem in sorted(stems):
        match = _ROLE.fullmatch(stem)
        key = (match["before"], match["after"]) if match else ("", stem)
        groups.setdefault(key, {})[match["role"] if match else _SINGLE] = stem
    return groups


def _choose(groups: dict[tuple[str, str], dict[str, str]], model: Path) -> tuple[str, dict[str, str]]:
    if model.is_file():
        stem = _stem(model.name)
        groups = {key: roles for key, roles in groups.items() if stem in roles.values()}
        if not groups:
            raise ModelError("a sherpa-onnx model is a folder or an .onnx file", model, "give one of the two")
    if len(groups) > 1:
        names = "; ".join(" + ".join(roles.values()) for roles in groups.values())
        raise ModelError("several models in the folder", names, "give the path of one graph file of the one you mean")
    ((before, _), roles) = next(iter(groups.items()))
    return before, roles


def _named(file: Path) -> ChosenFile:
    return ChosenFile(file, _precision(file.name), (file.name,))


def _file(folder: Path, role: str, stem: str, device: str, precision: Precision | None) -> ChosenFile:
    """Choose a file; int8 asked for means the encoder, the others are often left in float on purpose."""
    try:
        return find_model_file(folder, stem, device, precision)
    except ModelError:
        if precision == "int8" and role not in {"encoder", _SINGLE}:
            return find_model_file(folder, stem, device)
        raise


def _tokens(folder: Path, before: str) -> Path:
    for name in dict.fromkeys((f"{before}tokens.txt", "tokens.txt")):
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"no {before}tokens.txt in the model folder", folder, "copy it from where the graphs are from")
