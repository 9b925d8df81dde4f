"""Linear layers with packed weights."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.tensors.packed import PackedLinear, QuantisedLinear, kernel_for, largest_weight, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPES = [(1, 1), (100, 77), (96, 384), (640, 1025), (2048, 512)]
ROWS = [1, 2, 3, 8, 33, 112]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """Run as a loaded model does."""
    with torch.inference_mode():
        yield


def weights(inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Return a weight and a bias."""
    return normal(outputs, inputs) / inputs**0.5, normal(outputs)


def normal(*shape: int) -> Tensor:
    """Return numbers that the shape alone decides."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_a_packed_layer_gives_what_a_linear_layer_gives(inputs: int, outputs: int, biased: bool) -> None:
    weight, bias = weights(inputs, outputs)
    packed = PackedLinear(weight, bias if biased else None)
    for rows in ROWS:
        x = normal(rows, inputs)
        expected = functional.linear(x, weight, bias if biased else None)
        assert (packed(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("shape", [(96,), (0, 96), (2, 3, 96), (2, 0, 96), (2, 2, 5, 96)])
def test_rows_come_in_any_shape(shape: tuple[int, ...]) -> None:
    weight, bias = weights(96, 40)
    x = normal(*shape)
    torch.testing.assert_close(PackedLinear(weight, bias)(x), functional.linear(x, weight, bias), rtol=1e-5, atol=1e-5)


def test_rows_need_not_lie_together() -> None:
    weight, bias = weights(96, 40)
    packed = PackedLinear(weight, bias)
    for x in (normal(3, 10, 96)[:, ::3], normal(96, 7).T, normal(3, 8, 96).transpose(0, 1)):
        assert packed(x).equal(packed(x.contiguous()))


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_a_row_does_not_depend_on_its_neighbours_or_its_place(inputs: int, outputs: int) -> None:
    packed = PackedLinear(*weights(inputs, outputs))
    for rows in ROWS:
        x = normal(rows, inputs)
        alone = packed(x[:1].expand(rows, inputs))
        assert (alone == alone[0]).all()
        for row in {0, rows // 2, rows - 1}:
            among = torch.full_like(x, torch.nan)
            among[row] = x[row]
            assert packed(among)[row].equal(packed(x)[row])


def test_only_what_a_cpu_multiplies_itself_is_packed_and_the_layer_says_so() -> None:
    weight, _ = weights(96, 40)
    double = PackedLinear(weight.double())
    is_narrow = torch.backends.cpu.get_cpu_capability() == "AVX2"
    assert PackedLinear(weight).kernel == kernel_for(weight) == ("torch" if is_narrow else "onednn-packed")
    assert kernel_for(weights(512, 512)[0]) == "onednn-packed"
    assert double.kernel == kernel_for(weight.double()) == "torch"
    x = normal(5, 96).double()
    assert double(x).equal(functional.linear(x, weight.double()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_give_what_a_linear_layer_gives_and_rows_keep_to_themselves(dtype: torch.dtype) -> None:
    weight, bias = (each.to(dtype) for each in weights(96, 384))
    packed = PackedLinear(weight, bias)
    for rows in ROWS:
        x = normal(rows, 96).to(dtype)
        expected = functional.linear(x.float(), weight.float(), bias.float())
        assert (packed(x) - expected).abs().max() <= 0.02 * expected.abs().max()
        among = torch.full_like(x, torch.nan)
        among[-1] = x[-1]
        assert packed(among)[-1].equal(packed(x)[-1])


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_eight_bits_give_the_exact_product_of_what_was_rounded(inputs: int, outputs: int, biased: bool) -> None:
    weight, bias = weights(inputs, outputs)
    layer = QuantisedLinear(weight, bias if biased else None)
    for rows in ROWS:
        x = normal(rows, inputs)
        whole, scales = rounded(x)
        of_weight, weight_scales = rounded(weight, largest_weight())
        expected = whole @ of_weight.T * scales * weight_scales.T + (bias if biased else 0)
        torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-5)
        assert layer(x).dtype == torch.float32


def rounded(x: Tensor, largest: int = 127) -> tuple[Tensor, Tensor]:
    """Return whole numbers up to the largest and the scale of each row, in double precision."""
    scales = x.abs().amax(dim=1, keepdim=True) / largest
    return (x / scales).round().double(), scales.double()


def test_a_row_of_eight_bits_is_the_same_in_any_company_of_any_size() -> None:
    layer = QuantisedLinear(*weights(640, 1025))
    x = normal(33, 640)
    alone = torch.cat([layer(x[row : row + 1]) for row in range(len(x))])
    loud = torch.cat((x, 1e6 * normal(5, 640), torch.full((1, 640), torch.nan)))
    assert layer(x).equal(alone)
    assert layer(loud)[: len(x)].equal(alone)
    assert layer(loud)[-1].isnan().all()


@pytest.mark.parametrize("shape", [(0, 96), (2, 3, 96), (2, 0, 96), (2, 2, 5, 96)])
def test_rows_of_eight_bits_come_in_any_shape_and_silence_is_silence(shape: tuple[int, ...]) -> None:
    layer = QuantisedLinear(weights(96, 40)[0])
    assert layer(normal(*shape)).shape == (*shape[:-1], 40)
    assert (layer(torch.zeros(shape)) == 0).all()


@pytest.mark.parametrize("x", [normal(3, 95), normal(3, 96).double()], ids=["width", "type"])
def test_rows_that_do_not_fit_are_refused(x: Tensor) -> None:
    with pytest.raises(RuntimeError):
        PackedLinear(*weights(96, 40))(x)


def test_packing_a_module_replaces_its_linear_layers_and_lets_their_weights_go() -> None:
    with torch.inference_mode(mode=False):
        network = nn.Sequential(nn.Linear(96, 40), nn.Sequential(nn.SiLU(), nn.Linear(40, 8, bias=False)))
    x = normal(5, 96)
    expected = network(x)
    released = [weakref.ref(weight) for name, weight in network.named_parameters() if name.endswith("weight")]
    pack(network, nn.Linear)
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)
    assert [type(layer) for layer in network.modules() if not isinstance(layer, nn.Sequential)] == [
        PackedLinear,
        nn.SiLU,
        PackedLinear,
    ]
    assert [weight() for weight in released] == [None, None]
