"""Models in transformers' classes keep the contract, and say what Auricle's own runtime says of the same weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from auricle.corpus import open_corpus
from auricle.engines import fastconformer, transformers
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.errors import ModelError, UnsupportedError
from auricle.fastconformer.archive import read_archive
from auricle.models.store import shipped_path
from auricle.trace import Tracer
from tests.engines.contract_suite import EngineContract, texts
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


@pytest.mark.slow
class TestParakeetTdt(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        write_folder(read_archive(archive_of("tdt", folder, None)), folder / "huggingface")
        return folder / "huggingface"


@pytest.mark.slow
class TestParakeetCtc(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        write_folder(read_archive(archive_of("ctc", folder, None)), folder / "huggingface")
        return folder / "huggingface"


@pytest.mark.slow
class TestWhisper(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        return whisper(folder)


@pytest.mark.slow
class TestMoonshine(TransformersContract):
    hears_silence = True

    @classmethod
    def build(cls, folder: Path) -> Path:
        return moonshine(folder)


def test_transformers_and_our_own_runtime_say_the_same(tmp_path: Path) -> None:
    spoken = digits(6)
    theirs = transformers.ENGINE.load(LoadOptions(model=digits_model(tmp_path)), Tracer())
    ours = fastconformer.ENGINE.load(LoadOptions(), Tracer())
    try:
        assert texts(theirs, spoken) == texts(ours, spoken)
        options = TranscribeOptions(word_times=True)
        timed = [one.transcribe(spoken[:1], options)[0].words for one in (theirs, ours)]
    finally:
        theirs.unload()
        ours.unload()
    assert [word.text for word in timed[0]] == [word.text for word in timed[1]]
    assert [word.start for word in timed[0]] == pytest.approx([word.start for word in timed[1]], abs=0.081)
    assert theirs.info.parameters == sum(group.count for group in theirs.info.weights)


@pytest.mark.slow
def test_whisper_is_asked_for_its_languages_alone_and_repeats_no_prompt(tmp_path: Path) -> None:
    recognizer = transformers.ENGINE.load(LoadOptions(model=whisper(tmp_path)), Tracer())
    try:
        assert recognizer.info.languages == ("de", "en", "fr")
        with pytest.raises(UnsupportedError, match="tlh"):
            recognizer.transcribe(noises((1.0,)), TranscribeOptions(language="tlh"))
        (prompted,) = recognizer.transcribe(noises((1.0,)), TranscribeOptions(prompt="zzzzzz"))
    finally:
        recognizer.unload()
    assert "zzzzzz" not in prompted.text


def test_a_smaller_precision_than_that_of_the_files_is_told(tmp_path: Path) -> None:
    recognizer = transformers.ENGINE.load(LoadOptions(model=whisper(tmp_path), precision="bf16"), Tracer())
    recognizer.unload()
    assert recognizer.info.precision == "bf16"
    assert recognizer.info.converted


def test_another_class_and_a_damaged_folder_are_refused(tmp_path: Path) -> None:
    whisper(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot load this model"):
        transformers.ENGINE.load(LoadOptions(model=tmp_path), Tracer())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    with pytest.raises(UnsupportedError, match=r"BertModel .*MoonshineForConditionalGeneration"):
        transformers.ENGINE.load(LoadOptions(model=tmp_path), Tracer())
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(ModelError, match="not a folder of transformers"):
        transformers.ENGINE.load(LoadOptions(model=tmp_path), Tracer())
