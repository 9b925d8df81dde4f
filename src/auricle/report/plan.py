"""From capacities and prices to the cost of a stream, the machines for a load, and a recommendation.

The cost of a stream-hour is the price of a machine-hour ÷ the streams that it holds ÷ utilisation, the share of them
that is occupied on average. A capacity is measured, assumed, or an estimate: scaled by the arithmetic of the cards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auricle.errors import UsageError
from auricle.report.prices import Capacity, Price, PriceBook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.report.prices import How

MINUTES_PER_HOUR = 60
DUTY_BOUND = 0.8
"""The share of a card's time that copies of a model may take together."""
CLOSE = 0.2
"""Costs this near to each other are decided by the error of estimates and by how prices move."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be served: live streams at the peak, the share of them that is occupied on average, and the spare.

    `headroom` is the share of a machine's capacity that is kept free, `reserve` the machines that may fail.
    """

    streams: int = 100
    utilisation: float = 1.0
    headroom: float = 0.2
    reserve: int = 1
    cpu_cores: float = 0.0
    api_usd_per_minute: float | None = None
    model_memory_gb: float | None = None

    def __post_init__(self) -> None:
        bounds = {
            "a load has a whole number of streams above 0": self.streams > 0,
            "utilisation is above 0 and at most 1": 0 < self.utilisation <= 1,
            "headroom is at least 0 and below 1": 0 <= self.headroom < 1,
            "reserve is 0 machines or more": self.reserve >= 0,
            "CPU cores are 0 or more": 0 <= self.cpu_cores < math.inf,
            "the price of an API is above 0": self.api_usd_per_minute is None or 0 < self.api_usd_per_minute < math.inf,
            "the memory of a model is above 0": self.model_memory_gb is None or 0 < self.model_memory_gb < math.inf,
        }
        if broken := [what for what, held in bounds.items() if not held]:
            raise UsageError("not a load", "; ".join(broken))


@dataclass(frozen=True, slots=True)
class Row:
    """One machine under a load; what is not known is None. `usd_per_hour` includes its CPU cores.

    `replicas` are copies of the model on a card that the platform allows; the capacity of the machine counts them only
    where the duty of one copy is measured. `break_even_streams` of occupied streams cost as much at the hosted API.
    """

    price: Price
    usd_per_hour: float
    streams: float
    how: How
    source: str
    wer_percent: float | None
    usd_per_stream_hour: float
    at_full: float
    vram_share: float | None
    replicas_by_memory: int | None
    replicas_by_duty: int | None
    replicas: int | None
    machines: int
    usd_per_hour_of_load: float
    usd_per_stream_hour_of_load: float
    occupied: float
    break_even_streams: float | None


def rows(capacities: Sequence[Capacity], book: PriceBook, load: Load) -> list[Row]:
    """Return a row for each capacity, the cheapest for the load first.

    Raises UsageError for no capacity, one of zero streams, and what no price or GPU is known of.
    """
    if not capacities:
        raise UsageError("there is no capacity to plan with", None, "give --run, --capacity or --plan")
    known = [scaled(one, capacities, book) for one in capacities]
    return sorted((_row(one, book, load) for one in known), key=lambda row: (row.usd_per_hour_of_load, row.at_full))


def scaled(one: Capacity, others: Sequence[Capacity], book: PriceBook) -> Capacity:
    """Return a capacity with its streams: its own, or those of `scaled_from` times the ratio of TFLOP/s."""
    if one.streams is not None:
        if not one.streams > 0:
            raise UsageError(f"the capacity on {one.price} holds no stream", f"{one.streams:g}", "measure it again")
        return one
    base = next((other for other in others if other.price == one.scaled_from and other.streams is not None), None)
    if one.scaled_from is None or base is None or base.streams is None:
        raise UsageError("no capacity is known", one.price, "give streams, or scaled_from the price of one that has")
    mine, theirs = (_tflops(name, book) for name in (one.price, base.price))
    source = f"{base.streams:g} x {mine:g}/{theirs:g} TFLOPS"
    memory_gb = one.memory_gb or base.memory_gb
    return replace(
        one, streams=float(int(base.streams * mine / theirs)), how="estimate", source=source, memory_gb=memory_gb
    )


def _tflops(name: str, book: PriceBook) -> float:
    gpu = book.gpu(book.price(name))
    if gpu is None or gpu.dense_tflops is None:
        raise UsageError("capacity is scaled by TFLOPS, which are not known of the GPU", name, "give its streams")
    return gpu.dense_tflops


