"""Models in transformers' classes keep the contract, and say what Auricle's own runtime says of the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.corpus import open_corpus
from auricle.engines import transformers
from auricle.engines.contract import LoadOptions
from auricle.fastconformer.archive import read_archive
from auricle.models.store import shipped_path
from tests.engines.contract_suite import EngineContract
from tests.engines.whisper_toys import moonshine, noises, whisper
from tests.fastconformer.transformers_cases import archive_of
from tools.to_huggingface import write_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.audio import Audio
    from auricle.engines.contract import Engine

RATE = 16_000


class TransformersContract(EngineContract):
    """The suite on the model made by `build`."""

    @classmethod
    def build(cls, folder: Path) -> Path:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return transformers.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, tmp_path_factory: pytest.TempPathFactory) -> LoadOptions:
        return LoadOptions(model=cls.build(tmp_path_factory.mktemp("model")))

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return noises()


def digits(count: int) -> list[Audio]:
    return [utterance.load(RATE) for utterance in open_corpus("demo-digits").utterances[:count]]


def digits_model(folder: Path) -> Path:
    """The recogniser of digits that comes with Auricle, as transformers would have saved it."""
    write_folder(read_archive(shipped_path("auricle-digits-en.nemo")), folder)
    return folder


class TestNemotronStreaming(TransformersContract):
    @classmethod
    def build(cls, folder: Path) -> Path:
        return digits_model(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return digits(3)


class TestParakeetTdt(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        write_folder(read_archive(archive_of("tdt", folder, None)), folder / "huggingface")
        return folder / "huggingface"


class TestParakeetCtc(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        write_folder(read_archive(archive_of("ctc", folder, None)), folder / "huggingface")
        return folder / "huggingface"


class TestWhisper(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        return whisper(folder)


class TestMoonshine(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        return moonshine(folder)
