"""The child-process side of the faster-whisper engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.engines.library import Heard
from auricle.errors import EngineError, UnsupportedError
from auricle.tensors.telemetry import keep_telemetry_off
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import TranscribeOptions
    from auricle.trace import Tracer

BEAM = 5
"""The library's own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to load, where."""

    folder: str
    device: str
    index: int
    compute_type: str
    threads: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded: the type that CTranslate2 really computes in, and the languages of the model."""

    compute_type: str
    languages: tuple[str, ...]


class WhisperService:
    """One model."""

    def __init__(self, tracer: Tracer, plan: Plan) -> None:
        keep_telemetry_off()
        from faster_whisper import WhisperModel

        self._tracer = tracer
        try:
            self._model = WhisperModel(
                plan.folder,
                device=plan.device,
                device_index=plan.index,
                compute_type=plan.compute_type,
                cpu_threads=plan.threads,
                local_files_only=True,
            )
        except ValueError as error:
            raise UnsupportedError("CTranslate2 refuses this", error, "see `auricle doctor`") from error
        except RuntimeError as error:
            raise EngineError("CTranslate2 failed", error) from error

    def loaded(self) -> Loaded:
        """Tell what was loaded."""
        knows = self._model.hf_tokenizer.token_to_id
        languages = [one for one in self._model.supported_languages if knows(f"<|{one}|>") is not None]
        return Loaded(str(self._model.model.compute_type), tuple(languages) or ("en",))

    def recognise(self, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
        """Recognise a recording of any length."""
        try:
            with self._tracer.span("recognise"):
                found, info = self._model.transcribe(
                    samples,
                    language=options.language,
                    beam_size=BEAM,
                    temperature=0.0,
                    initial_prompt=options.prompt,
                    hotwords=" ".join(options.keywords) or None,
                    word_timestamps=options.word_times,
                )
                segments = list(found)
        except (RuntimeError, ValueError) as error:
            raise EngineError("faster-whisper failed", error) from error
        words = tuple(word for segment in segments for word in _words(segment.words or ()))
        return Heard("".join(segment.text for segment in segments), words, info.language)


def _words(pieces: Iterable[Any]) -> list[Word]:
    """Return whole words: a piece without a space before it belongs to the one before it."""
    words: list[Word] = []
    for piece in pieces:
        text = " ".join(piece.word.split())
        if not text:
            continue
        if words and not piece.word[0].isspace():
            last = words[-1]
            sure = min(last.confidence or 0.0, piece.probability)
            words[-1] = Word(last.text + text, last.start, float(piece.end), float(sure))
        else:
            words.append(Word(text, float(piece.start), float(piece.end), min(max(float(piece.probability), 0.0), 1.0)))
    return words
