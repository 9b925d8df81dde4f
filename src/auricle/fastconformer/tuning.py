"""Settings of torch for a CUDA device that change speed and memory and nothing else, each on or off.

`cudnn_benchmark` lets cuDNN try its algorithms for every new shape of a convolution and keep the fastest;
`inference_mode` leaves out all that only training needs, where `no_grad`, its off, leaves out gradients alone;
`expandable_segments` lets the allocator grow its blocks instead of leaving gaps, and is to be set before the first
tensor is on the device: what is there already keeps the form that it has.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from auricle.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTING = "expandable_segments"


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is to be on."""

    cudnn_benchmark: bool = True
    inference_mode: bool = True
    expandable_segments: bool = True


@contextmanager
def tuned(tuning: Tuning) -> Iterator[Tuning]:
    """Compute with these settings in the calling thread, and give what is really in force; it is put back afterwards.

    Raises UnsupportedError where this torch cannot set its allocator.
    """
    import torch

    before = in_force()
    tune_process(tuning)
    mode = torch.inference_mode() if tuning.inference_mode else torch.no_grad()
    try:
        with mode:
            yield in_force()
    finally:
        tune_process(before)


def tune_process(tuning: Tuning) -> None:
    """Set what holds for the whole process, and that is all but `inference_mode`, which every model enters itself.

    Raises UnsupportedError where this torch cannot set its allocator.
    """
    import torch

    _expand(wanted=tuning.expandable_segments)
    torch.backends.cudnn.benchmark = tuning.cudnn_benchmark


def told(tuning: Tuning) -> str:
    """Return the settings as notes and records tell them."""
    return ", ".join(f"{name} {'on' if value else 'off'}" for name, value in asdict(tuning).items())


def in_force() -> Tuning:
    """Return which settings are on at this moment, asked of torch."""
    import torch

    return Tuning(torch.backends.cudnn.benchmark, torch.is_inference_mode_enabled(), f"{_SETTING}:True" in _allocator())


def _allocator() -> str:
    import torch

    name = "_accelerator_getAllocatorSettings"
    return str(getattr(torch._C, name)()) if hasattr(torch._C, name) else ""  # noqa: SLF001  torch has no public name


def _expand(*, wanted: bool) -> None:
    import torch

    name = "_accelerator_setAllocatorSettings"
    if (f"{_SETTING}:True" in _allocator()) == wanted:
        return
    if not hasattr(torch._C, name):  # noqa: SLF001  torch has no public name
        raise UnsupportedError("this torch cannot set", _SETTING, "use torch 2.11 or newer")
    getattr(torch._C, name)(f"{_SETTING}:{wanted}")  # noqa: SLF001  likewise
