"""The weights of a checkpoint folder: safetensors by transformers' names, or by those of the model's first release."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from auricle.errors import ModelError
from auricle.qwen3.decoder import MODEL
from auricle.qwen3.encoder import PROJECTOR, TOWER
from auricle.qwen3.precision import DTYPES, check_finite

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import torch

    from auricle.qwen3.precision import Precisions

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
_AGAIN = "get the checkpoint again"
_RENAMED = (
    ("thinker.audio_tower.proj1.", f"{PROJECTOR}linear_1."),
    ("thinker.audio_tower.proj2.", f"{PROJECTOR}linear_2."),
    ("thinker.audio_tower.", TOWER),
    ("thinker.model.", MODEL),
)
_TIED = ("lm_head.weight", "thinker.lm_head.weight")


class Weights(Mapping[str, "torch.Tensor"]):
    """The weights by transformers' names, read when they are asked for, in the type of their part, on a device."""

    def __init__(self, folder: Path, precisions: Precisions, device: torch.device) -> None:
        self._folder, self._precisions, self._device = folder, precisions, device
        self._stack = ExitStack()
        self._places: dict[str, tuple[Any, str]] = {}
        self._asked: set[str] = set()
        self.parameters = 0

    def __enter__(self) -> Self:
        from safetensors import SafetensorError, safe_open

        for path in weight_files(self._folder):
            try:
                file = self._stack.enter_context(safe_open(path, framework="pt"))
                self._places |= {renamed(key): (file, key) for key in file.keys() if key not in _TIED}  # noqa: SIM118
            except (OSError, SafetensorError) as error:
                self._stack.close()
                raise ModelError("the weights cannot be read", f"{path}: {error}", _AGAIN) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __getitem__(self, key: str) -> torch.Tensor:
        try:
            file, name = self._places[key]
        except KeyError:
            raise ModelError("a weight is missing", f"{self._folder}: {key}", _AGAIN) from None
        value: torch.Tensor = file.get_tensor(name)
        if key not in self._asked:
            self._asked.add(key)
            self.parameters += value.numel()
        precision = self._precisions.decoder if key.startswith(MODEL) else self._precisions.encoder
        check_finite({key: value}, precision)
        return value.to(self._device, DTYPES[precision])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def check_all_used(self) -> None:
        """Raise ModelError for a weight that nothing asked for: the configuration is that of another model."""
        left = sorted(set(self._places) - self._asked)
        if left:
            raise ModelError("the configuration has no place for a weight", f"{self._folder}: {left[0]}", _AGAIN)


def renamed(key: str) -> str:
    """Return transformers' name of a weight."""
    for old, new in _RENAMED:
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights; raises ModelError when one is not there."""
    index = folder / INDEX_FILE
    names = {WEIGHTS_FILE}
    if index.is_file():
        try:
            names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError("the index of the weights is damaged", f"{index}: {error}", _AGAIN) from error
    paths = [folder / name for name in sorted(names)]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ModelError("the model folder lacks a file", ", ".join(missing), _AGAIN)
    return paths
