"""Words of a stream go to their utterances, failures count as wrong, refusals are no result."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from scipy import stats

from auricle.bench.live import errors, facts, verdicts
from auricle.bench.live.judging import judge
from auricle.bench.live.reading import read
from auricle.bench.live.scoring import split_words
from auricle.bench.live.slo import Slo
from auricle.bench.live.stability import upwr
from auricle.bench.live.summary import judged, summarise
from tests.bench.live_events import level, scored, stream, stream_event, utterance

SETTINGS = {
    "normaliser": "basic",
    "seed": 0,
    "capacity_from": None,
    "slo": {
        "final_p95_ms": 500.0,
        "ttft_p95_ms": None,
        "late_ms": 500.0,
        "late_share": 0.01,
        "wer_margin_points": 0.5,
        "refused_share": 0.0,
    },
}


def test_the_words_of_a_long_stream_are_split_over_its_utterances() -> None:
    references = [["one", "two"], ["three", "four"], ["five"]]
    assert split_words(references, ["one", "too", "three", "four", "more", "five", "six"]) == [
        ["one", "too"],
        ["three", "four", "more"],
        ["five", "six"],
    ]


def test_the_errors_of_the_parts_are_those_of_the_whole() -> None:
    first, second = utterance("a", "one two"), utterance("b", "three four five")
    told = stream([(2.0, None, True, "one"), (4.0, None, True, "uh three five")], (first, 0.0), (second, 2.0))
    tallies = errors.tally(scored(told))
    assert sum(one.words.errors for one in tallies.values()) == 2  # uh for two, four lost
    assert (tallies["a"].words.errors, tallies["b"].words.errors) == (1, 1)


def test_a_failed_stream_is_all_deletions_whatever_it_had_said() -> None:
    failed = stream([(1.0, 1.0, True, "one two")], outcome="failed")
    cut = stream([(1.0, 1.0, True, "one two")], outcome="cancelled")
    (tally,) = errors.tally(scored(failed, cut)).values()
    assert (tally.words.deletions, tally.words.reference_length) == (4, 4)


def test_empty_and_truncated_texts_are_told_apart() -> None:
    four = (utterance("a", "one two three four"), 0.0)
    streams = [
        stream([(2.0, None, True, text)], four)
        for text in ("", "one two", "one two three", "one two three four", "two three four")
    ]
    assert errors.losses(scored(*streams)) == {"empty": 1, "truncated": 1}


def test_an_utterance_played_often_is_one_unit_and_pairs_by_its_mean() -> None:
    good, bad = ([(2.0, None, True, text)] for text in ("one two", "one"))
    base = errors.tally(scored(stream(good), stream(bad)))
    loaded = errors.tally(scored(stream(bad), stream(bad), stream(bad)))
    found = errors.paired(base, loaded, 0.5, 0)
    assert found is not None
    assert found["rate_base"] == pytest.approx(0.25)
    assert found["rate"] == pytest.approx(0.5)
    assert found["difference"] == pytest.approx(0.25)
    assert found["not_worse"] == "undecided"  # one utterance


def test_only_utterances_that_both_attempted_are_paired() -> None:
    said = [(2.0, None, True, "one")]
    base = errors.tally(scored(stream(said)))
    loaded = errors.tally(scored(stream(said), stream(said, (utterance("b", "three four"), 0.0))))
    found = errors.paired(base, loaded, 0.5, 0)
    assert found is not None
    assert (found["utterances"], found["only_level"], found["difference"]) == (1, 1, 0.0)


def test_enough_equal_texts_are_not_worse_and_enough_bad_ones_worse() -> None:
    names = [f"u{number}" for number in range(60)]
    words = " ".join(["word"] * 20)
    texts = {"same": words, "worse": " ".join(["word"] * 15)}
    tallies = {
        kind: errors.tally(
            scored(*(stream([(2.0, None, True, text)], (utterance(name, words, name), 0.0)) for name in names))
        )
        for kind, text in texts.items()
    }
    same = errors.paired(tallies["same"], tallies["same"], 0.5, 0)
    worse = errors.paired(tallies["same"], tallies["worse"], 0.5, 0)
    assert same is not None
    assert worse is not None
    assert (same["not_worse"], worse["not_worse"]) == ("not worse", "worse")


def test_words_shown_and_later_changed() -> None:
    told = stream(
        [
            (0.5, None, False, "one"),
            (0.8, None, False, "won two"),
            (1.2, None, False, "won to"),
            (2.0, None, True, "won"),
        ]
    )
    found = upwr([told])
    assert found == {"shown": 4, "changed": 3, "upwr": pytest.approx(0.75)}


def test_a_word_is_not_changed_by_others_that_change_come_or_go_before_it() -> None:
    said = ("one two three four", "won two three four", "and won two three four", "two three four", "two three four")
    told = stream([(0.2 * number, None, number == len(said) - 1, text) for number, text in enumerate(said)])
    assert upwr([told]) == {"shown": 6, "changed": 3, "upwr": 0.5}


def test_a_new_utterance_changes_nothing_that_was_shown() -> None:
    told = stream(
        [(0.5, None, False, "one"), (1.0, None, True, "one"), (1.5, None, False, "two"), (2.0, None, True, "two")]
    )
    assert upwr([told]) == {"shown": 2, "changed": 0, "upwr": 0.0}


def test_refused_streams_are_counted_apart_and_have_no_text() -> None:
    refused = stream([], outcome="refused", ready_s=None, due_s=[], sent_s=[], error="full")
    lost = stream([], outcome="failed", ready_s=None, due_s=[], sent_s=[], error="nobody there")
    found = level(stream([(2.0, 2.0, True, "one two")]), refused, stream([], outcome="failed", error="gone"), lost)
    assert facts.outcomes(found) | {"held": 0} == {
        "tried": 4,
        "held": 0,
        "complete": 1,
        "refused": 1,
        "unconnected": 1,
        "failed": 1,
        "skipped": 0,
        "errors": ["gone", "nobody there"],
        "refusals": ["full"],
    }
    assert len(found.admitted) == 3


def test_a_stream_that_never_connected_is_counted_apart_and_is_wrong_all_the_same() -> None:
    lost = stream([], outcome="failed", ready_s=None, due_s=[], sent_s=[])
    found = facts.outcomes(level(stream([(2.0, 2.0, True, "one two")]), lost))
    assert (found["complete"], found["failed"], found["unconnected"]) == (1, 0, 1)
    (tally,) = errors.tally(scored(lost)).values()
    assert tally.words.deletions == 2


def test_coverage_is_not_called_hidden_where_nothing_was_heard() -> None:
    counts = {"refused": 0, "tried": 2}
    silent, mute = stream([]), stream([(2.2, None, True, "one two")])
    found = [judge(Slo(), scored(one, one), counts, None, 0)["criteria"]["late"] for one in (silent, mute)]
    assert found == ["undecided", None]


def test_the_audio_of_the_whole_load_counts_and_not_what_failed() -> None:
    """By hand: two seconds of the stream that counts; of one that keeps up the load what was sent until it closed."""
    counts = stream([(2.0, 2.0, True, "one two")])
    keeps = stream([], start_s=11.5, counted=False, outcome="cancelled")
    failed = stream([], outcome="failed")
    found = facts.throughput(level(counts, keeps, failed))
    wall_s = counts.event["closed_s"] - counts.event["connect_s"]
    assert counts.event["closed_s"] == 13.0
    assert (found["wall_s"], found["audio_s"]) == (wall_s, pytest.approx(2.0 + 1.4))


def probe(live: int, number: int, late: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The events of a probe whose client was late, or was not."""
    told = stream_event([(2.0, 2.0, True, "one two")], level=number)
    told["sent_s"] = [at_s + 0.05 * late for at_s in told["due_s"]]
    return told, level(phase="probe", live=live, level=number).event


