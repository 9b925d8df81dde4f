"""What ONNX Runtime tells its makers: nothing."""

from __future__ import annotations

import os


def keep_telemetry_off() -> None:
    """Have ONNX Runtime collect nothing; to be called before it is imported, which alone writes to the user's cache."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
