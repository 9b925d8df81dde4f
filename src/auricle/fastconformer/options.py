"""One section of a model's configuration, read so that every option is understood, known not to matter, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auricle.errors import ModelError, UnsupportedError

_LARGEST = 1_000_000
REMEDY = "this runtime cannot compute that; run the model with NeMo, or choose another model"


class Section:
    """A mapping of options under the dotted name `path`; `finish` refuses every option that was not asked for."""

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, Mapping):
            raise ModelError("a section of the model's configuration is missing", path, "get the archive again")
        self._values: Mapping[Any, Any] = values
        self._path = path
        self._asked: set[str] = set()

    def section(self, key: str) -> Section:
        """Return the section under `key`; raises ModelError when there is none."""
        return Section(self.raw(key), self.name(key))

    def has(self, key: str) -> bool:
        """Whether `key` is there and not null."""
        return self._values.get(key) is not None

    def is_null(self, key: str) -> bool:
        """Whether `key` is there with no value, which some options tell from being absent."""
        self._asked.add(key)
        return key in self._values and self._values[key] is None

    def raw(self, key: str) -> Any:
        """Return the value of `key` as it is, None when it is absent."""
        self._asked.add(key)
        return self._values.get(key)

    def integer(self, key: str, default: int | None = None, *, least: int = 1, most: int = _LARGEST) -> int:
        """Return a whole number between `least` and `most`; raises ModelError."""
        value = self._required(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._malformed(key, value, f"a whole number from {least} to {most}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number above zero and at most a million; raises ModelError."""
        value = self._required(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _LARGEST:
            raise self._malformed(key, value, "a number above zero")
        return float(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """Return true or false; raises ModelError."""
        value = self._required(key, default)
        if not isinstance(value, bool):
            raise self._malformed(key, value, "true or false")
        return value

    def choice(self, key: str, known: tuple[Any, ...], default: Any = None) -> Any:
        """Return one of the values that this runtime knows; raises UnsupportedError for any other."""
        value = self.raw(key)
        value = default if value is None else value
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in known):
            raise self.unsupported(key, value)
        return value

    def ignore(self, *keys: str) -> None:
        """Accept options that do not touch inference."""
        self._asked.update(keys)

    def finish(self) -> None:
        """Raise UnsupportedError for the first option that nobody asked for."""
        unknown = sorted(str(key) for key in self._values if key not in self._asked)
        if unknown:
            raise UnsupportedError("this runtime does not know an option of the model", self.name(unknown[0]), REMEDY)

    def unsupported(self, key: str, value: object) -> UnsupportedError:
        """Return the error for an option whose value this runtime cannot honour."""
        return UnsupportedError("this runtime cannot run a model with", f"{self.name(key)} = {value!r:.80}", REMEDY)

    def name(self, key: str) -> str:
        """Return the full dotted name of `key`."""
        return f"{self._path}.{key}" if self._path else key

    def _required(self, key: str, default: object) -> Any:
        value = self.raw(key)
        if value is None and default is None:
            raise ModelError(
                "an option of the model's configuration is missing", self.name(key), "get the archive again"
            )
        return default if value is None else value

    def _malformed(self, key: str, value: object, wanted: str) -> ModelError:
        return ModelError(
            "an option of the model is malformed", f"{self.name(key)} = {value!r:.80}", f"it must be {wanted}"
        )