def test_a_void_probe_decides_nothing_and_voids_the_run_only_where_it_was_not_repeated() -> None:
    head = [
        utterance("a", "one two"),
        {"event": "programme", "t_s": 0.0, "name": "a", "pieces": [["a", 0.0]], "audio_s": 2.0},
        {"event": "arm", "t_s": 0.0, "arm": "x", "spawned": None, "server_cpus": None, "says": None},
    ]
    bounds = Slo(None, None, 500.0, None, None, 0.0)
    settings = SETTINGS | {"capacity_from": 2, "slo": asdict(bounds)}
    again = [*head, *probe(2, 0, late=True), *probe(2, 1, late=False)]
    assert judged(again[:5], settings) == "void"
    assert judged(again, settings) == "pass"
    assert summarise(again, settings)["certificate"]["void"] == []
    twice = summarise([*head, *probe(2, 0, late=True), *probe(2, 1, late=True)], settings)
    assert len(twice["certificate"]["void"]) == 2
    assert [line for line in verdicts.verdicts(twice["levels"], settings) if "Held" in line] == []
    assert [verdicts.mark(one) for one in twice["levels"]] == ["void", "void"]


def test_how_many_were_held_is_the_median_of_those_open_at_once() -> None:
    opened = [stream([], ready_s=9.0, closed_s=13.0), stream([], ready_s=9.0, closed_s=13.0)]
    refused = stream([], outcome="refused", ready_s=9.0, closed_s=13.0)
    assert facts.held(level(*opened, refused)) == 2.0


