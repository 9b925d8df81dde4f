"""Operations and bytes are what a hand computes of the shapes."""

from __future__ import annotations

from typing import Any

import pytest

from auricle.bench.profile.flops import flops, moved_bytes

NONE: list[Any] = []


@pytest.mark.parametrize(
    ("name", "shapes", "arguments", "wanted"),
    [
        ("aten::mm", [[5, 2048], [2048, 512]], NONE, 2 * 5 * 2048 * 512),
        # The table of the Emformer pipeline: 20 calls of this were 209,715,200 operations.
        ("aten::addmm", [[512], [5, 2048], [2048, 512], [], []], NONE, 209_715_200 // 20),
        ("aten::linear", [[5, 1, 2048], [512, 2048], [512]], NONE, 209_715_200 // 20),
        ("mkldnn::_linear_pointwise", [[5, 1, 2048], [512, 2048], [512], [], [], []], NONE, 209_715_200 // 20),
        ("onednn::qlinear_pointwise", [[5, 16], [], [], [16, 8], [8]], NONE, 2 * 5 * 16 * 8),
        ("aten::bmm", [[3, 4, 5], [3, 5, 6]], NONE, 2 * 3 * 4 * 5 * 6),
        ("aten::baddbmm", [[3, 4, 6], [3, 4, 5], [3, 5, 6], [], []], NONE, 2 * 3 * 4 * 5 * 6),
        ("aten::matmul", [[7, 1, 4, 5], [3, 5, 6]], NONE, 2 * 7 * 3 * 4 * 5 * 6),
        ("aten::matmul", [[4, 5], [5]], NONE, 2 * 4 * 5),
        ("aten::matmul", [[5], [5]], NONE, 2 * 5),
        ("aten::mv", [[4, 5], [5]], NONE, 2 * 4 * 5),
        # 2 of 8 heads, 5 queries of 16, 7 keys, values of 4: scores and the sum of values.
        ("aten::scaled_dot_product_attention", [[2, 8, 5, 16], [2, 8, 7, 16], [2, 8, 7, 4]], NONE, 2 * 16 * 35 * 20),
        ("aten::conv1d", [[2, 3, 9], [6, 3, 3], [6]], [None, None, None, [1], [1], [1], 1], 2 * 2 * 9 * 6 * 3 * 3),
        ("aten::conv1d", [[3, 9], [6, 3, 3], [6]], [None, None, None, [2], [0], [1], 1], 2 * 4 * 6 * 3 * 3),
        # Depthwise: a weight of one channel each.
        ("aten::conv1d", [[1, 8, 20], [8, 1, 9], []], [None, None, None, [1], [4], [1], 8], 2 * 20 * 8 * 9),
        ("aten::conv1d", [[1, 8, 20], [8, 1, 9], []], [None, None, None, [1], "same", [1], 8], 2 * 20 * 8 * 9),
        ("aten::conv1d", [[1, 8, 20], [8, 1, 9], []], [None, None, None, [1], "valid", [1], 8], 2 * 12 * 8 * 9),
        (
            "aten::mkldnn_convolution",
            [[1, 1, 17, 83], [16, 1, 3, 3], [16]],
            [None, None, None, [0, 0], [2, 2], [1, 1], 1],
            2 * 8 * 41 * 16 * 9,
        ),
        (
            "aten::convolution",
            [[1, 4, 10], [4, 6, 3], []],
            [None, None, None, [2], [0], [1], True, [0], 1],
            2 * 10 * 4 * 6 * 3,
        ),
        (
            "aten::_convolution",
            [[1, 3, 10], [6, 3, 3], []],
            [None, None, None, [1], [0], [2], False, [0], 1],
            2 * 6 * 6 * 3 * 3,
        ),
        # Three frames of two rows: both matrices of four gates.
        ("aten::mkldnn_rnn_layer", [[3, 2, 5], [16, 5], [16, 4]], NONE, 2 * 6 * (16 * 5 + 16 * 4)),
        ("aten::relu", [[3, 2]], NONE, None),
        ("aten::mm", [[]], NONE, None),
    ],
)
def test_operations_are_counted_by_hand(name: str, shapes: list[Any], arguments: list[Any], wanted: int | None) -> None:
    assert flops(name, shapes, arguments) == wanted


@pytest.mark.parametrize(
    ("name", "shapes", "dtypes", "allocated", "wanted"),
    [
        ("aten::mm", [[4, 8], [8, 2]], ["float", "float"], 32, 4 * (32 + 16) + 32),
        ("aten::mm", [[4, 8], [8, 2]], ["c10::BFloat16", "c10::BFloat16"], 16, 2 * (32 + 16) + 16),
        ("aten::add_", [[10], [10], []], ["float", "float", "Scalar"], 0, 120),
        ("aten::copy_", [[10], [10], []], ["c10::Half", "float", "Scalar"], 0, 60),
        ("aten::cat", [[[3], [4]], []], ["TensorList", "Scalar"], 28, 56),
        ("aten::index_put_", [[100, 4], [], [2, 4]], ["float", "", "float"], 0, 64),
        ("aten::embedding", [[1000, 4], [2]], ["float", "long int"], 32, 64),
        ("aten::transpose", [[10, 10], [], []], ["float", "Scalar", "Scalar"], 0, 0),
        ("aten::empty", [[], []], ["ScalarList", "Scalar"], 400, 0),
    ],
)
def test_bytes_are_counted_by_hand(
    name: str, shapes: list[Any], dtypes: list[str], allocated: int, wanted: int
) -> None:
    assert moved_bytes(name, shapes, dtypes, allocated) == wanted
