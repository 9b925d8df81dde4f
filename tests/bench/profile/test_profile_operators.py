"""What torch's operators compute is counted once, as a hand counts it, and set against what the machine can do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="pip install 'auricle[torch]'")

from auricle.bench.profile.calibrate import calibrate  # noqa: E402
from auricle.bench.profile.operators import Work, bound, operators  # noqa: E402
from auricle.bench.profile.watch import MarkingTracer, _on_device, watch  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.bench.profile.planted import Event

PEAK: dict[str, Any] = {
    "device": "cpu",
    "threads": 1,
    "matmul": {"float32": 1e9},
    "copy_bytes_per_s": 1e9,
    "call_s": 1e-6,
}
LIMIT_S = 1e-3


def watched(work: Callable[[], object], tracer: MarkingTracer | None = None) -> list[Event]:
    torch.set_num_threads(1)
    with torch.inference_mode():
        found = watch(tracer or MarkingTracer(), int, work)
    assert found is not None
    return found


def summary(events: Sequence[Event]) -> dict[str, Any]:
    found = operators([*events, {"event": "calibrated", **PEAK}])
    assert found is not None
    assert found["observable"]
    return found


def node(number: int, name: str, shapes: list[Any], parent: int | None = None, **fields: Any) -> Event:
    given = {"calls": 1, "self_s": LIMIT_S, "total_s": LIMIT_S, "device_s": 0.0, "allocated_bytes": 0, "stage": None}
    plain = {"event": "operator", "node": number, "parent": parent, "name": name, "shapes": shapes, "arguments": []}
    return plain | {"dtypes": ["float"] * len(shapes)} | given | fields


def test_a_tiny_model_is_counted_as_by_hand() -> None:
    linear, packed_like = torch.nn.Linear(16, 8), torch.nn.Linear(8, 4, bias=False)
    conv = torch.nn.Conv1d(4, 6, 3, padding=1)
    x = torch.randn(2, 5, 16)

    def work() -> None:
        y = packed_like(linear(x))
        conv(y.transpose(1, 2))
        heads = y.view(2, 1, 5, 4)
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)

    found = summary(watched(work))
    by_hand = {"linear": 2 * 10 * (16 * 8 + 8 * 4), "conv": 2 * 2 * 5 * 6 * 4 * 3, "attention": 2 * 2 * 5 * 5 * (4 + 4)}
    assert found["flops"] == sum(by_hand.values())
    assert sum(row["self_flops"] for row in found["rows"]) == found["flops"]


def test_what_is_in_a_linear_layer_belongs_to_it_too_and_is_counted_once() -> None:
    linear, x = torch.nn.Linear(16, 8), torch.randn(5, 16)
    found = summary(watched(lambda: [linear(x) for _ in range(3)]))
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["aten::linear"]["calls"] == 3
    assert rows["aten::linear"]["flops"] == rows["aten::addmm"]["flops"] == found["flops"] == 3 * 2 * 5 * 16 * 8
    assert rows["aten::linear"]["self_flops"] == 0
    assert rows["aten::addmm"]["bytes"] == found["bytes"] == 3 * 4 * (8 + 5 * 16 + 16 * 8 + 5 * 8)


def test_packed_layers_are_counted_from_their_shapes() -> None:
    from auricle.tensors.packed import PackedLinear

    packed, x = PackedLinear(torch.randn(512, 1024), torch.randn(512)), torch.randn(2, 5, 1024)
    assert packed.kernel == "onednn-packed"
    assert summary(watched(lambda: packed(x)))["flops"] == 2 * 10 * 1024 * 512


def layer_products(width: int, feed_forward: int) -> int:
    """Multiplications for each frame in the products of a FastConformer layer: attention, feed-forwards, pointwise."""
    return 4 * width**2 + 2 * 2 * width * feed_forward + 3 * width**2


def test_a_fastconformer_layer_is_its_formula(tmp_path: Path) -> None:
    from auricle.fastconformer.attention import plan
    from auricle.fastconformer.loading import load
    from tests.fastconformer.checkpoints import build

    assert layer_products(1024, 4096) == pytest.approx(24.1e6, rel=1e-3)
    model = load(build("rnnt", tmp_path))
    config, frames = model.config.encoder, 21
    width = config.width
    how = plan(config.contexts[0], torch.tensor([frames]), frames, width, torch.float32)
    x = torch.randn(1, frames, width)
    found = summary(watched(lambda: model.network.encoder.layers[0](x, how, None)))
    distances = 2 * frames - 1
    taps = config.conv_left + config.conv_right + 1
    products = frames * layer_products(width, config.feed_forward)
    positions = distances * width**2 + frames * distances * width
    attention = 2 * frames * frames * width
    assert found["flops"] == 2 * (products + positions + attention + frames * taps * width)


def test_shares_of_self_time_sum_to_one() -> None:
    found = summary(watched(lambda: torch.softmax(torch.nn.Linear(64, 64)(torch.randn(32, 64)), 1)))
    assert sum(row["self_share"] for row in found["rows"]) == pytest.approx(1.0)
    assert sum(found["bound_by"].values()) == pytest.approx(1.0)
    assert sum(one["share"] for one in found["stages"]) == pytest.approx(1.0)


def test_operators_are_told_by_the_stage_they_ran_in() -> None:
    tracer = MarkingTracer()

    def work() -> None:
        with tracer.span("encoder"):
            torch.ones(4) + 1
        torch.ones(4) * 2

    stages = {row["name"]: row["stage"] for row in summary(watched(work, tracer))["rows"]}
    assert (stages["aten::add"], stages["aten::mul"]) == ("encoder", None)
    assert [span.stage for span in tracer.drain()] == ["encoder"]
    assert not tracer.marking


@pytest.mark.parametrize(
    ("flops", "moved", "wanted", "compute", "memory"),
    [
        (800_000, 100_000, "compute", 0.8, 0.1),
        (100_000, 800_000, "memory", 0.1, 0.8),
        (100_000, 200_000, "overhead", 0.1, 0.2),
        (250_000, 0, "compute", 0.25, None),
    ],
)
def test_what_bounds_an_operator_is_what_would_take_longest_if_that_is_a_quarter(
    flops: int, moved: int, wanted: str, compute: float, memory: float | None
) -> None:
    work = Work(bytes=moved)
    work.flops["float32"] = flops
    found = bound(work, LIMIT_S, PEAK)
    assert found["bound"] == wanted
    assert found["compute_share"] == pytest.approx(compute)
    assert found["memory_share"] == (None if memory is None else pytest.approx(memory))


def test_factors_of_a_type_without_a_measured_peak_have_no_share_of_it() -> None:
    work = Work()
    work.flops["float16"] = 10
    assert bound(work, LIMIT_S, PEAK)["compute_share"] is None


def test_the_time_outside_the_innermost_calls_is_overhead() -> None:
    shapes = [[100, 50], [50, 100]]
    calls = [
        node(0, "aten::matmul", shapes, self_s=LIMIT_S, total_s=2 * LIMIT_S, allocated_bytes=40_000),
        node(1, "aten::mm", shapes, parent=0, allocated_bytes=40_000),
    ]
    found = summary(calls)
    assert found["bound_by"] == {"compute": pytest.approx(0.5), "memory": 0.0, "overhead": pytest.approx(0.5)}
    assert found["rows"][0]["total_share"] == pytest.approx(1.0)
    assert found["rows"][0]["compute_share"] == pytest.approx(0.5)


def test_what_a_product_does_inside_is_not_counted_again() -> None:
    calls = [
        node(0, "aten::addmm", [[8], [5, 16], [16, 8]], allocated_bytes=160, self_s=0.0),
        node(1, "aten::copy_", [[5, 8], [5, 8]], parent=0),
    ]
    assert summary(calls)["bytes"] == 4 * (8 + 80 + 128) + 160


def test_an_accelerator_is_judged_by_the_time_of_its_kernels() -> None:
    call = node(0, "aten::mm", [[100, 50], [50, 100]], device_s=LIMIT_S, total_s=50 * LIMIT_S, self_s=50 * LIMIT_S)
    found = operators([call, {"event": "calibrated", **PEAK, "device": "cuda"}])
    assert found is not None
    assert found["self_s"] == pytest.approx(LIMIT_S)
    assert found["rows"][0]["compute_share"] == pytest.approx(1.0)


def test_copies_between_host_and_device_are_told_with_count_bytes_and_time() -> None:
    def event(name: str, size: int | None = None) -> SimpleNamespace:
        time = SimpleNamespace(elapsed_us=lambda: 3.0)
        metadata = None if size is None else SimpleNamespace(bytes=size)
        return SimpleNamespace(name=name, is_user_annotation=False, time_range=time, event_metadata=metadata)

    found = list(_on_device([event("Memcpy HtoD (Pageable -> Device)", 64)] * 2 + [event("gemm")]))
    assert found == [
        {"event": "transfer", "kind": "HtoD", "calls": 2, "bytes": 128, "device_s": pytest.approx(6e-6)},
        {"event": "kernel", "name": "gemm", "calls": 1, "device_s": pytest.approx(3e-6)},
    ]
    transfers = summary([*found, node(0, "aten::relu", [[4]])])["transfers"]
    assert transfers == [{"kind": "HtoD", "calls": 2, "bytes": 128, "device_s": pytest.approx(6e-6)}]


@pytest.fixture(scope="module")
def peak() -> dict[str, Any]:
    torch.set_num_threads(1)
    return calibrate("cpu", ["float32"])


def test_the_measured_peak_is_sane(peak: dict[str, Any]) -> None:
    assert 1e9 < peak["matmul"]["float32"] < 1e13
    assert 1e8 < peak["copy_bytes_per_s"] < 1e13
    assert 1e-8 < peak["call_s"] < 1e-3
    assert peak["threads"] == 1


def test_a_large_product_reaches_the_measured_peak_and_is_bound_by_it(peak: dict[str, Any]) -> None:
    a = torch.rand(1024, 1024)
    seen = watched(lambda: [a @ a for _ in range(5)])
    found = operators([*seen, {"event": "calibrated", **peak}])
    assert found is not None
    row = next(row for row in found["rows"] if row["name"] == "aten::mm")
    assert row["bound"] == "compute"
    assert 0.2 < row["compute_share"] < 1.5


def test_nothing_of_torch_is_seen_where_nothing_of_it_runs() -> None:
    assert watch(MarkingTracer(), int, int) is None
    found = operators([{"event": "unobservable", "reason": "no torch"}])
    assert found == {"observable": False, "reason": "no torch"}
    assert operators([]) is None
