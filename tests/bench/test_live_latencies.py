"""Latencies begin at what the schedule sets, and what never came is not left out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auricle.bench.live import latencies
from tests.bench.live_events import CHUNK_S, RATE, scored, stream, utterance

DELAY_S = 0.3


def on_time(delay_s: float = DELAY_S) -> list[tuple[float, float, bool, str]]:
    """Each chunk is covered so late after it is due."""
    ends = [CHUNK_S * (number + 1) for number in range(20)]
    return [(end_s + delay_s, end_s, end_s == ends[-1], "one two") for end_s in ends]


def test_a_chunk_counts_from_when_it_was_due_not_from_when_it_was_sent() -> None:
    late = stream(on_time())
    late.event["sent_s"] = [at_s + 0.25 for at_s in late.event["due_s"]]
    found = latencies.chunks_of(late)
    assert found is not None
    assert found == pytest.approx([DELAY_S] * 20)


def test_a_message_answers_all_chunks_that_it_covers() -> None:
    found = latencies.chunks_of(stream([(1.5, 1.0, False, "one"), (2.4, 2.0, True, "one two")]))
    assert found is not None
    assert found[:10] == pytest.approx([1.5 - 0.1 * (number + 1) for number in range(10)])
    assert found[-1] == pytest.approx(0.4)


def test_chunks_that_were_never_answered_or_never_sent_are_late_for_ever() -> None:
    failed = stream([(1.2, 1.0, False, "one")], outcome="failed")
    failed.event["due_s"] = failed.event["due_s"][:15]
    found = latencies.chunks_of(failed)
    assert found is not None
    assert len(found) == 20
    assert np.isinf(found[10:]).all()
    figures = latencies.chunk_figures([failed, stream(on_time())], 0.5, 0)
    assert (figures["late"]["late"], figures["late"]["chunks"]) == (10 + 6, 40)


def test_chunk_latency_is_not_made_up_where_messages_tell_no_coverage() -> None:
    silent = [(0.9, None, False, "one"), (2.2, None, True, "one two")]
    assert latencies.chunk_figures([stream(silent)] * 3, 0.5, 0) == {"chunk": None, "late": None, "drift": None}


def test_drift_is_the_slope_within_streams() -> None:
    streams = []
    for offset_s in (0.1, 0.2, 0.4, 0.7, 1.2, 1.9, 0.1, 0.2, 0.4, 0.7):  # differing in level must not look like drift
        ends = [CHUNK_S * (number + 1) for number in range(20)]
        said = [(end_s + offset_s + 0.05 * end_s, end_s, False, "x") for end_s in ends]
        streams.append(stream(said, start_s=10 + 3 * offset_s))
    told = [(one, answers) for one in streams if (answers := latencies.chunks_of(one)) is not None]
    found, few = latencies.drift(told, 0), latencies.drift(told[1:], 0)
    assert found is not None
    assert few is not None
    assert (found["ms_per_s"], few["ms_per_s"]) == pytest.approx((50.0, 50.0))
    assert found["low"] == pytest.approx(50.0)
    assert (found["streams"], few["streams"], few["low"]) == (10, 9, None)


def test_the_first_token_counts_from_the_speech_and_raw_from_the_start() -> None:
    told = stream([(0.4, 0.3, False, " "), (0.8, 0.7, False, "one"), (2.3, 2.0, True, "one two")])
    assert latencies.first_tokens([told], from_onset=True) == pytest.approx([0.3])
    assert latencies.first_tokens([told], from_onset=False) == pytest.approx([0.8])


def test_a_stream_that_says_nothing_has_no_first_token_for_ever() -> None:
    assert latencies.first_tokens([stream([]), stream([], outcome="failed")], from_onset=True) == [math.inf] * 2


def test_an_utterance_whose_speech_is_not_located_has_no_first_token() -> None:
    unknown = utterance("a", "one two", onset_s=None, end_s=None)
    assert latencies.first_tokens([stream([(1.0, 1.0, True, "one")], (unknown, 0.0))], from_onset=True) == []


def test_final_latency_is_to_the_final_that_holds_the_last_word() -> None:
    two = stream([(0.9, 0.8, True, "one"), (1.9, 1.8, True, "two"), (2.4, 2.0, True, "")])
    assert list(latencies.finals_of(scored(two)[0])) == pytest.approx([1.9 - 1.5])


def test_in_a_long_stream_each_utterance_has_its_own_final() -> None:
    first, second = utterance("a", "one two"), utterance("b", "three four")
    told = stream(
        [(2.0, 2.0, True, "one two"), (4.6, 4.5, True, "three four")], (first, 0.0), (second, 2.5), samples=5 * RATE
    )
    assert list(latencies.finals_of(scored(told)[0])) == pytest.approx([0.5, 4.6 - 4.0])


def test_a_speed_factor_shortens_the_schedule_not_the_latency() -> None:
    fast = stream([(0.4, 1.0, False, "one"), (1.1, 2.0, True, "one two")], speed=2.0)
    assert latencies.first_tokens([fast], from_onset=True) == pytest.approx([0.4 - 0.25])
    assert list(latencies.finals_of(scored(fast)[0])) == pytest.approx([1.1 - 0.75])


def test_words_never_emitted_are_censored_not_dropped() -> None:
    told = stream([(1.1, 1.0, False, "one"), (1.3, 1.2, False, "three"), (2.3, 2.0, True, "one too")])
    found = latencies.emission(scored(told))
    assert found is not None
    assert (found["n"], found["never"], found["coverage"]) == (2, 1, 0.5)
    assert found["max_ms"] == pytest.approx(100.0)


def test_words_without_times_are_counted_apart() -> None:
    told = stream([(2.3, 2.0, True, "one two")], (utterance("a", "one two", words_s=None), 0.0))
    assert latencies.emission(scored(told)) is None
    mixed = latencies.emission(scored(told, stream([(2.3, 2.0, True, "one two")])))
    assert mixed is not None
    assert (mixed["n"], mixed["untimed"]) == (2, 2)


def test_finalize_is_from_the_end_of_the_audio_to_the_last_final_after_it() -> None:
    told = stream([(1.0, 1.0, True, "one"), (2.25, 2.0, True, "two")])
    before = stream([(1.0, 1.0, True, "one two")])
    found = latencies.finalize([told, before])
    assert (found["n"], found["max_ms"]) == (1, pytest.approx(250.0))


@pytest.mark.parametrize(("blocks", "p50", "p95", "p99"), [(6, None, None, None), (7, 1, None, None), (90, 1, 1, None)])
def test_percentiles_need_enough_independent_blocks(
    blocks: int, p50: float | None, p95: float | None, p99: float | None
) -> None:
    found = latencies.distribution([1.0] * 5000, blocks)
    assert [found[name] is not None for name in ("p50_ms", "p95_ms", "p99_ms")] == [
        value is not None for value in (p50, p95, p99)
    ]


def test_a_percentile_among_those_that_never_came_is_not_told() -> None:
    found = latencies.distribution([0.1] * 90 + [math.inf] * 10, 100)
    assert (found["p90_ms"], found["p95_ms"], found["never"]) == (pytest.approx(100.0), None, 10)
