import re
from collections import Counter

import numpy as np
import pytest
from pocketsphinx import Decoder

from auricle.corpus import Corpus, Utterance, check, open_corpus
from auricle.corpus.sentences import sentences

HASH = "e094b84bfdee2b0f30df6058253a5abf32c6d5c11ab66097c2a75a6fd64050dd"


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return open_corpus("demo")


def test_the_demo_corpus_is_the_one_that_results_refer_to(demo: Corpus) -> None:
    assert demo.hash == HASH
    assert (demo.name, demo.licence, demo.languages) == ("demo", "Apache-2.0", ("en",))


def test_the_demo_corpus_has_no_problems(demo: Corpus) -> None:
    assert check(demo) == []


def test_the_demo_corpus_is_small(demo: Corpus) -> None:
    assert sum(path.stat().st_size for path in demo.root.rglob("*") if path.is_file()) < 2_000_000
    assert set((demo.root / "audio").iterdir()) == {one.audio for one in demo.utterances}


def test_four_voices_share_the_sentences_and_digit_strings(demo: Corpus) -> None:
    assert len(demo.utterances) == 104
    assert Counter(one.speaker for one in demo.utterances) == dict.fromkeys(("kal16", "awb", "rms", "slt"), 26)
    kinds = Counter(one.id.split("-")[1] for one in demo.utterances)
    assert kinds == {"sentence": 78, "digits": 24, "short": 1, "long": 1}
    assert [one.text for one in demo.utterances if one.id.startswith("demo-sentence")] == list(sentences("en"))
    assert 5 * 60 < demo.duration_s < 8 * 60


def test_the_files_for_single_file_tables_have_their_lengths(demo: Corpus) -> None:
    assert 3 <= demo.select(ids=["demo-short"]).duration_s < 4
    assert 11 <= demo.select(ids=["demo-long"]).duration_s < 12


def test_the_audio_is_decoded_to_the_length_that_was_spoken(demo: Corpus) -> None:
    for one in demo.utterances:
        assert one.load().duration_s == pytest.approx(one.duration_s, abs=1e-4)


def test_every_word_has_its_time_inside_the_audio(demo: Corpus) -> None:
    for one in demo.utterances:
        assert " ".join(word.text for word in one.words) == one.text
        times = [time for word in one.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert 0 < times[0] < times[-1] < one.duration_s


def test_word_times_agree_with_a_forced_alignment(demo: Corpus) -> None:
    decoder = Decoder(samprate=16_000, loglevel="FATAL")
    errors_ms = []
    for one in demo.utterances[::8]:
        for word, start_s in zip(one.words, aligned_starts(decoder, one), strict=True):
            errors_ms.append(1000 * abs(word.start - start_s))
    assert len(errors_ms) > 100
    assert np.median(errors_ms) <= 10
    assert np.percentile(errors_ms, 95) <= 40


def aligned_starts(decoder: Decoder, utterance: Utterance) -> list[float]:
    decoder.set_align_text(re.sub(r"[^a-z' ]", "", utterance.text.lower()))
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw((utterance.load().samples * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    return [segment.start_frame / 100 for segment in decoder.seg() if segment.word[0] not in "<["]
