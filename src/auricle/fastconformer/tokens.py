"""Tokens as a decoder emits them, and the words, sentences and times that they make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auricle.errors import ModelError
from auricle.transcript import Segment, Transcript, Word, fit_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sentencepiece import SentencePieceProcessor

_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
_TAG = re.compile(f"{_WORD_START}?<([a-z]{{2,3}}-[A-Za-z]{{2}})>")
_SENTENCE_ENDS = (".", "?", "!", "\N{DEVANAGARI DANDA}", "\N{IDEOGRAPHIC FULL STOP}")


@dataclass(frozen=True, slots=True)
class Token:
    """One emitted token: the encoder frame it was emitted at, how many frames it lasts, its probability in [0, 1]."""

    index: int
    frame: int
    frames: int
    probability: float


class Tokenizer:
    """The SentencePiece model of an archive, of exactly `vocabulary` pieces; raises ModelError for another.

    `pieces` are they by their numbers. With `has_tags`, tokens such as `<en-US>` name the language that was heard and
    are no part of a text.
    """

    def __init__(self, model: bytes, vocabulary: int, *, has_tags: bool = False) -> None:
        import sentencepiece

        remedy = "get the archive again; its tokenizer must be a SentencePiece model"
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise ModelError("the tokenizer of the archive is damaged", None, remedy) from error
        pieces: int = processor.get_piece_size()
        if pieces != vocabulary:
            raise ModelError("the tokenizer and the model differ in size", f"{pieces} and {vocabulary}", remedy)
        self._processor: SentencePieceProcessor = processor
        names = [str(processor.id_to_piece(index)) for index in range(pieces)]
        self.pieces = names
        self._starts = [name.startswith(_WORD_START) for name in names]
        self._space = names.index(_WORD_START) if _WORD_START in names else None
        tags = {index: _TAG.fullmatch(name) for index, name in enumerate(names if has_tags else ())}
        self._tags = {index: tag[1] for index, tag in tags.items() if tag}

    def text(self, tokens: Sequence[Token]) -> str:
        """Return the text that the tokens spell."""
        kept: list[int] = []
        for token in tokens:
            if token.index not in self._tags:
                kept.append(token.index)
            elif kept and kept[-1] == self._space:
                kept.pop()
        text: str = self._processor.decode(kept)
        return text

    def language(self, tokens: Sequence[Token]) -> str | None:
        """Return the language that the last tag among the tokens names."""
        return next((self._tags[token.index] for token in reversed(tokens) if token.index in self._tags), None)

    def spell(self, text: str) -> tuple[int, ...]:
        """Return the tokens that spell a text, none when the model cannot write all of it."""
        tokens = tuple(self._processor.encode(text))
        return () if self._processor.unk_id() in tokens else tokens

    def words(self, tokens: Sequence[Token], frame_s: float, duration_s: float) -> tuple[Word, ...]:
        """Return the words with times in seconds, from the emission of the first token to the end of the last.

        A word is as sure as its least sure token. Times never overlap nor leave the `duration_s` of the audio.
        """
        words = []
        for group in self._groups(tokens):
            end = max(token.frame + token.frames for token in group)
            confidence = min(token.probability for token in group)
            words += [
                Word(text, group[0].frame * frame_s, end * frame_s, confidence) for text in self.text(group).split()
            ]
        return fit_words(words, duration_s)

    def _groups(self, tokens: Sequence[Token]) -> Iterator[list[Token]]:
        group: list[Token] = []
        for token in tokens:
            if group and self._starts[token.index]:
                yield group
                group = []
            group.append(token)
        if group:
            yield group


def transcript(tokenizer: Tokenizer, tokens: Sequence[Token], frame_s: float, duration_s: float) -> Transcript:
    """Return the transcript of tokens, its words in one segment per sentence that punctuation ends."""
    segments = []
    sentence: list[Word] = []
    for word in tokenizer.words(tokens, frame_s, duration_s):
        sentence.append(word)
        if word.text.endswith(_SENTENCE_ENDS):
            segments.append(_segment(sentence))
            sentence = []
    if sentence:
        segments.append(_segment(sentence))
    return Transcript(tokenizer.text(tokens), duration_s, tuple(segments), tokenizer.language(tokens))


def _segment(words: Sequence[Word]) -> Segment:
    return Segment(" ".join(word.text for word in words), words[0].start, words[-1].end, tuple(words))
