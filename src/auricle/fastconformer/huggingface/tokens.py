"""The tokenizer of transformers, `tokenizer.json`, as the SentencePiece model that it was made from.

What is kept is what gives tokens their text and texts their tokens: each piece with its kind and rank, the kind of
model, and the map of characters. The fields and their numbers are those of SentencePiece's `sentencepiece_model.proto`.
"""

from __future__ import annotations

import base64
import re
import struct
from typing import TYPE_CHECKING, Any

from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_MODEL_TYPES = {"Unigram": 1, "BPE": 2}
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_MOST_TOKENS = 1_000_000
_REMEDY = "get the model again; its tokenizer must be one that transformers made from SentencePiece"


def sentencepiece_model(values: Mapping[str, Any], vocabulary: int) -> bytes:
    """Return a SentencePiece model of the first `vocabulary` tokens of a `tokenizer.json`.

    The tokens beyond them (such as the blank) are no part of a transcript. Raises UnsupportedError for a tokenizer of
    another kind, and ModelError for one that lacks a token or is malformed.
    """
    model = values.get("model")
    decoder = values.get("decoder")
    if not isinstance(model, dict) or not isinstance(decoder, dict) or model.get("type") not in _MODEL_TYPES:
        raise UnsupportedError("this runtime does not know the kind of tokenizer", "tokenizer.json", _REMEDY)
    if decoder.get("type") != "Metaspace" or decoder.get("replacement") != "\N{LOWER ONE EIGHTH BLOCK}":
        raise UnsupportedError("this runtime does not know the tokenizer's decoder", decoder.get("type"), _REMEDY)
    pieces, scores = _pieces(model)
    added = _added(values.get("added_tokens"))
    pieces |= {index: content for index, (content, _) in added.items()}
    missing = next((index for index in range(vocabulary) if index not in pieces), None)
    if missing is not None:
        raise ModelError("the tokenizer lacks a token", missing, _REMEDY)
    unknown = model.get("unk_id") if model["type"] == "Unigram" else model.get("unk_token")
    kinds = [_kind(index, pieces[index], added, unknown) for index in range(vocabulary)]
    records = [_piece(pieces[index], scores.get(index, 0.0), kind) for index, kind in enumerate(kinds)]
    trainer = _number(3, _MODEL_TYPES[model["type"]]) + (_number(35, 1) if _BYTE in kinds else b"")
    return b"".join([*records, _record(2, trainer), _record(3, _normaliser(values.get("normalizer")))])


def _pieces(model: Mapping[str, Any]) -> tuple[dict[int, str], dict[int, float]]:
    """Return the tokens of the vocabulary by index, and their scores: of BPE the rank, in the order of merging."""
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        pieces = _checked((index, piece) for piece, index in vocabulary.items())
        return pieces, {index: -float(index) for index in pieces}
    rows = vocabulary if isinstance(vocabulary, list) else []
    scores = {index: one[1] for index, one in enumerate(rows) if isinstance(one, list) and len(one) == 2}  # noqa: PLR2004
    if not rows or len(scores) != len(rows) or not all(isinstance(score, int | float) for score in scores.values()):
        raise ModelError("the tokenizer has no vocabulary", "tokenizer.json", _REMEDY)
    return _checked((index, one[0]) for index, one in enumerate(rows)), scores


def _checked(items: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for index, piece in items:
        if type(index) is not int or not 0 <= index < _MOST_TOKENS or not isinstance(piece, str) or index in found:
            raise ModelError("a token of the tokenizer is malformed", f"{piece!r:.40} = {index!r:.20}", _REMEDY)
        found[index] = piece
    return found


def _added(values: object) -> dict[int, tuple[str, bool]]:
    """Return the tokens that were added, and whether each is special, which is to say never part of a text."""
    rows = [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
    contents = _checked((one.get("id"), one.get("content")) for one in rows)
    return {one["id"]: (contents[one["id"]], one.get("special") is True) for one in rows}


def _kind(index: int, piece: str, added: Mapping[int, tuple[str, bool]], unknown: object) -> int:
    if unknown in (piece, index):
        return _UNKNOWN
    if index in added:
        return _CONTROL if added[index][1] else _USER_DEFINED
    return _BYTE if _BYTE_PIECE.fullmatch(piece) else _NORMAL


def _normaliser(values: object) -> bytes:
    """Return the specification of a normaliser: the map of characters (field 2), if there is one."""
    parts = values.get("normalizers") if isinstance(values, dict) and "normalizers" in values else [values]
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, dict) and part.get("type") == "Precompiled":
            try:
                return _record(2, base64.b64decode(str(part.get("precompiled_charsmap")), validate=True))
            except ValueError as error:
                raise ModelError("the tokenizer's map of characters is damaged", None, _REMEDY) from error
    return b""


def _piece(text: str, score: float, kind: int) -> bytes:
    """Return one of the model's `pieces` (field 1): its text (1), its score (2) and its kind (3)."""
    try:
        return _record(1, _record(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind))
    except (UnicodeEncodeError, OverflowError) as error:
        raise ModelError("a token of the tokenizer is malformed", f"{text!r:.40}", _REMEDY) from error


def _record(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Return a whole number as protobuf writes it: seven bits to a byte, the lowest first."""
    *rest, last = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(byte | 0x80 for byte in rest), last])
