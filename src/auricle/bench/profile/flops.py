"""What an operator of torch computes and moves, from the shapes and types of its inputs.

A multiplication and an addition are two floating-point operations. Attention counts whole, whatever its mask hides;
Fourier transforms, norms, activations and sums are not counted. Whole numbers of eight bits count like any others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Shapes = Sequence[Any]
    Arguments = Sequence[Any]

# Where a convolution's stride, padding, dilation and its being transposed stand among its arguments.
_CONVOLUTIONS: dict[str, tuple[int, int, int | None, int | None]] = {
    "aten::conv1d": (3, 4, 5, None),
    "aten::conv2d": (3, 4, 5, None),
    "aten::conv3d": (3, 4, 5, None),
    "aten::convolution": (3, 4, 5, 6),
    "aten::_convolution": (3, 4, 5, 6),
    "aten::convolution_overrideable": (3, 4, 5, 6),
    "aten::mkldnn_convolution": (4, 3, 5, None),
    "mkldnn::_convolution_pointwise": (4, 3, 5, None),
    "aten::cudnn_convolution": (3, 2, 4, None),
    "aten::miopen_convolution": (4, 3, 5, None),
    "aten::thnn_conv2d": (4, 5, None, None),
    "aten::_slow_conv2d_forward": (4, 5, None, None),
    "aten::slow_conv3d": (4, 5, None, None),
    "aten::slow_conv3d_forward": (4, 5, None, None),
    "aten::slow_conv_dilated2d": (4, 5, 6, None),
    "aten::slow_conv_dilated3d": (4, 5, 6, None),
    "aten::_conv_depthwise2d": (4, 5, 6, None),
    "aten::conv_depthwise3d": (4, 5, 6, None),
}
_LINEAR = {  # where the weight stands
    "aten::linear": 1,
    "aten::mkldnn_linear": 1,
    "aten::_mkl_linear": 1,
    "mkl::_mkl_linear": 1,
    "mkldnn::_linear_pointwise": 1,
    "aten::_weight_int8pack_mm": 1,
    "onednn::qlinear_pointwise": 3,
}
_PRODUCTS = {  # where the first factor stands; the second follows
    "aten::mm": 0, "aten::bmm": 0, "aten::matmul": 0, "aten::mv": 0, "aten::dot": 0, "aten::_int_mm": 0,
    "aten::_scaled_mm": 0, "aten::addmm": 1, "aten::addmv": 1, "aten::baddbmm": 1, "aten::addbmm": 1,
    "aten::_addmm_activation": 1,
}  # fmt: skip
_ATTENTION = {
    "aten::scaled_dot_product_attention", "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention", "aten::_scaled_dot_product_fused_attention_overrideable",
}  # fmt: skip
_MATRIX = 2

_BYTES = {
    "double": 8, "long int": 8, "c10::complex<float>": 8, "c10::complex<double>": 16, "float": 4, "int": 4, "short": 2,
    "c10::Half": 2, "c10::BFloat16": 2, "signed char": 1, "unsigned char": 1, "bool": 1, "c10::quint8": 1,
    "c10::qint8": 1, "c10::Float8_e4m3fn": 1, "c10::Float8_e5m2": 1,
}  # fmt: skip
_FLOAT_BYTES = 4
NUMBERS = {
    "float": "float32", "double": "float64", "c10::Half": "float16", "c10::BFloat16": "bfloat16",
    "signed char": "int8", "unsigned char": "int8",
}  # fmt: skip
"""What the types of products are called elsewhere."""

_ONLY_MEMORY = {
    "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::resize_", "aten::as_strided_",
    "aten::detach_", "aten::set_", "aten::t_", "aten::transpose_", "aten::squeeze_", "aten::unsqueeze_",
    "aten::requires_grad_", "aten::lift_fresh",
}  # fmt: skip
_READS_AS_IT_WRITES = {
    "aten::index", "aten::gather", "aten::index_select", "aten::embedding", "aten::take", "aten::cat", "aten::stack",
}  # fmt: skip
_WRITES_SOME = {"aten::index_put_": 2, "aten::_index_put_impl_": 2, "aten::scatter_": 3, "aten::index_copy_": 3}
_WRITES_ONLY = {"aten::copy_", "aten::fill_", "aten::zero_", "aten::normal_", "aten::uniform_"}


def flops(name: str, shapes: Shapes, arguments: Arguments) -> int | None:
    """Return the operations of one call, None of an operator that is not counted or whose inputs do not tell.

    `shapes` has an entry for each argument: that of a tensor, or of each tensor of a list, else empty.
    """
    rule = _rule(name)
    if rule is None:
        return None
    try:
        return rule(shapes, arguments)
    except (IndexError, TypeError, ZeroDivisionError):
        return None


def is_counted(name: str) -> bool:
    """Whether there is a rule for the operator."""
    return _rule(name) is not None


def moved_bytes(name: str, shapes: Shapes, dtypes: Sequence[str], allocated: int) -> int:
    """Return what one call reads and writes: every input once, and what it allocated; a view moves nothing.

    What works in place writes its first input, and reads it unless it only fills it. Selecting reads what it writes.
    """
    in_place = name.endswith("_")
    if name in _ONLY_MEMORY or not (in_place or allocated):
        return 0
    if name in _READS_AS_IT_WRITES:
        return 2 * allocated
    sizes = [_size(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    if name in _WRITES_SOME:
        return 2 * sizes[_WRITES_SOME[name]] if len(sizes) > _WRITES_SOME[name] else 0
    again = sizes[0] if in_place and sizes and name not in _WRITES_ONLY else 0
    return sum(sizes) + allocated + again


def number_of(name: str, dtypes: Sequence[str]) -> str | None:
    """Return the type of an operator's factors, such as float32, None where it is unknown."""
    first = _PRODUCTS.get(name, 0)
    return NUMBERS.get(dtypes[first]) if first < len(dtypes) else None


