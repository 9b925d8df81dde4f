"""The prompt of Qwen3-ASR and what the model answers.

A system turn holds the context that words are biased towards, the user's turn the audio, and the model's own turn
begins with `language NAME<asr_text>` where a language is asked for; otherwise the model says the language itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MARKER = "<asr_text>"
TOKENIZER_FILE = "tokenizer.json"
_LANGUAGE = "language "
_NONE = "none"
_SPECIAL = ("<|im_start|>", "<|im_end|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>", MARKER)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said: the text, and the code of the language that it heard, None where it named none."""

    text: str
    language: str | None


class Prompts:
    """Makes prompts and reads answers, with a checkpoint's tokenizer."""

    def __init__(self, folder: Path, languages: Mapping[str, str]) -> None:
        """Take a folder with a tokenizer and the names of languages by their codes; raises ModelError."""
        from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

        kind = PreTrainedTokenizerFast if (folder / TOKENIZER_FILE).is_file() else Qwen2Tokenizer
        try:
            self._tokenizer: Any = kind.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                "the tokenizer cannot be read", f"{folder}: {error}", "get the checkpoint again"
            ) from error
        self._names = dict(languages)
        self._codes = {name.lower(): code for code, name in languages.items()}
        for token in _SPECIAL:
            if len(self.tokens(token)) != 1:
                raise ModelError("the tokenizer lacks a token", f"{folder}: {token}", "get the checkpoint again")
        self._marker = self.tokens(MARKER)[0]
        self.tail = self.tokens("<|audio_end|><|im_end|>\n<|im_start|>assistant\n")

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of the languages that can be asked for."""
        return tuple(self._names)

    def head(self, context: str = "") -> list[int]:
        """Return the tokens before the audio; raises UnsupportedError for a context with tokens of control."""
        for token in _SPECIAL:
            if token in context:
                raise UnsupportedError("a prompt cannot hold a token of control", token, "leave it out")
        return self.tokens(f"<|im_start|>system\n{context}<|im_end|>\n<|im_start|>user\n<|audio_start|>")

    def opening(self, language: str | None) -> list[int]:
        """Return how the answer is made to begin for a language's code."""
        return [] if language is None else self.tokens(f"{_LANGUAGE}{self._names[language]}{MARKER}")

    def answer(self, tokens: Sequence[int], language: str | None = None) -> Answer:
        """Read the tokens that followed a prompt, whose answer was made to begin for `language`."""
        said = list(tokens)
        if language is None and self._marker in said:
            place = said.index(self._marker)
            named = self._text(said[:place]).removeprefix(_LANGUAGE).strip()
            return Answer(self._text(said[place + 1 :]), self._codes.get(named.lower()))
        if language is None and self._text(said).lower() == f"{_LANGUAGE}{_NONE}":
            return Answer("", None)
        return Answer(self._text(said), language)

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text, tokens of control among them."""
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()
