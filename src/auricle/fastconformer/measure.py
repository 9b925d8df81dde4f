"""The memory that a model takes while it recognises a batch: counted on its networks, not estimated.

Layers run one after the other and keep nothing but the frames between them, so a model of one layer has the same peak
as the whole model. Its weights are zeros: what they are does not change what is allocated.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from auricle.fastconformer.describe import count_weights
from auricle.fastconformer.model import make_decoders
from auricle.fastconformer.network import Network, pack_weights, stored
from auricle.fastconformer.precision import cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from auricle.fastconformer.config import ModelConfig
    from auricle.fastconformer.describe import WeightCount
    from auricle.fastconformer.precision import Precision


def peak_bytes(config: ModelConfig, samples: Sequence[int], precision: Precision = "fp32") -> int:
    """Return the most bytes that tensors take at once while recordings of so many samples are recognised together.

    Weights are left out, and so is what libraries below torch allocate for themselves. The context is the default one.
    """
    config = replace(config, encoder=replace(config.encoder, layers=1))
    live = LiveBytes()
    with torch.inference_mode(), live:
        network = _silent(config, precision)
        live.forget()
        features = network.preprocessor(torch.zeros(len(samples), max(samples)), torch.tensor(samples))
        encoded, lengths = network.encoder(*features, config.encoder.contexts[0])
        del features
        if network.prompt_kernel is not None:
            encoded = network.prompt_kernel(encoded, torch.zeros_like(lengths))
        next(iter(make_decoders(config, network).values())).decode(encoded, lengths)
    return live.peak


def held(config: ModelConfig, precision: Precision) -> list[WeightCount]:
    """Return what the weights of a model would take at a precision, by data type, without making any."""
    with torch.device("meta"):
        network = Network(config).requires_grad_(requires_grad=False)
    cast(network, precision)
    pack_weights(network, precision)
    return count_weights(stored(network))


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class says nothing of its types
    """Counts the bytes of all tensors that are made within it, from the operation that makes one until it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.peak = 0
        self._live = 0
        self._seen: dict[int, int] = {}

    def forget(self) -> None:
        """Count from here on; what is there does not count."""
        self._live = self.peak = 0
        self._seen = dict.fromkeys(self._seen, 0)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it returns."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided:  # packed weights are opaque
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001  the only name that lasts as long as the bytes
        if key in self._seen:
            return
        self._seen[key] = size
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self._live -= self._seen.pop(key)


def _silent(config: ModelConfig, precision: Precision) -> Network:
    """Return networks as a model packs them, whose weights are zeros and whose transducer hears nothing."""
    network = Network(config).eval().requires_grad_(requires_grad=False)
    for value in (*network.parameters(), *network.buffers()):
        value.zero_()
    if network.joint is not None:
        *_, bias = network.joint.joint_net.parameters()
        bias[config.vocabulary] = 1.0
    cast(network, precision)
    pack_weights(network, precision)
    return network
