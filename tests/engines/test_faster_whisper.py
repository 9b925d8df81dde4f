"""faster-whisper keeps the contract on a tiny Whisper, and tells what was really loaded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from auricle.engines import faster_whisper
from auricle.engines.contract import LoadOptions
from auricle.engines.ctranslate2_file import read_weights
from auricle.errors import ModelError, UnsupportedError
from auricle.trace import Tracer
from tests.engines.contract_suite import EngineContract
from tests.engines.whisper_toys import ctranslate2_whisper, noises, whisper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auricle.audio import Audio
    from auricle.engines.contract import Engine, Precision, Recognizer
    from auricle.engines.library import LibraryRecognizer

PARAMETERS = 162_656


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    return ctranslate2_whisper(tmp_path_factory.mktemp("model"), source)


class TestFasterWhisper(EngineContract):
    hears_silence = True

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return faster_whisper.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, model: Path) -> LoadOptions:
        return LoadOptions(model=model)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return noises()

    @pytest.mark.slow
    def test_ten_minutes_are_recognised_or_refused_by_length(
        self, recognizer: Recognizer, speech: Sequence[Audio]
    ) -> None:
        super().test_ten_minutes_are_recognised_or_refused_by_length(recognizer, speech)


def load(model: Path, precision: Precision | None = None) -> LibraryRecognizer:
    return faster_whisper.ENGINE.load(LoadOptions(model=model, precision=precision), Tracer())


def test_weights_and_languages_are_those_of_the_files(model: Path) -> None:
    recognizer = load(model)
    recognizer.unload()
    info = recognizer.info
    assert info.parameters == PARAMETERS
    assert [(group.dtype, group.bytes) for group in info.weights] == [("float32", 4 * PARAMETERS)]
    assert info.languages == ("en",)
    assert (info.precision, info.converted) == ("fp32", False)


def test_a_precision_that_the_library_makes_itself_is_told(model: Path) -> None:
    recognizer = load(model, "int8")
    recognizer.unload()
    assert recognizer.info.precision.startswith("int8")
    assert recognizer.info.converted


def test_weights_that_are_stored_in_int8_are_not_converted(source: Path, tmp_path: Path) -> None:
    recognizer = load(ctranslate2_whisper(tmp_path / "int8", source, "int8"))
    recognizer.unload()
    assert recognizer.info.precision.startswith("int8")
    assert not recognizer.info.converted


def test_every_precision_that_is_said_to_be_unusable_is_refused(model: Path) -> None:
    unusable = [row for row in faster_whisper.ENGINE.support() if row.device == "cpu" and not row.usable]
    for row in unusable:
        with pytest.raises(UnsupportedError):
            load(model, row.precision)  # type: ignore[arg-type]  # rows name precisions as strings


def test_a_folder_without_a_tokenizer_is_refused_instead_of_fetching_one(model: Path, tmp_path: Path) -> None:
    for name in ("model.bin", "config.json"):
        (tmp_path / name).symlink_to(model / name)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model", struct.pack("<I", 99), struct.pack("<IH", 6, 9)])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelError, match="not a model of CTranslate2"):
        read_weights(tmp_path)