def test_streams_that_only_kept_up_the_load_are_held_but_not_measured() -> None:
    extra = stream([], counted=False, outcome="cancelled", ready_s=9.0, closed_s=13.0)
    found = level(stream([(2.0, 2.0, True, "one two")], ready_s=9.0, closed_s=13.0), extra)
    assert facts.outcomes(found)["tried"] == 1
    assert facts.held(found) == 2.0


def test_a_level_that_did_not_end_is_left_out() -> None:
    events = [
        utterance("a", "one two"),
        {"event": "programme", "t_s": 0.0, "name": "a", "pieces": [["a", 0.0]], "audio_s": 2.0},
        {"event": "arm", "t_s": 0.0, "arm": "x", "spawned": None, "server_cpus": None, "says": None},
        stream_event([(2.0, 2.0, True, "one two")]),
    ]
    assert read(events).levels == []
    summary = summarise([*events, level().event], SETTINGS)
    (only,) = summary["levels"]
    assert only["wer"]["rate"] == 0.0
    assert summary["certificate"]["void"] == []


def test_a_late_client_voids_the_level() -> None:
    late = stream([(2.0, 2.0, True, "one two")])
    late.event["sent_s"] = [at_s + 0.05 for at_s in late.event["due_s"]]
    told = facts.client(level(late))
    assert told["void"] == ["20 of 20 packets were sent more than 20 ms late, too many for 1 %"]
    late.event["held"] = list(range(20))  # the server did not read
    assert facts.client(level(late))["void"] == []


@pytest.mark.parametrize(
    ("late", "of", "void"), [(1, 32, False), (3, 32, True), (8, 32, True), (12, 1000, False), (19, 1000, True)]
)
def test_a_client_is_late_when_one_per_cent_would_hardly_show_so_many(late: int, of: int, void: bool) -> None:
    """A client that is stopped for half the time sends most packets on time, so that no percentile of few shows it."""
    assert facts.too_many_late(late, of) == void
    assert (stats.binom.sf(late - 1, of, 0.01) <= 0.01) == void


def test_a_busy_client_or_one_beyond_its_limit_voids_the_level() -> None:
    found = level(stream([(2.0, 2.0, True, "one two")]))
    found.clients = [{"cpu_s": 9.0, "wall_s": 10.0, "most_live": 30, "loop": "uvloop", "limit": 20}]
    assert [reason.split(",")[0] for reason in facts.client(found)["void"]] == [
        "a load process played 30 streams",
        "a load process took 90 % of a core",
    ]
