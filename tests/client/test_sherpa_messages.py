"""What is heard of the segments that servers of sherpa-onnx's protocol tell, the vendor's races included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from auricle.client.dialects.base import Target
from auricle.client.dialects.sherpa import DONE, Sherpa
from auricle.client.events import Heard

if TYPE_CHECKING:
    from collections.abc import Sequence

Told = tuple[int, str, bool]
END: Told = (-1, DONE, True)


def finals(told: Sequence[Told]) -> list[str]:
    """Return the texts of the finals that a stream hears, the end included."""
    dialect = Sherpa(Target(url="ws://h/", dialect="sherpa"), 16_000)
    messages = [
        DONE if one == END else json.dumps({"segment": one[0], "text": one[1], "is_final": one[2]}) for one in told
    ]
    signals = [signal for message in messages for signal in dialect.read(message)]
    return [signal.text for signal in signals if isinstance(signal, Heard) and signal.is_final]


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ([(0, "one", False), (0, "one two", True), (1, "one", False), (1, "one", True), END], ["one two", "one"]),
        ([(0, "one", False), (1, "two", False), END], ["one", "two"]),
        ([(0, "one", True), (0, "one", False), (0, "one", True), END], ["one", ""]),
        ([(0, "one", True), (0, "one two", False), (0, "one two three", True), END], ["one", "two three"]),
        ([(0, "one", True), (0, "one two", False), (1, "three", False), END], ["one", "two", "three"]),
        ([(0, "one two", False), END, (0, "one two", False), (0, "one two", True)], ["one two", ""]),
        ([(0, "one", False), END, (0, "one two", True)], ["one", "two"]),
    ],
    ids=["marked", "not marked", "told twice", "goes on", "goes on, not marked", "end too early", "end before a word"],
)
def test_every_word_of_a_segment_is_final_once(told: Sequence[Told], heard: list[str]) -> None:
    assert finals(told) == heard
