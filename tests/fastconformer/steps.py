"""What is recorded of NeMo's cache-aware steps in `steps.npz`, and where."""

from __future__ import annotations

from pathlib import Path

STEPS = Path(__file__).with_name("steps.npz")
MODEL = "rnnt_stream"
LOOKAHEADS = 4
SAMPLES = (40_001, 81_399, 112_345)
