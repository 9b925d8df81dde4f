"""The child-process side of the onnx-asr engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.engines.library import Heard
from auricle.errors import EngineError, UnsupportedError
from auricle.tensors.telemetry import keep_telemetry_off
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import TranscribeOptions
    from auricle.trace import Tracer

FEATURE_FRAME_S = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load, where."""

    folder: str
    kind: str
    quantization: str | None
    provider: str
    index: int
    threads: int


class OnnxAsrService:
    """One model."""

    def __init__(self, tracer: Tracer, plan: Plan) -> None:
        keep_telemetry_off()
        import onnx_asr
        import onnxruntime
        from onnx_asr.utils import ModelLoadingError

        self._tracer = tracer
        self._plan = plan
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = plan.threads
        provider: Any = plan.provider
        if plan.provider.startswith("CUDA"):
            provider = (plan.provider, {"device_id": plan.index})
        try:
            loaded: Any = onnx_asr.load_model(
                plan.kind, plan.folder, quantization=plan.quantization, sess_options=session, providers=[provider]
            )
        except (ModelLoadingError, RuntimeError, ValueError, OSError) as error:
            raise EngineError("onnx-asr failed", error) from error
        self._model = loaded.with_timestamps()
        self._frame_s = FEATURE_FRAME_S * loaded.asr._subsampling_factor  # noqa: SLF001  told nowhere else
        self._check_provider(loaded.asr)

    def ready(self) -> None:
        """Answer once the model is there."""

    def recognise(self, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
        """Recognise a recording at 16 kHz."""
        try:
            with self._tracer.span("recognise"):
                result = self._model.recognize(samples, sample_rate=16_000)
        except (RuntimeError, ValueError, AssertionError, LookupError) as error:
            raise EngineError("onnx-asr failed", repr(error)) from error
        words = _words(result.tokens or (), result.timestamps or (), self._frame_s) if options.word_times else ()
        return Heard(result.text, words)

    def _check_provider(self, asr: Any) -> None:
        """Refuse to have been put on another provider than the one that was asked for."""
        sessions = [value for value in vars(asr).values() if hasattr(value, "get_providers")]
        if not all(session.get_providers()[0] == self._plan.provider for session in sessions):
            used = ", ".join(session.get_providers()[0] for session in sessions)
            raise UnsupportedError(f"ONNX Runtime does not use {self._plan.provider} here", used, "use device cpu")


def _words(tokens: Sequence[str], starts: Sequence[float], frame_s: float) -> tuple[Word, ...]:
    """Join tokens to words: a space before a letter or digit begins one, as in the library's own text."""
    words: list[Word] = []
    spaced = True
    for token, start in zip(tokens, starts, strict=True):
        text = token.strip()
        spaced = spaced or token.startswith(" ")
        if not text:
            continue
        if words and not (spaced and (text[0].isalnum() or text[0] == "_")):
            words[-1] = Word(words[-1].text + text, words[-1].start, start + frame_s)
        else:
            words.append(Word(text, start, start + frame_s))
        spaced = token.endswith(" ")
    return tuple(words)
