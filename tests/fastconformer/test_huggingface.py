"""Folders of transformers: the same model as the `.nemo` they were made from, in both loaders and in transformers."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sentencepiece
import torch
from hypothesis import given
from hypothesis import strategies as st

from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.filters import filterbank
from auricle.fastconformer.huggingface.tokens import sentencepiece_model
from auricle.fastconformer.loading import load, read
from auricle.fastconformer.tokens import Token, Tokenizer
from tests.fastconformer.checkpoints import TOKENIZER, VOCABULARY
from tests.fastconformer.golden import sampled
from tests.fastconformer.transformers_cases import (
    CASES,
    FITTED,
    OUTSIDE,
    SEEDED,
    Case,
    archive_of,
    audio_of,
    expected,
    fingerprint,
    recorded_of,
)
from tools.to_huggingface import tokenizer_table, write_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer, Head

    Models = Callable[[str, Head], tuple[FastConformer, FastConformer]]

TOLERANCE = 1e-5
HALVES: list[tuple[str, Head]] = [
    *sorted({(case.model, case.head) for case in CASES}),
    ("hybrid_tdt_ctc", "transducer"),
]


@pytest.fixture(scope="module")
def outside(request: pytest.FixtureRequest) -> Callable[[str], Path | None]:
    """The evaluation data, where a model needs it."""

    def folder(model: str) -> Path | None:
        return request.getfixturevalue("data") if model in OUTSIDE else None

    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, outside: Callable[[str], Path | None]) -> Models:
    """A model as its `.nemo` loads, and as the folder made of it does."""
    root = tmp_path_factory.mktemp("huggingface")

    @cache
    def both(model: str, head: Head) -> tuple[FastConformer, FastConformer]:
        archive = archive_of(model, root, outside(model))
        folder = root / model / head
        write_folder(read_archive(archive), folder, ctc=head == "ctc")
        return load(archive), load(folder)

    return both


@pytest.mark.parametrize("case", CASES, ids=str)
def test_tokens_frames_and_text_of_a_folder_are_those_of_transformers(
    case: Case, models: Models, outside: Callable[[str], Path | None], tmp_path: Path
) -> None:
    if case.model in FITTED and fingerprint(archive_of(case.model, tmp_path, None)) != recorded_of(case):
        pytest.skip(f"{case.model} was trained anew; run tests/fastconformer/record_transformers.py")
    model = models(case.model, case.head)[1]
    context = model.contexts[case.lookahead]
    for audio, wanted in zip(audio_of(case.model, outside(case.model)), expected(case), strict=True):
        frames, lengths = model.encode([audio], context, case.language)
        assert lengths.tolist() == [wanted.length]
        if case.model in SEEDED:
            np.testing.assert_allclose(sampled(frames[0].numpy()), wanted.encoded, rtol=0, atol=TOLERANCE)
        tokens = model.decode(frames, lengths)[0]
        assert [token.index for token in tokens] == wanted.tokens
        assert [token.frame for token in tokens] == wanted.frames
        assert model.tokenizer.text(tokens).strip() == wanted.text.strip()


def test_transformers_said_something_of_every_model() -> None:
    assert all(sum(len(one.tokens) for one in expected(case)) > 10 for case in CASES)


@pytest.mark.parametrize(("name", "head"), HALVES)
def test_a_folder_and_its_archive_give_identical_tokens(
    name: str, head: Head, models: Models, outside: Callable[[str], Path | None]
) -> None:
    archive, folder = models(name, head)
    assert folder.contexts == archive.contexts
    audio = audio_of(name, outside(name))
    for context in archive.contexts:
        wanted = archive.decode(*archive.encode(audio, context), head)
        found = folder.decode(*folder.encode(audio, context))
        assert any(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert [(token.index, token.frame, token.frames) for token in one] == [
                (token.index, token.frame, token.frames) for token in other
            ]
            assert folder.tokenizer.text(one) == archive.tokenizer.text(other)


@pytest.mark.parametrize(("name", "head"), HALVES)
def test_a_folder_holds_the_weights_of_its_archive_and_filters_are_rebuilt(
    name: str, head: Head, outside: Callable[[str], Path | None], tmp_path: Path
) -> None:
    path = archive_of(name, tmp_path, outside(name))
    archive = read(path)
    write_folder(archive, tmp_path / "folder", ctc=head == "ctc")
    folder = read(tmp_path / "folder")
    assert folder.config.features == archive.config.features
    assert folder.config.encoder == archive.config.encoder
    built = filterbank(archive.config.features)
    for key, value in built.items():
        torch.testing.assert_close(value, archive.weights[key], rtol=0, atol=1e-7)
    # A half is written as a model of its own, its output layer where the key map has it.
    names = {re.sub(r"joint_net\.\d", "joint_net", key.removeprefix("ctc_")): key for key in archive.weights}
    for key, value in folder.weights.items():
        source = names[key.replace("joint_net.2", "joint_net")]
        assert key in built or torch.equal(value, archive.weights[source])


SPOKEN = (
    "and so my fellow americans",
    "ten  four",
    "Straße \N{LATIN SMALL LIGATURE FI}ne \N{FULLWIDTH DIGIT ONE}",
    "आज सुबह बाज़ार में",
    "x",
    " ",
    "",
    "▁ne⁇",
)


def byte_pieces() -> bytes:
    """A model that spells what it does not know byte by byte."""
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ten four nine", "nine ten four four"]),
        model_writer=made,
        vocab_size=280,
        model_type="bpe",
        byte_fallback=True,
        user_defined_symbols=["<en-US>"],
        minloglevel=2,
    )
    return made.getvalue()


def tokenizers(data: Path) -> dict[str, bytes]:
    archives = {name: read(archive_of(name, data, data)).tokenizer for name in [*FITTED, *OUTSIDE]}
    return archives | {"seeded": TOKENIZER.read_bytes(), "bytes": byte_pieces()}


def test_every_token_of_every_tokenizer_spells_what_sentencepiece_spells(data: Path) -> None:
    for name, model in tokenizers(data).items():
        ours, theirs, size = rebuilt(model)
        assert size > 10, name
        for index in range(size):
            tokens = [Token(index, place, 1, 1.0) for place in range(2)]
            assert ours.text(tokens[:1]) == theirs.text(tokens[:1])
            assert ours.text(tokens) == theirs.text(tokens)
            assert ours.words(tokens, 0.08, 1.0) == theirs.words(tokens, 0.08, 1.0)


def test_texts_are_spelt_with_the_tokens_of_sentencepiece(data: Path) -> None:
    for model in tokenizers(data).values():
        ours, theirs, _ = rebuilt(model)
        assert [ours.spell(text) for text in SPOKEN] == [theirs.spell(text) for text in SPOKEN]


@given(st.lists(st.integers(0, VOCABULARY - 1), max_size=30))
def test_any_tokens_spell_what_sentencepiece_spells(labels: list[int]) -> None:
    ours, theirs, _ = rebuilt(TOKENIZER.read_bytes())
    tokens = [Token(label, place, 1, 0.5) for place, label in enumerate(labels)]
    assert ours.text(tokens) == theirs.text(tokens)
    assert ours.spell(ours.text(tokens)) == theirs.spell(theirs.text(tokens))


@cache
def rebuilt(model: bytes) -> tuple[Tokenizer, Tokenizer, int]:
    """A tokenizer by way of `tokenizer.json`, as it was, and how many tokens it has."""
    size = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    made = sentencepiece_model(tokenizer_table(model, size, "<blank>"), size)
    return Tokenizer(made, size), Tokenizer(model, size), size
