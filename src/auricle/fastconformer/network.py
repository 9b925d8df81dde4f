"""The networks of one model under NeMo's names for them, so that the weights of an archive fit as they are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from auricle.errors import ModelError
from auricle.fastconformer.ctc import CtcHead
from auricle.fastconformer.encoder import Encoder, Pointwise
from auricle.fastconformer.features import LogMel
from auricle.fastconformer.precision import cast
from auricle.fastconformer.prompts import PromptKernel
from auricle.fastconformer.transducer import Joint, Predictor
from auricle.tensors.packed import PackedLinear, QuantisedLinear, pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.precision import Precision
    from auricle.tensors.packed import Kernel

_REMEDY = "get the archive again; its weights must be those of its configuration"


class Network(nn.Module):
    """Features, encoder and heads of the model that `config` describes, their values not yet set."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, vocabulary, transducer = config.encoder.width, config.vocabulary, config.transducer
        self.preprocessor = LogMel(config.features)
        self.encoder = Encoder(config.encoder)
        self.decoder = CtcHead(width, vocabulary) if transducer is None else Predictor(transducer, vocabulary)
        self.joint = None if transducer is None else Joint(transducer, width, vocabulary)
        self.ctc_decoder = CtcHead(width, vocabulary) if config.family == "hybrid" else None
        self.prompt_kernel = None if config.prompts is None else PromptKernel(config.prompts, width)


def filled(config: ModelConfig, weights: Mapping[str, Tensor], precision: Precision = "fp32") -> Network:
    """Return the network with the weights of an archive, in a precision and in evaluation mode.

    Raises ModelError naming the first key that is missing, not expected, of another shape or kind, or not finite.
    Nothing is allocated for weights that do not fit.
    """
    with torch.device("meta"):
        network = Network(config)
    expected = network.state_dict()
    for key in sorted(expected.keys() | weights.keys()):
        if key not in weights:
            raise ModelError("the archive lacks a weight", key, _REMEDY)
        if key not in expected:
            raise ModelError("the archive holds a weight that its configuration does not speak of", key, _REMEDY)
        _check(key, weights[key], expected[key])
    network.load_state_dict({key: _own(value) for key, value in weights.items()}, assign=True)
    network.eval().requires_grad_(requires_grad=False)
    cast(network, precision)
    return network


def pack_weights(network: Network, precision: Precision = "fp32") -> None:
    """Pack the weights of linear and recurrent layers; what `state_dict` gives then is no longer whole.

    Raises UnsupportedError where this machine cannot compute in int8.
    """
    form = QuantisedLinear if precision == "int8" else PackedLinear
    pack(network.encoder.layers, nn.Linear, Pointwise, form=form)
    pack(network.encoder, nn.Linear, Pointwise)
    if network.joint is not None:
        pack(network.joint, nn.Linear)
    if network.prompt_kernel is not None:
        pack(network.prompt_kernel, nn.Linear)
    if isinstance(network.decoder, Predictor):
        network.decoder.prediction.dec_rnn.pack()


def stored(network: Network, besides: nn.Module | None = None) -> Iterator[Tensor]:
    """Yield what a network holds, packed or not, one part left out; only type and size can be asked of it."""
    left_out = set() if besides is None else set(besides.modules())
    for module in (each for each in network.modules() if each not in left_out):
        if isinstance(module, PackedLinear | QuantisedLinear):
            yield from module.stored
        else:
            yield from module.parameters(recurse=False)
            yield from module.buffers(recurse=False)


def kernels(network: Network) -> Counter[Kernel]:
    """Count the packed layers of a network by what runs them."""
    return Counter(module.kernel for module in network.modules() if isinstance(module, PackedLinear | QuantisedLinear))


def _check(key: str, found: Tensor, wanted: Tensor) -> None:
    if found.shape != wanted.shape:
        raise ModelError(f"a weight of shape {tuple(found.shape)} should have {tuple(wanted.shape)}", key, _REMEDY)
    if found.is_floating_point() != wanted.is_floating_point() or found.is_complex():
        raise ModelError(f"a weight is of {found.dtype}, not {wanted.dtype}", key, _REMEDY)


def _own(value: Tensor) -> Tensor:
    """Return a dense tensor, in single precision if it holds fractions."""
    return (value.float() if value.is_floating_point() else value).contiguous()
