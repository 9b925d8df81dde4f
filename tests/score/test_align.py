"""Alignments are the shortest there are, and people can read them."""

import io

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from auricle.score.align import Alignment, Counts, align, render

WORDS = st.lists(st.sampled_from(["a", "b", "c", "ab", "आम"]), max_size=12)

MAT = ["the", "cat", "sat", "on", "the", "mat"]
HEARD = ["cat", "sits", "on", "on", "the", "world", "mat"]


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """Return the Levenshtein distance by the textbook table."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        above, row = row, [i]
        for j, found in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (expected != found)))
    return row[-1]


@given(WORDS, WORDS)
def test_no_alignment_has_fewer_errors(reference: list[str], hypothesis: list[str]) -> None:
    assert align(reference, hypothesis).counts.errors == distance(reference, hypothesis)


@given(WORDS, WORDS)
def test_the_pairs_spell_both_texts(reference: list[str], hypothesis: list[str]) -> None:
    alignment = align(reference, hypothesis)
    assert [pair.reference for pair in alignment.pairs if pair.reference is not None] == reference
    assert [pair.hypothesis for pair in alignment.pairs if pair.hypothesis is not None] == hypothesis
    assert alignment.counts.hypothesis_length == len(hypothesis)
    assert all((pair.reference == pair.hypothesis) == (pair.mark == "") for pair in alignment.pairs)


@given(WORDS.filter(len), WORDS)
def test_the_counts_are_those_of_jiwer(reference: list[str], hypothesis: list[str]) -> None:
    counts = align(reference, hypothesis).counts
    theirs = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    assert counts == Counts(theirs.substitutions, theirs.deletions, theirs.insertions, len(reference))


def test_a_worked_example_in_the_manner_of_sclite() -> None:
    """By hand: `the` deleted, `sat` heard as `sits`, `on` said twice, `world` inserted."""
    alignment = align(MAT, HEARD)
    assert alignment.counts == Counts(substitutions=1, deletions=1, insertions=2, reference_length=6)
    assert alignment.counts.errors == 4


def test_characters_are_aligned_one_by_one() -> None:
    assert align("kitten", "sitting").counts == Counts(2, 0, 1, 6)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [([], [], Counts(0, 0, 0, 0)), (["a"], [], Counts(0, 1, 0, 1)), ([], ["a", "b"], Counts(0, 0, 2, 0))],
)
def test_an_empty_side_is_all_deletions_or_insertions(
    reference: list[str], hypothesis: list[str], counts: Counts
) -> None:
    assert align(reference, hypothesis).counts == counts


def test_the_view_reads_without_colour() -> None:
    view = render(align(MAT, HEARD))
    assert view.plain == (
        "REF  the cat sat  on ** the ***** mat\nHYP  *** cat sits on on the world mat\n     D       S       I      I\n"
    )


def test_the_view_marks_errors_in_colour_on_a_terminal() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="standard", width=80).print(render(align(["a"], ["b"])))
    assert "\x1b[33ma\x1b[0m" in out.getvalue()


@given(st.lists(st.sampled_from(["word", "我有", "क्या", "é", "x" * 30]), max_size=20), WORDS, st.integers(20, 60))
def test_the_view_keeps_columns_under_each_other_and_within_the_width(
    reference: list[str], hypothesis: list[str], width: int
) -> None:
    lines = render(align(reference, hypothesis), width).plain.split("\n")
    assert lines.pop() == ""
    assert all(cell_len(line) <= max(width, 35) for line in lines)
    assert all(line[:5].strip() == name for line, name in zip(lines, ["REF", "HYP", ""] * len(lines), strict=False))


def test_a_wide_character_pushes_the_next_column() -> None:
    reference, hypothesis, marks, _ = render(align(["我有", "b"], ["x", "c"])).plain.split("\n")
    assert cell_len(reference.split("b")[0]) == cell_len(hypothesis.split("c")[0]) == marks.rindex("S")


def test_a_space_and_a_combining_mark_are_seen_alone() -> None:
    view = render(align("क\u093f a", "क b"))
    assert "◌\u093f" in view.plain
    assert "␣" in view.plain


def test_counts_add_up() -> None:
    total = sum((align([*text], [*other]).counts for text, other in [("ab", "a"), ("c", "dd")]), Counts(0, 0, 0, 0))
    assert total == Counts(1, 1, 1, 3)


def test_an_alignment_of_nothing_is_shown() -> None:
    assert render(Alignment(())).plain == "REF\nHYP\n\n"
