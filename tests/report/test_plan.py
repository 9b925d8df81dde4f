from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from auricle.errors import UsageError
from auricle.report.plan import Load, assumptions, recommendation, rows, sensitivity
from auricle.report.prices import Capacity, read_prices, sample, shipped

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.report.prices import PriceBook

H100 = Capacity("modal-h100", 400, "measured")


@pytest.fixture
def book() -> PriceBook:
    found = shipped()
    found.add(sample())
    return found


def test_the_sample_costs_what_its_author_worked_out(book: PriceBook) -> None:
    found = rows(sample().capacity, book, Load(model_memory_gb=sample().model_memory_gb))
    costs = {row.price.gpu: round(row.at_full, 3) for row in found}
    assert costs == {"L4": 0.012, "L40S": 0.011, "A100-40": 0.022, "H100": 0.010}
    assert {row.price.gpu: round(100 * (row.vram_share or 0)) for row in found} == {
        "L4": 44,
        "L40S": 22,
        "A100-40": 26,
        "H100": 13,
    }


def test_the_sample_says_which_inputs_are_assumptions(book: PriceBook) -> None:
    told = "\n".join(assumptions(rows(sample().capacity, book, Load()), Load()))
    for name in ("sample-l4", "sample-l40s", "sample-a100-40"):
        assert f"{name}: " in told
        assert f"{name}: the price is undated" in told
    assert "sample-h100: 400" not in told


@pytest.mark.parametrize(("name", "streams"), [("l4", 48), ("l40s", 146), ("a100-40", 126)])
def test_a_capacity_scaled_by_arithmetic_is_an_estimate(book: PriceBook, name: str, streams: int) -> None:
    measured = Capacity("sample-h100", 400, "measured")
    found = rows([Capacity(f"sample-{name}", scaled_from="sample-h100"), measured], book, Load())
    row = next(row for row in found if row.price.id == f"sample-{name}")
    assert (row.streams, row.how) == (streams, "estimate")


def test_every_shipped_price_has_a_source_and_a_date(book: PriceBook) -> None:
    for price in shipped().prices.values():
        assert price.source
        assert price.date is not None
        assert book.gpu(price) is not None


def test_utilisation_divides(book: PriceBook) -> None:
    full, half = (rows([H100], book, Load(utilisation=share))[0] for share in (1.0, 0.5))
    assert half.usd_per_stream_hour == pytest.approx(2 * full.usd_per_stream_hour)
    assert half.at_full == full.at_full


def test_machines_hold_the_load_with_headroom_and_one_may_fail(book: PriceBook) -> None:
    row = rows([H100], book, Load(streams=640, headroom=0.2, reserve=1))[0]
    assert row.machines == 3
    assert (row.machines - 1) * row.streams * 0.8 >= 640


def test_copies_of_a_model_share_a_card_only_where_the_platform_allows_it(book: PriceBook) -> None:
    shared, alone = (
        rows([Capacity(name, 400, "measured", memory_gb=10.5, duty=0.3)], book, Load())[0]
        for name in ("runpod-h100", "modal-h100")
    )
    assert (shared.replicas_by_memory, shared.replicas_by_duty, shared.replicas, shared.streams) == (7, 2, 2, 800)
    assert (alone.replicas, alone.streams) == (1, 400)


def test_copies_add_no_streams_where_the_duty_of_one_is_not_known(book: PriceBook) -> None:
    row = rows([Capacity("runpod-h100", 400, memory_gb=10.5)], book, Load())[0]
    assert (row.replicas, row.replicas_by_duty, row.streams) == (7, None, 400)


def test_the_price_of_processors_is_added_where_it_is_known(book: PriceBook) -> None:
    load = Load(cpu_cores=4)
    assert rows([H100], book, load)[0].usd_per_hour == pytest.approx(3.9492 + 4 * 0.0472)
    found = rows([Capacity("runpod-h100", 400, "measured")], book, load)
    assert found[0].usd_per_hour == 3.99
    assert "runpod-h100: the price of CPU cores is unknown and not added" in assumptions(found, load)


def test_a_hosted_api_breaks_even_where_its_streams_cost_the_machine(book: PriceBook) -> None:
    row = rows([H100], book, Load(api_usd_per_minute=0.0077))[0]
    assert row.break_even_streams == pytest.approx(3.9492 / (60 * 0.0077))


def test_the_recommendation_names_the_cheapest_and_distrusts_estimates(book: PriceBook) -> None:
    load = Load(streams=100)
    told = recommendation(rows(sample().capacity, book, load), load)
    assert told.startswith("Take 4 machines of sample-l4: 100 live streams then cost $2.36 an hour")
    assert "measure it before you commit" in told
    assert "Full machines are cheapest as sample-h100 ($0.010 a stream-hour)" in told


def test_sensitivity_tells_when_another_machine_becomes_the_cheapest(book: PriceBook) -> None:
    found = {one.what: one for one in sensitivity(sample().capacity, book, Load(streams=100, reserve=2))}
    assert found["as given"].usd_per_hour <= found["sample-l4 at 120 % of its price"].usd_per_hour
    assert found["utilisation 50 %"].usd_per_stream_hour == pytest.approx(2 * found["as given"].usd_per_stream_hour)


def test_what_is_not_known_is_an_error_with_a_remedy(book: PriceBook) -> None:
    with pytest.raises(UsageError, match=r"no such price: modal-h10 \(hint: known are modal-h100"):
        rows([Capacity("modal-h10", 4)], book, Load())
    with pytest.raises(UsageError, match="holds no stream: 0"):
        rows([Capacity("modal-h100", 0)], book, Load())
    with pytest.raises(UsageError, match="does not fit on modal-l4: 30 of 24 GB"):
        rows([Capacity("modal-l4", 5, memory_gb=30)], book, Load())
    with pytest.raises(UsageError, match="no capacity is known: modal-l4"):
        rows([Capacity("modal-l4", scaled_from="modal-h100")], book, Load())
    with pytest.raises(UsageError, match="there is no capacity"):
        rows([], book, Load())
    book.prices["free"] = replace(book.prices["modal-h100"], id="free", usd_per_hour=None)
    with pytest.raises(UsageError, match=r"no price is known: free \(hint: give usd_per_hour"):
        rows([Capacity("free", 4)], book, Load())
    book.prices["odd"] = replace(book.prices["modal-h100"], id="odd", gpu="H1000")
    with pytest.raises(UsageError, match=r"unknown GPU of the price odd: H1000 \(hint: known are H100"):
        rows([Capacity("odd", 4)], book, Load())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[price]]\nid = 'x'", "price.0.provider"),
        ("[[price]]\nid='x'\nprovider='y'\nsource='z'\nusd_per_hour=-1", "price.0.usd_per_hour"),
        ("[[price]]\nid='x'\nprovider='y'\nsource='z'\nusd=1", "price.0.usd"),
        ("[[price]", "no TOML"),
    ],
)
def test_a_malformed_price_file_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_prices(path)


@pytest.mark.parametrize("wrong", [{"utilisation": 0.0}, {"headroom": 1.0}, {"streams": 0}, {"reserve": -1}])
def test_an_impossible_load_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="not a load"):
        Load(**wrong)  # type: ignore[arg-type]
