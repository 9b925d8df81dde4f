"""The networks of a model, filled and packed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import nn

from auricle.emformer.decoder import Joint, Predictor
from auricle.emformer.encoder import Encoder
from auricle.errors import ModelError
from auricle.tensors.packed import PackedLinear, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from auricle.emformer.config import Config
    from auricle.tensors.packed import Kernel


class Network(nn.Module):
    """Encoder, predictor and joint network under torchaudio's names."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.transcriber = Encoder(config)
        self.predictor = Predictor(config)
        self.joiner = Joint(config)


def filled(config: Config, weights: Mapping[str, Tensor]) -> Network:
    """Return networks with these weights, in single precision.

    Raises ModelError naming a weight that is missing, too many, of another shape, or not finite.
    """
    with torch.device("meta"):
        network = Network(config)
    wanted = network.state_dict()
    for key in sorted(wanted.keys() ^ weights.keys()):
        what = "the weights lack a tensor" if key in wanted else "the weights hold a tensor that the model has not"
        raise ModelError(what, key, "give the weights of a model that torchaudio's `emformer_rnnt_base` built")
    for key, value in weights.items():
        if value.shape != wanted[key].shape or not value.is_floating_point():
            sizes = f"{key} {tuple(value.shape)}, not {tuple(wanted[key].shape)}"
            raise ModelError("a tensor of the weights has another shape or type than the model", sizes, "get it again")
        if not bool(value.isfinite().all()):
            raise ModelError("a weight holds numbers that are not finite", key, "get the model again")
    network.load_state_dict({key: value.float() for key, value in weights.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def packed(network: Network) -> Network:
    """Fuse and pack the linear layers of networks, in place."""
    network.transcriber.fuse()
    network.predictor.fuse()
    pack(network, nn.Linear)
    return network


def kernels(network: Network) -> Counter[Kernel]:
    """Return what runs the linear layers, and how many each."""
    return Counter(module.kernel for module in network.modules() if isinstance(module, PackedLinear))


def stored(network: Network) -> Counter[str]:
    """Return how many numbers of each type the networks hold."""
    sizes: Counter[str] = Counter()
    for module in network.modules():
        tensors = module.stored if isinstance(module, PackedLinear) else list(module.parameters(recurse=False))
        for tensor in tensors:
            sizes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return sizes
