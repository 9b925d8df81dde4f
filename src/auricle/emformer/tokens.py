"""From tokens to text, by the rules of torchaudio's token processor, and to words with times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.emformer.config import FRAME_S
from auricle.errors import ModelError
from auricle.transcript import Segment, Transcript, Word, fit_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.emformer.trail import Token

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"


class Tokenizer:
    """The SentencePiece model of exactly `vocabulary` pieces; raises ModelError for another."""

    def __init__(self, model: bytes, vocabulary: int) -> None:
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise ModelError("the SentencePiece model is damaged", None, "get the model again") from error
        size: int = processor.get_piece_size()
        if size != vocabulary:
            remedy = "take the SentencePiece model that the weights were trained with"
            raise ModelError("the tokenizer and the weights differ in size", f"{size} and {vocabulary}", remedy)
        silent = {processor.unk_id(), processor.eos_id(), processor.pad_id()}
        self._pieces = ["" if index in silent else str(processor.id_to_piece(index)) for index in range(size)]

    def text(self, tokens: Sequence[Token]) -> str:
        """Return the pieces joined, without those that stand for nothing, and one space between words."""
        return " ".join(self._joined(tokens).split())

    def words(self, tokens: Sequence[Token], duration_s: float) -> tuple[Word, ...]:
        """Return the words with times in seconds, from the frame of their first token to the end of their last.

        A word is as sure as its least sure token. Times never overlap nor leave the `duration_s` of the audio.
        """
        groups: list[list[Token]] = []
        for token in tokens:
            piece = self._pieces[token.label]
            if piece.startswith(_SPACE) or not groups:
                groups.append([])
            if piece:
                groups[-1].append(token)
        words = []
        for group in groups:
            text = self._joined(group).strip()
            if text:
                start, end = group[0].frame * FRAME_S, (group[-1].frame + 1) * FRAME_S
                words.append(Word(text, start, end, min(token.probability for token in group)))
        return fit_words(words, duration_s)

    def transcript(self, tokens: Sequence[Token], duration_s: float) -> Transcript:
        """Return the transcript of a recording, all its words in one segment: the pieces have no punctuation."""
        words = self.words(tokens, duration_s)
        if not words:
            return Transcript("", duration_s)
        text = self.text(tokens)
        return Transcript(text, duration_s, (Segment(text, words[0].start, words[-1].end, words),))

    def _joined(self, tokens: Sequence[Token]) -> str:
        return "".join(self._pieces[token.label] for token in tokens).replace(_SPACE, " ")
