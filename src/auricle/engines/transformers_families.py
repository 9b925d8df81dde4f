"""How each class of transformers is asked: what goes in, what `generate` is told, and how its answer is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from auricle.engines.library import Heard
from auricle.transcript import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from auricle.engines.contract import Feature, TranscribeOptions

ATTENTION_S = 60.0
"""Attention over a whole recording takes memory with the square of its length."""
WHISPER_S = 30.0
MOONSHINE_S = 30.0
MOONSHINE_TOKENS_PER_S = 6.5
"""The bound that its authors give, without which it repeats itself."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and what prepares audio and reads tokens: a processor, or a feature extractor and a tokenizer."""

    model: Any
    processor: Any
    extractor: Any
    tokenizer: Any


class Ask(Protocol):
    """Recognises one recording of `samples` at the model's rate."""

    def __call__(self, loaded: Loaded, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
        """Return what the model heard."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are asked alike; `has_processor` tells whether transformers has one for them that knows all."""

    name: str
    ask: Ask
    longest_s: float
    features: frozenset[Feature] = frozenset()
    has_processor: bool = False


def _ctc(loaded: Loaded, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
    del options
    inputs = _inputs(loaded, loaded.processor, samples)
    tokens = loaded.model.generate(**inputs)
    return Heard(loaded.processor.batch_decode(tokens, skip_special_tokens=True)[0])


def _transducer(loaded: Loaded, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
    inputs = _inputs(loaded, loaded.processor, samples)
    out = loaded.model.generate(**inputs, max_new_tokens=_most_symbols(loaded, inputs))
    decoded, timed = loaded.processor.decode(out.sequences, durations=out.durations, skip_special_tokens=True)
    text = decoded if isinstance(decoded, str) else decoded[0]
    return Heard(text, _words(timed[0]) if options.word_times else ())


def _whisper(loaded: Loaded, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
    inputs = _inputs(loaded, loaded.extractor, samples, return_attention_mask=True)
    wanted: dict[str, Any] = {"do_sample": False, "num_beams": 1}
    if getattr(loaded.model.generation_config, "is_multilingual", False):
        wanted |= {"task": "transcribe", "language": options.language}
    if options.prompt is not None:
        wanted["prompt_ids"] = _prompt(loaded, options.prompt)
    tokens = loaded.model.generate(**inputs, **wanted)[0].tolist()
    start = loaded.model.generation_config.decoder_start_token_id
    spoken = tokens[len(tokens) - tokens[::-1].index(start) :] if start in tokens else tokens
    return Heard(loaded.tokenizer.decode(spoken, skip_special_tokens=True), language=options.language)


def _prompt(loaded: Loaded, text: str) -> Any:
    """Return the tokens of what was said before, as Whisper was trained to be given it."""
    import torch

    before = loaded.model.generation_config.prev_sot_token_id
    spelt = loaded.tokenizer(f" {text.strip()}", add_special_tokens=False)["input_ids"]
    return torch.tensor([before, *spelt], device=loaded.model.device)


def _moonshine(loaded: Loaded, samples: NDArray[np.float32], options: TranscribeOptions) -> Heard:
    del options
    inputs = _inputs(loaded, loaded.extractor, samples)
    seconds = len(samples) / loaded.extractor.sampling_rate
    most = math.ceil(seconds * MOONSHINE_TOKENS_PER_S)
    tokens = loaded.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=most)
    return Heard(loaded.tokenizer.decode(tokens[0], skip_special_tokens=True))


def _inputs(loaded: Loaded, prepare: Any, samples: NDArray[np.float32], **more: Any) -> Any:
    rate = loaded.extractor.sampling_rate
    inputs = prepare(samples, sampling_rate=rate, return_tensors="pt", **more)
    return inputs.to(loaded.model.device, dtype=loaded.model.dtype)


def _most_symbols(loaded: Loaded, inputs: Any) -> int:
    """Return a bound that no recording reaches: what ends a transducer is the end of its frames."""
    return int(inputs["input_features"].shape[1]) * int(loaded.model.config.max_symbols_per_step)


def _words(pieces: Sequence[dict[str, Any]]) -> tuple[Word, ...]:
    """Join timed pieces of text to words: a space begins one."""
    words: list[Word] = []
    for piece in pieces:
        text, start, end = piece["token"], float(piece["start"]), float(piece["end"])
        for place, part in enumerate(text.split(" ")):
            if part and words and not place:
                words[-1] = Word(words[-1].text + part, words[-1].start, end)
            elif part:
                words.append(Word(part, start, end))
    return tuple(words)


FAMILIES: dict[str, Family] = {
    "ParakeetForCTC": Family("parakeet-ctc", _ctc, ATTENTION_S, has_processor=True),
    "ParakeetForRNNT": Family("parakeet-rnnt", _transducer, ATTENTION_S, frozenset({"word_times"}), True),
    "ParakeetForTDT": Family("parakeet-tdt", _transducer, ATTENTION_S, frozenset({"word_times"}), True),
    "NemotronAsrStreamingForRNNT": Family(
        "nemotron-streaming-rnnt", _transducer, ATTENTION_S, frozenset({"word_times"}), True
    ),
    "WhisperForConditionalGeneration": Family("whisper", _whisper, WHISPER_S, frozenset({"language", "prompt"})),
    "MoonshineForConditionalGeneration": Family("moonshine", _moonshine, MOONSHINE_S),
}
