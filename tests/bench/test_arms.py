"""Arms are read as they are written, and take turns in an order that favours none."""

from __future__ import annotations

import pytest

from auricle.bench.arms import balanced_order, make_arms, parse_arm
from auricle.engines.loading import LoadRequest
from auricle.errors import UsageError


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("null", LoadRequest("null")),
        ("sherpa-onnx:my-model", LoadRequest("sherpa-onnx", "my-model")),
        ("sherpa-onnx:/models/a:cuda:fp16", LoadRequest("sherpa-onnx", "/models/a", "cuda", "fp16")),
        ("sherpa-onnx:C:\\models\\a:cpu", LoadRequest("sherpa-onnx", "C:\\models\\a")),
        ("pocketsphinx::cpu:fp32", LoadRequest("pocketsphinx", None, "cpu", "fp32")),
    ],
)
def test_an_arm_is_engine_model_device_precision(text: str, request_: LoadRequest) -> None:
    assert parse_arm(text) == request_


@pytest.mark.parametrize("text", ["", ":model", "a:b:c:d:e"])
def test_what_is_no_arm_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an arm"):
        parse_arm(text)


def test_every_arm_is_combined_with_every_number_of_threads() -> None:
    assert [arm.label for arm in make_arms(["a", "b"], [1, 2])] == ["a x1", "a x2", "b x1", "b x2"]


def test_the_same_arm_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice: a"):
        make_arms(["a", "b", "a"], [])


def test_every_arm_stands_at_every_distance_from_the_end_equally_often() -> None:
    places: dict[int, list[int]] = {arm: [] for arm in range(3)}
    for order in balanced_order(3, 10, seed=1):
        assert sorted(order) == [0, 1, 2]
        for place, arm in enumerate(order):
            places[arm].append(place)
    assert {sum(found) for found in places.values()} == {10}


def test_the_order_is_repeatable_and_depends_on_the_seed() -> None:
    first = list(balanced_order(4, 6, seed=1))
    assert first == list(balanced_order(4, 6, seed=1))
    assert any(first != list(balanced_order(4, 6, seed=seed)) for seed in range(2, 6))
