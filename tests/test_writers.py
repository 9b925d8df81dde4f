"""Every transcript format holds what the transcript says, whatever characters are in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle import writers
from auricle.errors import UnsupportedError, UsageError
from auricle.transcript import Segment, Transcript, Word, fit_words

if TYPE_CHECKING:
    from pathlib import Path

WORDS = (Word("one", 0.5, 0.9, 0.8), Word("two", 1.0, 1.25), Word("three", 3725.0, 3725.5, 1.0))
TRANSCRIPT = Transcript("one two three", 3726.0, (Segment("one two three", 0.5, 3725.5, WORDS),), "en")

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda text: bool(text.split()))
times = st.floats(-5, 30, allow_nan=False)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    spoken = draw(st.lists(st.builds(Word, texts, times, times, st.none() | st.floats(0, 1)), max_size=6))
    words = fit_words(spoken, 20.0)
    text = " ".join(word.text for word in words)
    segments = (Segment(text, words[0].start, words[-1].end, words, draw(st.none() | texts)),) if words else ()
    return Transcript(text, 20.0, segments, draw(st.sampled_from([None, "en", "hi"])))


@given(transcripts())
def test_json_reads_back_as_it_was(transcript: Transcript) -> None:
    assert writers.from_json(writers.render(transcript, "json")) == transcript


@given(transcripts())
def test_subtitles_read_back_with_the_same_words_and_times(transcript: Transcript) -> None:
    cues = list(writers.cues(transcript))
    srt = re.findall(r"^(\d+)\n([\d:,]+) --> ([\d:,]+)\n(.*)\n\n", writers.render(transcript, "srt"), re.MULTILINE)
    assert [int(number) for number, *_ in srt] == list(range(1, len(cues) + 1))
    vtt = re.findall(r"^([\d:.]+) --> ([\d:.]+)\n(.*)\n\n", writers.render(transcript, "vtt"), re.MULTILINE)
    assert len(vtt) == len(cues)
    for cue, (_, srt_start, srt_end, _), (vtt_start, vtt_end, _) in zip(cues, srt, vtt, strict=True):
        for clock, seconds in ((srt_start, cue.start), (srt_end, cue.end), (vtt_start, cue.start), (vtt_end, cue.end)):
            hours, minutes, rest = clock.replace(",", ".").split(":")
            assert int(hours) * 3600 + int(minutes) * 60 + float(rest) == pytest.approx(seconds, abs=0.0006)


@given(transcripts())
def test_tsv_has_one_row_of_three_columns_for_each_cue(transcript: Transcript) -> None:
    header, *rows = writers.render(transcript, "tsv").split("\n")[:-1]
    assert header == "start\tend\ttext"
    cues = list(writers.cues(transcript))
    assert [row.split("\t")[2] for row in rows] == [" ".join(cue.text.split()) for cue in cues]


@given(st.lists(st.builds(Word, texts, times, times)), st.floats(0, 20))
def test_fitted_words_are_monotonic_and_inside_the_audio(words: list[Word], duration_s: float) -> None:
    edges = [edge for word in fit_words(words, duration_s) for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= duration_s for edge in edges)


def test_srt_breaks_at_the_pause_and_counts_hours() -> None:
    assert writers.render(TRANSCRIPT, "srt") == (
        "1\n00:00:00,500 --> 00:00:01,250\none two\n\n2\n01:02:05,000 --> 01:02:05,500\nthree\n\n"
    )


def test_vtt_escapes_markup() -> None:
    segment = Segment("a <b> & c --> d", 0.0, 1.0)
    assert "a &lt;b&gt; &amp; c --&gt; d" in writers.render(Transcript("", 1.0, (segment,)), "vtt")


def test_an_arrow_in_the_text_does_not_look_like_a_cue_in_srt() -> None:
    segment = Segment("a --> b", 0.0, 1.0)
    assert writers.render(Transcript("", 1.0, (segment,)), "srt").count("-->") == 1


def test_a_long_segment_is_broken_into_readable_cues() -> None:
    words = tuple(Word("word", number / 2, number / 2 + 0.4) for number in range(60))
    transcript = Transcript("", 30.0, (Segment("", 0.0, 30.0, words),))
    cues = list(writers.cues(transcript))
    assert sum(len(cue.words) for cue in cues) == 60
    assert all(cue.end - cue.start <= writers.CUE_MAX_S for cue in cues)
    assert all(len(cue.text) <= writers.CUE_MAX_CHARACTERS for cue in cues)


def test_verbose_json_has_the_names_that_openai_uses() -> None:
    fields = json.loads(writers.render(TRANSCRIPT, "verbose_json"))
    assert fields["task"] == "transcribe"
    assert fields["duration"] == 3726.0
    assert fields["segments"][0]["seek"] == 50
    assert fields["words"][2] == {"word": "three", "start": 3725.0, "end": 3725.5}


def test_rttm_has_one_line_for_each_turn() -> None:
    segments = (Segment("a", 0.0, 1.5, speaker="S 1"), Segment("b", 1.5, 2.0, speaker="S2"))
    assert writers.render(Transcript("a b", 2.0, segments), "rttm", "my call") == (
        "SPEAKER my_call 1 0.000 1.500 <NA> <NA> S_1 <NA> <NA>\nSPEAKER my_call 1 1.500 0.500 <NA> <NA> S2 <NA> <NA>\n"
    )


def test_rttm_without_speakers_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="needs speakers"):
        writers.render(TRANSCRIPT, "rttm")


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"docx .*txt, json"):
        writers.render(TRANSCRIPT, "docx")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"text": "a"}', '{"segments": [1]}', "not json"])
def test_what_is_not_our_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a transcript"):
        writers.from_json(text)


@pytest.mark.parametrize("form", [form for form in writers.FORMATS if form != "rttm"])
def test_an_empty_transcript_can_be_written(form: str) -> None:
    assert writers.render(Transcript("", 0.0), form).endswith("\n") or form == "srt"


def test_a_file_that_cannot_be_rendered_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.rttm"
    with pytest.raises(UnsupportedError):
        writers.write(TRANSCRIPT, path, "rttm")
    assert not list(tmp_path.rglob("*.*"))
    writers.write(replace(TRANSCRIPT, text="kept"), path.with_suffix(".txt"), "txt")
    assert path.with_suffix(".txt").read_text() == "kept\n"
    assert len(list(tmp_path.rglob("*.*"))) == 1
