"""What a planted server knows of each live metric, computed from its own log by its own clock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.planted_server import StreamLog

EPSILON_S = 1e-6


def ttft_s(log: StreamLog) -> float | None:
    """Seconds from the capture of the first spoken sample to the first message with text."""
    first = next((said.at_s for said in log.said if said.text), None)
    return None if first is None else first - log.start_s - log.words[0].start_s


def first_delay_s(log: StreamLog) -> float | None:
    """Seconds that the server took for its first message with text, from the arrival of its audio."""
    first = next((said for said in log.said if said.text), None)
    return None if first is None else first.at_s - first.received_s


def ttft_raw_s(log: StreamLog) -> float | None:
    """Seconds from the stream's first sample to the first message with text."""
    since_onset_s = ttft_s(log)
    return None if since_onset_s is None else since_onset_s + log.words[0].start_s


def chunk_latencies_s(log: StreamLog, chunk_s: float) -> list[tuple[float, float]]:
    """When each chunk was due in the stream, and how long after it the first message covered it."""
    found = []
    heard_s = log.arrived[-1][0]
    for number in range(round(heard_s / chunk_s)):
        due_s = min((number + 1) * chunk_s, heard_s)
        at_s = next((said.at_s for said in log.said if said.audio_s >= due_s - EPSILON_S), None)
        if at_s is not None:
            found.append((due_s, at_s - log.start_s - due_s))
    return found


def final_s(log: StreamLog) -> float | None:
    """Seconds from the end of the last word to the last final with words, None without one."""
    finals = [said.at_s for said in log.said if said.is_final and said.text]
    return None if log.dropped or not finals else finals[-1] - log.start_s - log.words[-1].end_s


def finalize_s(log: StreamLog) -> float:
    """Seconds from the message that ended the audio to the last final."""
    assert log.ended_s is not None
    return max(said.at_s for said in log.said if said.is_final) - log.ended_s


def word_emissions_s(log: StreamLog) -> list[float | None]:
    """Seconds from the end of each word to the first message that holds it rightly, None when none does."""
    found: list[float | None] = []
    for number, word in enumerate(log.words):
        at_s = next((said.at_s for said in log.said if number in said.words and word.text in said.text.split()), None)
        found.append(None if at_s is None else at_s - log.start_s - word.end_s)
    return found


def errors(logs: Iterable[StreamLog]) -> dict[str, int]:
    """Words that were substituted, deleted or added to, and words heard."""
    marks = [word.mark for log in logs for word in log.words]
    return {**{mark: marks.count(mark) for mark in "SDI"}, "N": len(marks)}


def character_errors(logs: Iterable[StreamLog]) -> int:
    """Characters that were substituted, deleted or added, the spaces between words included."""
    cost = 0
    for log in logs:
        for word in log.words:
            cost += {"": 0, "S": len(word.text), "D": len(word.text) + 1, "I": len(" zxq")}[word.mark]
        cost -= all(word.mark == "D" for word in log.words)
    return cost


def shown(log: StreamLog) -> tuple[int, int]:
    """Words shown, a corrected one counting twice, and those of them that were corrected."""
    sent = {number for said in log.said for number in said.words}
    ended = {number for said in log.said if said.is_final for number in said.words}
    changed = sum(
        log.words[n].unstable and log.words[n].shown + (n in ended) > 1 and log.words[n].shown > 0 for n in sent
    )
    return sum(len(log.words[number].said) for number in sent) + changed, changed


def median_ms(values: Iterable[float | None]) -> float | None:
    """The middle value in ms, the lower of two; None, which never came, is longer than any; None when it is that."""
    ordered = sorted(math.inf if value is None else value for value in values)
    middle = ordered[(len(ordered) + 1) // 2 - 1]
    return None if middle == math.inf else 1000 * middle


def slope(*lines: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope within lines, pooled."""
    covariance = variance = 0.0
    for points in lines:
        mean_x, mean_y = (math.fsum(point[axis] for point in points) / len(points) for axis in (0, 1))
        covariance += math.fsum((x - mean_x) * (y - mean_y) for x, y in points)
        variance += math.fsum((x - mean_x) ** 2 for x, _ in points)
    return covariance / variance
