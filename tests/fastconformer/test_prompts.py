"""Models that are told the language: read, refused, and each recording and live stream told its own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sentencepiece
import torch

from auricle import cli
from auricle.audio import Audio
from auricle.engines import fastconformer
from auricle.engines.contract import LoadOptions, StreamingRecognizer, StreamOptions, TranscribeOptions
from auricle.errors import ModelError, UnsupportedError
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.describe import describe
from auricle.fastconformer.measure import peak_bytes
from auricle.fastconformer.memory import batch_bytes
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.streaming.streams import Fed, LiveStreams
from auricle.fastconformer.tokens import Token, Tokenizer, transcript
from auricle.trace import Tracer
from tests.fastconformer.checkpoints import RATE_HZ, build, config, recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from auricle.engines.contract import Recognizer
    from auricle.fastconformer.model import FastConformer

LANGUAGES = ("en-US", "de", "auto", None)
SAMPLES = 97_123


def test_the_prompts_of_an_archive_are_read() -> None:
    prompts = parse_config(config("multilingual")).prompts
    assert prompts is not None
    assert (prompts.count, prompts.hidden, prompts.default) == (6, 64, 5)
    assert dict(prompts.languages) == {"en-US": 0, "en": 0, "de": 3, "auto": 5}
    assert parse_config(config("rnnt_stream")).prompts is None


def test_norwegian_is_a_language_whatever_yaml_makes_of_it() -> None:
    values = config("prompted_hybrid")
    values["model_defaults"]["prompt_dictionary"] = {False: 1, "de": 2}
    prompts = parse_config(values).prompts
    assert prompts is not None
    assert prompts.of("no") == 1


def test_a_model_whose_prompts_were_never_made_has_none() -> None:
    values = config("multilingual")
    values["model_defaults"]["initialize_prompt_feature"] = False
    assert parse_config(values).prompts is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompt_dictionary", {}),
        ("prompt_dictionary", None),
        ("prompt_dictionary", ["en"]),
        ("prompt_dictionary", {"en": 6}),
        ("prompt_dictionary", {"en": -1}),
        ("prompt_dictionary", {"en": True}),
        ("prompt_dictionary", {"en": "0"}),
        ("prompt_dictionary", {3: 0}),
        ("enc_hidden", 64),
        ("num_prompts", 0),
        ("initialize_prompt_feature", "yes"),
    ],
)
def test_prompts_that_make_no_sense_are_refused_by_name(key: str, value: Any) -> None:
    values = config("multilingual")
    values["model_defaults"][key] = value
    with pytest.raises((UnsupportedError, ModelError), match=rf"model_defaults\.{key}"):
        parse_config(values)


def test_an_unknown_language_is_refused_with_those_that_are_known(built: Callable[[str], FastConformer]) -> None:
    with pytest.raises(UnsupportedError, match=r"knows: fr \(hint: it knows auto, de, en, en-US\)"):
        built("multilingual").transcribe([recording(16_000)], language="fr")


def test_a_language_must_be_told_where_the_model_cannot_tell_it() -> None:
    values = config("prompted_hybrid")
    del values["model_defaults"]["prompt_dictionary"]["auto"]
    prompts = parse_config(values).prompts
    assert prompts is not None
    assert prompts.of("de") == 2
    with pytest.raises(UnsupportedError, match="it knows de, no"):
        prompts.of(None)


def test_a_model_without_prompts_takes_no_language(built: Callable[[str], FastConformer]) -> None:
    with pytest.raises(UnsupportedError, match="told no language: de"):
        built("rnnt_stream").transcribe([recording(16_000)], language="de")


def test_no_language_is_the_prompt_called_auto(built: Callable[[str], FastConformer]) -> None:
    model = built("multilingual")
    frames = {language: model.encode([recording(40_001)], language=language)[0] for language in LANGUAGES}
    assert torch.equal(frames[None], frames["auto"])
    assert not torch.allclose(frames["auto"], frames["de"], atol=0.01)
    assert torch.equal(model.encode([recording(40_001)], language="en")[0], frames["en-US"])


@pytest.mark.parametrize("sizes", [(1,), (4,)], ids=str)
def test_every_live_stream_is_told_its_language(sizes: tuple[int, ...], built: Callable[[str], FastConformer]) -> None:
    model = built("multilingual")
    streams = LiveStreams(model, 4, sizes=sizes)
    latency = streams.classes[1]
    audio = recording(SAMPLES, 3)
    opened = [streams.open(latency, language=language) for language in LANGUAGES]
    place, heard = 0, []
    while place < len(audio):
        wanted = opened[0].wanted
        chunk, place = audio[place : place + wanted], place + wanted
        heard = streams.step([Fed(stream, chunk, is_last=place >= len(audio)) for stream in opened])
    context = AttentionContext(latency.left, latency.frames - 1, chunked=True)
    for language, tokens in zip(LANGUAGES, heard, strict=True):
        (wanted_tokens,) = model.decode(*model.encode([audio], context, language))
        assert [(one.index, one.frame) for one in tokens] == [(one.index, one.frame) for one in wanted_tokens]
        assert tokens
    assert heard[0] != heard[1]


def test_inspecting_a_model_shows_the_languages_it_can_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = build("multilingual", tmp_path)
    assert describe(path)["architecture"]["languages"] == ["auto", "de", "en", "en-US"]
    assert describe(build("rnnt_stream", tmp_path))["architecture"]["languages"] is None
    assert cli.run(["models", "inspect", str(path)]) == 0
    assert "auto, de, en, en-US" in capsys.readouterr().out


def test_a_stream_with_an_unknown_language_takes_no_place(built: Callable[[str], FastConformer]) -> None:
    streams = LiveStreams(built("multilingual"), 1)
    with pytest.raises(UnsupportedError, match="fr"):
        streams.open(streams.classes[0], language="fr")
    streams.open(streams.classes[0], language="de")


def test_the_bound_of_a_batch_holds_with_prompts() -> None:
    parsed = parse_config(config("multilingual"))
    samples = [160_000, 90_000]
    assert peak_bytes(parsed, samples) <= batch_bytes(parsed, 2, 126)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizer]:
    path = build("multilingual", tmp_path_factory.mktemp("prompts"))
    loaded = fastconformer.ENGINE.load(LoadOptions(model=path, threads=1), Tracer())
    yield loaded
    loaded.unload()


def test_the_engine_tells_a_file_its_language(recognizer: Recognizer, built: Callable[[str], FastConformer]) -> None:
    audio = Audio(recording(40_001, 2), RATE_HZ)
    assert recognizer.info.languages == ("auto", "de", "en", "en-US")
    assert "language" in recognizer.info.features
    for language in LANGUAGES:
        (found,) = recognizer.transcribe([audio], TranscribeOptions(language=language))
        (wanted,) = built("multilingual").transcribe([audio.samples], language=language)
        assert found.text == wanted.text
        assert found.language == language
    with pytest.raises(UnsupportedError, match=r"does not know this language: fr.*auto, de, en, en-US"):
        recognizer.transcribe([audio], TranscribeOptions(language="fr"))


def test_the_engine_refuses_a_stream_of_an_unknown_language(recognizer: Recognizer) -> None:
    assert isinstance(recognizer, StreamingRecognizer)
    with pytest.raises(UnsupportedError, match="does not know this language: fr"):
        recognizer.open(StreamOptions(language="fr"))
    recognizer.close(recognizer.open(StreamOptions(language="de")))


@pytest.fixture(scope="module")
def tagged() -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ten four nine", "nine ten four four"]),
        model_writer=made,
        vocab_size=24,
        model_type="bpe",
        user_defined_symbols=["<en-US>", "<de-DE>"],
        minloglevel=2,
    )
    return made.getvalue()


def test_a_tag_tells_the_language_and_is_no_part_of_the_text(tagged: bytes) -> None:
    tokenizer = Tokenizer(tagged, 24, has_tags=True)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tagged).encode("ten <de-DE> four <en-US>")
    tokens = [Token(int(index), place, 1, 0.9) for place, index in enumerate(np.array(pieces))]
    made = transcript(tokenizer, tokens, 0.08, 9.0)
    assert (made.text, made.language) == ("ten four", "en-US")
    assert [word.text for word in made.words] == ["ten", "four"]
    assert transcript(tokenizer, tokens[:1], 0.08, 9.0).language is None


def test_without_prompts_what_looks_like_a_tag_is_text(tagged: bytes) -> None:
    tokenizer = Tokenizer(tagged, 24)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tagged).encode("ten <de-DE>")
    assert tokenizer.text([Token(int(index), 0, 1, 0.9) for index in pieces]).split() == ["ten", "<de-DE>"]
