"""A model of NeMo in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auricle.engines.library import Heard
from auricle.engines.torch_threads import THREADS
from auricle.errors import EngineError, ModelError
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import TranscribeOptions
    from auricle.trace import Tracer


class NemoService:
    """One model, which holds torch's number of threads until it is closed."""

    def __init__(self, path: Path, device: str, tracer: Tracer) -> None:
        from nemo.collections.asr.models import ASRModel

        self._tracer = tracer
        try:
            model: Any = ASRModel.restore_from(str(path), map_location=device)
        except (OSError, ValueError, TypeError, RuntimeError, LookupError, AttributeError) as error:
            raise ModelError("NeMo cannot load this model", f"{path}: {error}", "see its version's notes") from error
        self._model = model.eval()
        self.family = type(model).__name__
        style = getattr(model.encoder, "att_context_style", None)
        self.is_cache_aware = style == "chunked_limited" and hasattr(model, "joint")
        self.sample_rate = int(model.preprocessor._sample_rate)  # noqa: SLF001  told nowhere else

    def weights(self) -> Iterator[tuple[str, int, int]]:
        """Yield the type of every parameter, its number of values and its bytes."""
        for value in self._model.parameters():
            yield str(value.dtype).removeprefix("torch."), value.numel(), value.numel() * value.element_size()

    def recognise(self, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
        """Recognise one recording."""
        THREADS.use()
        try:
            with self._tracer.span("recognise"):
                (found,) = self._model.transcribe(
                    [samples], batch_size=1, timestamps=options.word_times, verbose=False, num_workers=0
                )
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError("NeMo failed", repr(error)) from error
        finally:
            self._model.eval()  # transcribe leaves the encoder in training mode
        return Heard(found.text, _words(found.timestamp["word"]) if options.word_times else ())

    def close(self) -> None:
        """Let go of torch's number of threads."""
        THREADS.give_back()


def _words(timed: list[dict[str, Any]]) -> tuple[Word, ...]:
    return tuple(Word(str(one["word"]), float(one["start"]), float(one["end"])) for one in timed if one["word"])