def _row(one: Capacity, book: PriceBook, load: Load) -> Row:
    price = book.price(one.price)
    usd = book.usd_per_hour(price)
    if load.cpu_cores and price.usd_per_core_hour is not None:
        usd += load.cpu_cores * price.usd_per_core_hour
    gpu = book.gpu(price)
    memory_gb = one.memory_gb or load.model_memory_gb
    by_memory = by_duty = replicas = share = None
    if gpu is not None and gpu.memory_gb is not None and memory_gb is not None:
        share = memory_gb / gpu.memory_gb
        by_memory = int(gpu.memory_gb // memory_gb)
        if by_memory == 0:
            raise UsageError(f"the model does not fit on {price.id}", f"{memory_gb:g} of {gpu.memory_gb:g} GB")
    if one.duty is not None:
        by_duty = max(1, int(DUTY_BOUND / one.duty + 1e-9))
    if price.several_per_card is not None:
        known = [count for count in (by_memory, by_duty) if count is not None]
        replicas = (min(known) if known else None) if price.several_per_card else 1
    copies = replicas if by_duty is not None and replicas is not None else 1
    streams = float(one.streams or 0) * copies * max(1, price.gpus)
    machines = math.ceil(load.streams / (streams * (1 - load.headroom)) - 1e-9) + load.reserve
    api = load.api_usd_per_minute
    return Row(
        price=price,
        usd_per_hour=usd,
        streams=streams,
        how=one.how,
        source=one.source,
        wer_percent=one.wer_percent,
        usd_per_stream_hour=usd / streams / load.utilisation,
        at_full=usd / streams,
        vram_share=share,
        replicas_by_memory=by_memory,
        replicas_by_duty=by_duty,
        replicas=replicas,
        machines=machines,
        usd_per_hour_of_load=machines * usd,
        usd_per_stream_hour_of_load=machines * usd / (load.streams * load.utilisation),
        occupied=load.streams / (machines * streams),
        break_even_streams=None if api is None else usd / (MINUTES_PER_HOUR * api),
    )


def recommendation(found: Sequence[Row], load: Load) -> str:
    """Return what to take and why, in a sentence or two; `found` has the cheapest first."""
    best = found[0]
    told = (
        f"Take {_count(best.machines, 'machine')} of {best.price.id}: {load.streams} live streams then cost "
        f"${best.usd_per_hour_of_load:.2f} an hour, the least of {len(found)}"
    )
    if len(found) > 1:
        more = found[1].usd_per_hour_of_load / best.usd_per_hour_of_load - 1
        told += f"; {found[1].price.id} costs {100 * more:.0f} % more"
    told += "."
    if best.how != "measured":
        told += f" Its capacity is {_article(best.how)}, not a measurement: measure it before you commit."
    fullest = min(found, key=lambda row: row.at_full)
    if fullest is not best:
        told += f" Full machines are cheapest as {fullest.price.id} (${fullest.at_full:.3f} a stream-hour)."
    close = [row.price.id for row in found[1:] if abs(row.at_full / best.at_full - 1) <= CLOSE]
    if close:
        told += f" Full machines of {', '.join(close)} cost the same a stream, within {100 * CLOSE:.0f} %."
    if load.api_usd_per_minute is not None:
        hosted = load.streams * load.utilisation * MINUTES_PER_HOUR * load.api_usd_per_minute
        cheaper = "more" if hosted > best.usd_per_hour_of_load else "less"
        told += f" The hosted API would cost ${hosted:.2f} an hour, {cheaper} than that."
    return told


def assumptions(found: Sequence[Row], load: Load) -> list[str]:
    """Return what of the inputs is not a measurement or not known to be current."""
    told = [
        f"{row.price.id}: {row.streams:g} streams is {_article(row.how)}{f' ({row.source})' if row.source else ''}"
        for row in found
        if row.how != "measured"
    ]
    told += [f"{row.price.id}: the price is undated ({row.price.source})" for row in found if row.price.date is None]
    if load.cpu_cores:
        unknown = [row.price.id for row in found if row.price.usd_per_core_hour is None]
        told += [f"{name}: the price of CPU cores is unknown and not added" for name in unknown]
    unlike = [row.price.id for row in found if row.wer_percent is None]
    if unlike:
        told.append(f"the WER at that load is not known on {', '.join(unlike)}")
    return told


@dataclass(frozen=True, slots=True)
class Change:
    """What the load costs an hour, and on which machine, when one input is another."""

    what: str
    best: str
    usd_per_hour: float
    usd_per_stream_hour: float


def sensitivity(capacities: Sequence[Capacity], book: PriceBook, load: Load) -> list[Change]:
    """Return how the answer moves with price, utilisation, headroom and the capacities that are not measured."""
    first = rows(capacities, book, load)
    best = first[0].price
    found = [_change("as given", first)]
    for factor in (0.8, 1.2):
        other = PriceBook(dict(book.prices), book.gpus)
        other.prices[best.id] = replace(best, usd_per_hour=book.usd_per_hour(best) * factor)
        found.append(_change(f"{best.id} at {100 * factor:.0f} % of its price", rows(capacities, other, load)))
    found += [
        _change(f"utilisation {100 * share:.0f} %", rows(capacities, book, replace(load, utilisation=share)))
        for share in (1.0, 0.5, 0.25)
        if share != load.utilisation
    ]
    known = [scaled(one, capacities, book) for one in capacities]
    if any(one.how != "measured" for one in known):
        fewer = [one if one.how == "measured" else replace(one, streams=0.7 * (one.streams or 0)) for one in known]
        found.append(_change("30 % fewer streams wherever they are not measured", rows(fewer, book, load)))
    return found


def _change(what: str, found: Sequence[Row]) -> Change:
    best = found[0]
    return Change(what, best.price.id, best.usd_per_hour_of_load, best.usd_per_stream_hour_of_load)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _article(how: How) -> str:
    return "an assumption" if how == "assumed" else f"an {how}"
