"""Models that are told the language, on a device: every recording and every stream of a block is told its own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from auricle.errors import UnsupportedError
from auricle.fastconformer.device.streams import DeviceStreams
from auricle.fastconformer.streaming.streams import LiveStreams
from tests.fastconformer.checkpoints import recording
from tests.fastconformer.device.devices import on_device, same_class, told, whole
from tests.fastconformer.live import at_random, play

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.fastconformer.model import FastConformer

LANGUAGES = ("en-US", "de", "auto", None)
LENGTHS = (30_123, 160, 1481)


@pytest.mark.parametrize(
    ("name", "languages"), [("multilingual", LANGUAGES), ("prompted_hybrid", ("de", "no", "auto"))]
)
def test_every_stream_of_a_block_is_told_its_language_in_every_class(
    name: str, languages: tuple[str | None, ...], tmp_path: Path, built: Callable[[str], FastConformer]
) -> None:
    audio = [recording(40_001, seed=3)] * len(languages) + [recording(samples, seed=samples) for samples in LENGTHS]
    asked = [*languages, *(random.Random(0).choice(languages) for _ in LENGTHS)]
    model, there = on_device(name, tmp_path), LiveStreams(built(name), 64)
    for latency in model.classes:
        streams = DeviceStreams(model, len(audio), (4,))
        here = play(streams, latency, audio, at_random(random.Random(1)), languages=asked)
        wanted = play(there, same_class(latency, there.classes), audio, at_random(random.Random(2)), languages=asked)
        assert [told(one.tokens) for one in here] == [told(one.tokens) for one in wanted]
        assert told(here[0].tokens) != told(here[1].tokens)
        assert streams.runs.graphed == 0
        for one in wanted:
            there.close(one.stream)


@pytest.mark.parametrize("language", LANGUAGES)
def test_recordings_are_told_their_language(
    language: str | None, tmp_path: Path, built: Callable[[str], FastConformer]
) -> None:
    here, there = whole("multilingual", tmp_path), built("multilingual")
    batch = [recording(samples, seed=samples) for samples in LENGTHS]
    found, wanted = (one.decode(*one.encode(batch, language=language)) for one in (here, there))
    assert [told(one) for one in found] == [told(one) for one in wanted]


def test_an_unknown_language_is_refused_and_takes_no_place(tmp_path: Path) -> None:
    streams = DeviceStreams(on_device("multilingual", tmp_path), 1, (1,))
    with pytest.raises(UnsupportedError, match="it knows auto, de, en, en-US"):
        streams.open(streams.classes[0], language="fr")
    streams.open(streams.classes[0], language="de")
