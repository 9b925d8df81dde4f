"""Settings for a CUDA device are in force within, told as torch tells them, and put back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from auricle.fastconformer.loading import load
from auricle.fastconformer.tuning import Tuning, in_force, told, tune_process, tuned
from auricle.models.store import shipped_path
from bench.gpu_tuning import compared


@pytest.mark.parametrize("switches", list(itertools.product([True, False], repeat=3)), ids=str)
def test_each_setting_is_on_or_off_within_and_as_it_was_afterwards(switches: tuple[bool, bool, bool]) -> None:
    before = in_force()
    with tuned(Tuning(*switches)) as seen:
        assert seen == in_force() == Tuning(*switches)
        assert torch.backends.cudnn.benchmark == switches[0]
        assert not torch.is_grad_enabled()
    assert in_force() == before
    assert torch.is_grad_enabled()


def test_settings_are_put_back_when_the_work_fails() -> None:
    before = in_force()
    with pytest.raises(ZeroDivisionError), tuned(Tuning(cudnn_benchmark=not before.cudnn_benchmark)):
        1 / 0  # noqa: B018  what fails
    assert in_force() == before


def test_what_holds_for_the_process_stays_set_and_is_told_by_name() -> None:
    before = in_force()
    try:
        tune_process(Tuning())
        assert in_force() == Tuning(inference_mode=False)
        assert told(in_force()) == "cudnn_benchmark on, inference_mode off, expandable_segments on"
    finally:
        tune_process(before)
    assert in_force() == before


def test_models_compute_in_inference_mode() -> None:
    model = load(shipped_path("auricle-digits-en.nemo"))
    features, lengths = model.features([np.zeros(16_000, np.float32)])
    assert features.is_inference()
    assert model.encode_features(features, lengths)[0].is_inference()


def test_each_setting_is_measured_on_and_off() -> None:
    model = load(shipped_path("auricle-digits-en.nemo"))
    found = compared(model, [np.zeros((1, 8_000), np.float32)], lambda: 2 << 30)
    names = ("cudnn_benchmark", "inference_mode", "expandable_segments")
    switches = [tuple(row[name] for name in names) for row in found]
    assert switches == [(True, True, True), (False, True, True), (True, False, True), (True, True, False)]
    assert all(row["held_gib"] == 2.0 for row in found)
