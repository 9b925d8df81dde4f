"""Settings for a CUDA device are in force within, told as torch tells them, and put back."""

from __future__ import annotations

import itertools

import pytest
import torch

from auricle.fastconformer.tuning import Tuning, in_force, tuned


@pytest.mark.parametrize("switches", list(itertools.product([True, False], repeat=3)), ids=str)
def test_each_setting_is_on_or_off_within_and_as_it_was_afterwards(switches: tuple[bool, bool, bool]) -> None:
    before = in_force()
    with tuned(Tuning(*switches)) as told:
        assert told == in_force() == Tuning(*switches)
        assert torch.backends.cudnn.benchmark == switches[0]
        assert not torch.is_grad_enabled()
    assert in_force() == before
    assert torch.is_grad_enabled()


def test_settings_are_put_back_when_the_work_fails() -> None:
    before = in_force()
    with pytest.raises(ZeroDivisionError), tuned(Tuning(cudnn_benchmark=not before.cudnn_benchmark)):
        1 / 0  # noqa: B018  what fails
    assert in_force() == before
