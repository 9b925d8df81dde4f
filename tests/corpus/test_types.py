import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.audio import load, save
from auricle.corpus.types import Corpus, DefectiveCorpusError, Problem, Utterance
from auricle.errors import AudioError, CorpusError

Record = Callable[..., Path]


def utterance(path: Path, **changes: Any) -> Utterance:
    return replace(Utterance(path.stem, path, "hello there", "en", "ann", 0.5), **changes)


@pytest.fixture
def corpus(record: Record, tmp_path: Path) -> Corpus:
    utterances = tuple(utterance(record(f"{name}.wav", seed=seed)) for seed, name in enumerate("abc"))
    return Corpus("three", utterances, None, "here", tmp_path)


def changed(corpus: Corpus, **changes: Any) -> Corpus:
    first, *others = corpus.utterances
    return replace(corpus, utterances=(replace(first, **changes), *others))


def test_the_hash_does_not_depend_on_the_order_of_the_utterances(corpus: Corpus) -> None:
    assert replace(corpus, utterances=corpus.utterances[::-1]).hash == corpus.hash


def test_the_hash_does_not_depend_on_where_the_files_lie(corpus: Corpus, tmp_path: Path) -> None:
    moved = tuple(
        replace(one, audio=Path(shutil.copy(one.audio, tmp_path / f"moved-{one.audio.name}")))
        for one in corpus.utterances
    )
    assert replace(corpus, name="other", utterances=moved).hash == corpus.hash


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "hello their"},
        {"language": "en-GB"},
        {"speaker": None},
        {"id": "d"},
        {"is_cut": True},
    ],
    ids=str,
)
def test_the_hash_changes_with_what_the_utterance_is(corpus: Corpus, changes: dict[str, Any]) -> None:
    assert changed(corpus, **changes).hash != corpus.hash


def test_the_hash_changes_with_a_single_sample(corpus: Corpus) -> None:
    before = corpus.hash
    audio = load(corpus.utterances[0].audio)
    samples = audio.samples.copy()
    samples[1000] += 1 / 32768
    save(replace(audio, samples=samples), corpus.utterances[0].audio)
    assert replace(corpus).hash != before


def test_the_hash_tells_stretches_of_one_file_apart(corpus: Corpus) -> None:
    early, late = (changed(corpus, is_cut=True, offset_s=offset_s, duration_s=0.1) for offset_s in (0.0, 0.2))
    assert early.hash != late.hash


def test_a_corpus_whose_audio_is_gone_has_no_hash(corpus: Corpus) -> None:
    corpus.utterances[1].audio.unlink()
    with pytest.raises(CorpusError, match=r"cannot be read: .*b\.wav"):
        _ = corpus.hash


def test_a_language_selects_its_varieties_too(corpus: Corpus) -> None:
    mixed = changed(changed(corpus, language="en-GB"), language="en-GB")
    mixed = replace(mixed, utterances=(*mixed.utterances, replace(mixed.utterances[0], id="h", language="hi")))
    assert [one.id for one in mixed.select(language="en").utterances] == ["a", "b", "c"]
    assert [one.id for one in mixed.select(language="en-GB").utterances] == ["a"]
    assert mixed.languages == ("en", "en-GB", "hi")


def test_selecting_by_number_and_by_id_keeps_the_order(corpus: Corpus) -> None:
    assert [one.id for one in corpus.select(limit=2).utterances] == ["a", "b"]
    assert [one.id for one in corpus.select(ids=("c", "a")).utterances] == ["a", "c"]
    assert corpus.select(limit=2).duration_s == 1.0


def test_selecting_nothing_is_refused_with_what_there_is(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match=r"hi.*its languages are en"):
        corpus.select(language="hi")
    with pytest.raises(CorpusError, match="no such utterance in corpus three: z"):
        corpus.select(ids=("a", "z"))


def test_a_stretch_of_a_file_is_loaded_alone(record: Record) -> None:
    path = record("long.flac", seconds=3.0)
    whole = load(path).samples
    cut = utterance(path, is_cut=True, offset_s=0.75, duration_s=1.5).load()
    np.testing.assert_array_equal(cut.samples, whole[12_000:36_000])
    np.testing.assert_array_equal(utterance(path).load().samples, whole)


def test_a_stretch_after_the_end_of_its_file_is_refused(record: Record) -> None:
    with pytest.raises(AudioError, match="after the end of its file"):
        utterance(record("short.wav"), is_cut=True, offset_s=2.0).load()


def test_the_error_of_a_defective_corpus_names_all_problems_and_can_be_copied() -> None:
    problems = (Problem("empty text", "a", "nothing"), Problem("duplicate id", "b", "twice"))
    error = copy.copy(DefectiveCorpusError("here", problems))
    assert error.problems == problems
    assert str(error).startswith("2 problems in corpus here: a: empty text: nothing; b: duplicate id: twice")