def _rule(name: str) -> Callable[[Shapes, Arguments], int | None] | None:
    if name in _PRODUCTS:
        first = _PRODUCTS[name]
        return lambda shapes, _: _product(shapes[first], shapes[first + 1])
    if name in _LINEAR:
        weight = _LINEAR[name]
        return lambda shapes, _: _linear(shapes[0], shapes[weight])
    if name in _CONVOLUTIONS:
        return lambda shapes, arguments: _convolution(shapes, arguments, *_CONVOLUTIONS[name])
    if name in _ATTENTION:
        return lambda shapes, _: _attention(*shapes[:3])
    if name == "aten::mkldnn_rnn_layer":
        return lambda shapes, _: _linear(shapes[0], shapes[1]) + 2 * _count(shapes[0][:-1]) * _count(shapes[2])
    if name == "aten::_cudnn_rnn":
        return lambda shapes, _: 2 * _count(shapes[0][:-1]) * _matrices(shapes[1])
    return None


def _linear(x: Sequence[int], weight: Sequence[int]) -> int:
    """Return two for every row and number of the weight, however that is packed."""
    return 2 * _count(x[:-1]) * _count(weight)


def _product(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the operations of a matrix product, batched dimensions broadcast."""
    if not a or not b:
        return 0
    rows = a[-2] if len(a) >= _MATRIX else 1
    columns = b[-1] if len(b) >= _MATRIX else 1
    batch_a, batch_b = list(a[:-2]), list(b[:-2])
    longest = max(len(batch_a), len(batch_b))
    padded = [[1] * (longest - len(batch)) + batch for batch in (batch_a, batch_b)]
    batch = _count(max(pair) for pair in zip(*padded, strict=True))
    return 2 * batch * rows * a[-1] * columns


def _convolution(
    shapes: Shapes, arguments: Arguments, stride_at: int, padding_at: int, dilation_at: int | None, turned: int | None
) -> int | None:
    """Return two for every place of the output and number of the weight; of a transposed one, place of the input."""
    x, weight = shapes[0], shapes[1]
    space = len(weight) - 2
    batch = x[0] if len(x) == len(weight) else 1
    places = list(x[-space:])
    if not (turned is not None and arguments[turned]):
        kernel = weight[2:]
        stride = _each(arguments[stride_at], space)
        dilation = _each(1 if dilation_at is None else arguments[dilation_at], space)
        if arguments[padding_at] == "same":
            places = [-(-size // step) for size, step in zip(places, stride, strict=True)]
        else:
            padding = _each(0 if arguments[padding_at] == "valid" else arguments[padding_at], space)
            places = [
                (size + 2 * pad - apart * (taps - 1) - 1) // step + 1
                for size, pad, apart, taps, step in zip(places, padding, dilation, kernel, stride, strict=True)
            ]
    return 2 * int(batch) * _count(places) * _count(weight)


def _each(value: Any, count: int) -> list[int]:
    """Return a number for each dimension of space, of one or of as many."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return values * count if len(values) == 1 else values


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """Return the operations of both products."""
    return 2 * _count(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _matrices(weights: Sequence[Sequence[int]]) -> int:
    return sum(_count(weight) for weight in weights if len(weight) == _MATRIX)


def _size(shape: Any, dtype: str) -> int:
    """Return the bytes of a tensor or a list of tensors, whose type is not told and taken for single precision."""
    if dtype == "TensorList":
        return sum(_count(one) for one in shape) * _FLOAT_BYTES
    return _count(shape) * _BYTES[dtype] if dtype in _BYTES and _is_shape(shape) else 0


def _is_shape(shape: Any) -> bool:
    return all(isinstance(size, int) for size in shape)


def _count(sizes: Iterable[int]) -> int:
    """Return how many numbers there are."""
    return math.prod(int(size) for size in sizes)
