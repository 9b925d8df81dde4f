"""`auricle plan`: from measured capacities and dated prices to the cost of a stream, machines and a recommendation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli.console import AsJson, print_grid, print_json, say
from auricle.cli.runs import DEFAULT_ROOT, RunsRoot
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auricle.bench.records import Run
    from auricle.report.plan import Change, Row
    from auricle.report.prices import Capacity, PriceBook
    from auricle.report.tables import Grid

PERCENT = 100


def plan(
    run: Annotated[
        list[str] | None, typer.Option(metavar="RUN[@ARM]=PRICE", help="A live run, and what its machine costs.")
    ] = None,
    capacity: Annotated[
        list[str] | None, typer.Option(metavar="PRICE=STREAMS", help="A capacity that is assumed; repeatable.")
    ] = None,
    scaled: Annotated[
        list[str] | None, typer.Option(metavar="PRICE=PRICE", help="Estimated by TFLOPS from another's capacity.")
    ] = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="TOML of prices and capacities, as the sample's.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Plan with the worked example.")] = False,
    prices: Annotated[list[Path] | None, typer.Option(help="TOML of more prices; repeatable.")] = None,
    streams: Annotated[int, typer.Option(min=1, help="Live streams at the peak.")] = 100,
    utilisation: Annotated[float, typer.Option(help="Share of them that is occupied on average.")] = 1.0,
    headroom: Annotated[float, typer.Option(help="Share of a machine's capacity that is kept free.")] = 0.2,
    reserve: Annotated[int, typer.Option(help="Machines that may fail.")] = 1,
    cpu_cores: Annotated[float, typer.Option(help="CPU cores beside the GPU, where they are priced apart.")] = 0.0,
    model_memory_gb: Annotated[float | None, typer.Option(help="What a copy of the model takes of a GPU.")] = None,
    api_per_minute: Annotated[float | None, typer.Option(help="$ a minute of audio at a hosted API.")] = None,
    list_prices: Annotated[bool, typer.Option("--list", help="List the known prices with their sources.")] = False,
    root: RunsRoot = DEFAULT_ROOT,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Say what live streams cost on which machine, how many machines a load takes, and which to choose."""
    from auricle.report import plan as planning
    from auricle.report import prices as priced

    book = priced.shipped()
    files = [priced.read_prices(path) for path in prices or ()]
    if sample:
        files.append(priced.sample())
    if plan_file is not None:
        files.append(priced.read_prices(plan_file))
    for file in files:
        book.add(file)
    if list_prices:
        print_grid(_prices(book), as_markdown=markdown)
        return 0
    memories = [file.model_memory_gb for file in files if file.model_memory_gb is not None]
    load = planning.Load(
        streams=streams,
        utilisation=utilisation,
        headroom=headroom,
        reserve=reserve,
        cpu_cores=cpu_cores,
        api_usd_per_minute=api_per_minute,
        model_memory_gb=model_memory_gb or (memories[-1] if memories else None),
    )
    measured = [_measured(text, root) for text in run or ()]
    capacities = [one for file in files for one in file.capacity]
    capacities += [_pair(text, "=STREAMS") for text in capacity or ()]
    capacities += [_scaled(text) for text in scaled or ()]
    capacities += [one for one, _, _ in measured]
    found = planning.rows(capacities, book, load)
    changes = planning.sensitivity(capacities, book, load)
    bounds = {f"{one.id}{'' if arm is None else f'@{arm}'}": _by_bounds(one, arm) for _, one, arm in measured}
    if as_json:
        print_json(
            {
                "recommendation": planning.recommendation(found, load),
                "assumptions": planning.assumptions(found, load),
                "load": asdict(load),
                "rows": [asdict(row) for row in found],
                "sensitivity": [asdict(change) for change in changes],
                "held_by_bounds": bounds,
            }
        )
        return 0
    print(planning.recommendation(found, load))
    for grid in (_costs(found, load.utilisation), _cards(found), _machines(found), _changes(changes), *_held(bounds)):
        print_grid(grid, as_markdown=markdown)
    say("Assumed, not measured:")
    for line in planning.assumptions(found, load):
        say(f"  {line}")
    return 0


def _measured(text: str, root: Path) -> tuple[Capacity, Run, str | None]:
    from auricle.report.capacities import held
    from auricle.report.reading import open_run

    name, equals, price = text.rpartition("=")
    if not equals or not name:
        raise UsageError("not a run and its price", text, "write RUN=PRICE, such as 20261130-101500-live=modal-l4")
    folder, _, arm = name.partition("@")
    run = open_run(folder, root, say)
    return held(run, arm or None).capacity(price), run, arm or None


