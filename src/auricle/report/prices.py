"""Prices of machines, each with its source and date, and what is known of their GPUs; unknown is None."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  pydantic reads it from the annotations
import difflib
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

STRICT = ConfigDict(extra="forbid")
How = Literal["measured", "estimate", "assumed"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: memory in GB, dense arithmetic at 16 bits in TFLOP/s."""

    __pydantic_config__ = STRICT
    name: str
    memory_gb: Positive | None = None
    dense_tflops: Positive | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """What a machine with `gpus` cards costs; `date` is when its source was read, `via` who wrote it down.

    `several_per_card` tells whether the platform lets several processes share one card.
    """

    __pydantic_config__ = STRICT
    id: str
    provider: str
    source: str
    gpu: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 1
    usd_per_hour: Positive | None = None
    usd_per_core_hour: Positive | None = None
    several_per_card: bool | None = None
    date: dt.date | None = None
    via: str | None = None

    @property
    def told(self) -> str:
        """Source and date on one line."""
        via = "" if self.via is None else f", via {self.via}"
        return f"{self.source}{via}, {'undated' if self.date is None else self.date.isoformat()}"


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many live streams one copy of a model holds on a machine, how that is known, and the WER in % there.

    `memory_gb` is what a copy takes of the card, `duty` the share of time in which the card computes at that load.
    Instead of `streams`, `scaled_from` names the price whose measured capacity is scaled by TFLOP/s.
    """

    __pydantic_config__ = STRICT
    price: str
    streams: Annotated[float, Field(allow_inf_nan=False)] | None = None
    how: How = "assumed"
    source: str = ""
    scaled_from: str | None = None
    wer_percent: float | None = None
    memory_gb: Positive | None = None
    duty: Annotated[float, Field(gt=0, le=1)] | None = None


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What a price file or a plan file may hold."""

    __pydantic_config__ = STRICT
    price: tuple[Price, ...] = ()
    gpu: tuple[Gpu, ...] = ()
    capacity: tuple[Capacity, ...] = ()
    model_memory_gb: Positive | None = None


@dataclass(slots=True)
class PriceBook:
    """Known prices and GPUs by name; what is added later replaces what has the same name."""

    prices: dict[str, Price] = field(default_factory=dict)
    gpus: dict[str, Gpu] = field(default_factory=dict)

    def add(self, found: PriceFile) -> None:
        """Take the prices and GPUs of a file."""
        self.prices |= {price.id: price for price in found.price}
        self.gpus |= {gpu.name: gpu for gpu in found.gpu}

    def price(self, name: str) -> Price:
        """Return a price by its id; raises UsageError, naming those that are like it."""
        if name not in self.prices:
            raise UsageError("no such price", name, f"{_like(name, self.prices)}; `auricle plan --list` shows all")
        return self.prices[name]

    def usd_per_hour(self, price: Price) -> float:
        """Return what a machine costs; raises UsageError where that is not known."""
        if price.usd_per_hour is None:
            raise UsageError("no price is known", price.id, "give usd_per_hour, with source and date, in a price file")
        return price.usd_per_hour

    def gpu(self, price: Price) -> Gpu | None:
        """Return the GPU of a machine, None without one; raises UsageError for one that nothing is known of."""
        if price.gpu is None:
            return None
        if price.gpu not in self.gpus:
            remedy = f"{_like(price.gpu, self.gpus)}; or describe it as [[gpu]] in a price file"
            raise UsageError(f"unknown GPU of the price {price.id}", price.gpu, remedy)
        return self.gpus[price.gpu]


def shipped() -> PriceBook:
    """Return the prices that come with Auricle."""
    book = PriceBook()
    book.add(_parsed(_shipped_text("prices.toml"), "prices.toml"))
    return book


def sample() -> PriceFile:
    """Return the worked example of a plan."""
    return _parsed(_shipped_text("plan_sample.toml"), "plan_sample.toml")


def read_prices(path: Path) -> PriceFile:
    """Read prices, GPUs and capacities from TOML; raises UsageError that names the place of what is wrong."""
    try:
        return _parsed(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UsageError("a price file cannot be read", f"{path} ({error.strerror})") from error


def _parsed(text: str, name: str) -> PriceFile:
    try:
        found: dict[str, Any] = tomllib.loads(text)
        return TypeAdapter(PriceFile).validate_python(found)
    except tomllib.TOMLDecodeError as error:
        raise UsageError("a price file is no TOML", f"{name}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError("a price file is malformed", f"{name}, {place}: {first['msg']}") from error


def _shipped_text(name: str) -> str:
    return resources.files("auricle.report").joinpath(name).read_text(encoding="utf-8")


def _like(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:5]
    return f"known are {', '.join(close)}" if close else "none is known"
