"""Linear layers in each layout and type against torch's own product in double precision."""

from __future__ import annotations

import pytest
import torch

from auricle.qwen3.linear import WIDENED, Layout, Linear, Scratch

ERRORS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.mark.parametrize("dtype", ERRORS)
@pytest.mark.parametrize("layout", ["plain", "packed", "both"])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_every_layout_multiplies(layout: Layout, dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(rows)
    weight, bias, x = torch.randn(24, 40).to(dtype), torch.randn(24).to(dtype), torch.randn(rows, 40)
    expected = torch.nn.functional.linear(x.to(dtype).double(), weight.double(), bias.double())
    found = Linear(weight, bias, layout, Scratch())(x)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < ERRORS[dtype] * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_weight_larger_than_what_is_widened_at_once_is_multiplied_in_parts(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    inputs = 512
    weight, x = torch.randn(WIDENED // inputs + 5, inputs).to(dtype), torch.randn(2, inputs)
    layer = Linear(weight, None, "plain", Scratch())
    together, alone = layer(x), torch.cat([layer(row[None]) for row in x])
    assert together.shape == (2, len(weight))
    assert (together - alone).abs().max() <= ERRORS[dtype] * alone.abs().max()