def _by_bounds(run: Run, arm: str | None) -> dict[str, int | None]:
    from auricle.report.capacities import by_bounds

    return by_bounds(run, arm)


def _pair(text: str, what: str) -> Capacity:
    from auricle.report.prices import Capacity

    price, _, streams = text.partition("=")
    try:
        return Capacity(price=price, streams=float(streams), how="assumed", source="given on the command line")
    except ValueError as error:
        raise UsageError("not a price and a number", text, f"write PRICE{what}, such as modal-l4=50") from error


def _scaled(text: str) -> Capacity:
    from auricle.report.prices import Capacity

    price, equals, other = text.partition("=")
    if not equals:
        raise UsageError("not two prices", text, "write PRICE=PRICE, such as modal-l4=modal-h100")
    return Capacity(price=price, how="estimate", scaled_from=other)


def _costs(found: Sequence[Row], utilisation: float) -> Grid:
    from auricle.report.tables import Grid

    percent = f"{PERCENT * utilisation:g} %"
    right = (
        "$ per hour",
        "streams",
        "WER %",
        "VRAM",
        "$ per stream-hour, full",
        *([f"at {percent}"] if utilisation < 1 else []),
    )
    body = tuple(
        (
            row.price.id,
            row.price.gpu or "none",
            f"{row.usd_per_hour:.2f}",
            f"{row.streams:g}",
            _known(row.wer_percent, "{:.1f}"),
            _known(row.vram_share, "{:.0f} %", PERCENT),
            f"{row.at_full:.3f}",
            *([f"{row.usd_per_stream_hour:.3f}"] if utilisation < 1 else []),
            row.how,
        )
        for row in found
    )
    return Grid("What a stream costs", ("price", "GPU", *right, "capacity"), right, body)


def _cards(found: Sequence[Row]) -> Grid:
    from auricle.report.tables import Grid

    right = ("by memory", "by duty", "copies on a card", "API break-even")
    body = tuple(
        (
            row.price.id,
            _known(row.replicas_by_memory, "{:d}", 1),
            _known(row.replicas_by_duty, "{:d}", 1),
            "1, platform" if row.price.several_per_card is False else _known(row.replicas, "{:d}", 1),
            _known(row.break_even_streams, "{:.1f} streams"),
            row.price.told,
        )
        for row in found
    )
    title = "Copies of the model on a card, and from how many occupied streams on a hosted API costs more"
    return Grid(title, ("price", *right, "source"), right, body)


def _machines(found: Sequence[Row]) -> Grid:
    from auricle.report.tables import Grid

    right = ("machines", "$ per hour", "$ per stream-hour", "occupied at the peak")
    body = tuple(
        (
            row.price.id,
            str(row.machines),
            f"{row.usd_per_hour_of_load:.2f}",
            f"{row.usd_per_stream_hour_of_load:.3f}",
            f"{PERCENT * row.occupied:.0f} %",
        )
        for row in found
    )
    return Grid("Machines for the load, headroom and reserve included", ("price", *right), right, body)


def _changes(changes: Iterable[Change]) -> Grid:
    from auricle.report.tables import Grid

    right = ("$ per hour", "$ per stream-hour")
    body = tuple((one.what, one.best, f"{one.usd_per_hour:.2f}", f"{one.usd_per_stream_hour:.3f}") for one in changes)
    return Grid("If it were otherwise", ("change", "cheapest", *right), right, body)


def _held(bounds: dict[str, dict[str, int | None]]) -> Iterable[Grid]:
    from auricle.report.tables import Grid

    for run, found in bounds.items():
        rows = tuple((bound, "none" if streams is None else str(streams)) for bound, streams in found.items())
        if rows:
            yield Grid(f"Streams that {run} held by the bound", ("bound", "streams"), ("streams",), rows)


def _prices(book: PriceBook) -> Grid:
    from auricle.report.tables import Grid

    rows = tuple(
        (
            price.id,
            price.provider,
            price.gpu or "none",
            _known(price.usd_per_hour, "{:.2f}"),
            _known(None if price.gpu not in book.gpus else book.gpus[price.gpu].memory_gb, "{:g}"),
            price.told,
        )
        for price in book.prices.values()
    )
    return Grid("Known prices", ("price", "provider", "GPU", "$ per hour", "GB", "source"), ("$ per hour", "GB"), rows)


def _known(value: Any, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else form.format(value if factor == 1 else factor * value)
