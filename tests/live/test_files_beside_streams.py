"""A long file and live streams of one recogniser: streams go first, and the text of neither changes."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import load
from auricle.corpus import open_corpus
from auricle.engines import fastconformer
from auricle.engines.contract import LoadOptions, StreamingRecognizer, StreamOptions, TakesTurns, TranscribeOptions
from auricle.engines.longform import Longform, Source
from auricle.engines.pool import usable_cpus
from auricle.live.admission import AdmissionRules
from auricle.live.engine import LocalEngine
from auricle.live.hub import HubRules, LiveHub
from auricle.trace import Tracer
from auricle.transcript import Transcript
from tests.live.sessions import NEVER, finals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from auricle.live.scheduler import StepReport

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
RATE = 16_000
STREAMS, PACKET = 2, 1600
RULES = HubRules(AdmissionRules(max_duty=None))


@pytest.fixture
def recognizer() -> Iterator[StreamingRecognizer]:
    """The shipped model with all cores, so that files and streams want the same."""
    loaded = fastconformer.ENGINE.load(LoadOptions(threads=usable_cpus()), Tracer())
    assert isinstance(loaded, StreamingRecognizer)
    yield loaded
    loaded.unload()


def spoken(minutes: float) -> NDArray[np.float32]:
    """Recordings of digits, over and over."""
    clips = [load(one.audio, RATE).samples for one in open_corpus("demo-digits").utterances]
    once = np.concatenate(clips)
    return np.resize(once, round(minutes * 60 * RATE))


def transcribed(recognizer: StreamingRecognizer, samples: NDArray[np.float32]) -> str:
    work = Longform(recognizer, TranscribeOptions(), batch_size=8)
    (outcome,) = work.run([Source("long", lambda: iter([samples]))])
    assert isinstance(outcome.result, Transcript)
    return outcome.result.text


async def stream(hub: LiveHub, samples: NDArray[np.float32], enough: asyncio.Event) -> tuple[int, list[str]]:
    """Say `samples` again and again, each time as an utterance, until it is enough."""
    session = await hub.open(StreamOptions(), NEVER)
    heard = asyncio.create_task(finals(session))
    times = 0
    while not times or not enough.is_set():
        for start in range(0, len(samples), PACKET):
            await session.feed(samples[start : start + PACKET])
        session.finalize()
        times += 1
    session.end()
    return times, [final.text for final in await heard if final.text]


def serve(
    recognizer: StreamingRecognizer, long: NDArray[np.float32], short: NDArray[np.float32]
) -> tuple[str, list[tuple[int, list[str]]], list[StepReport]]:
    """Transcribe `long` while streams say `short`."""
    reports: list[StepReport] = []

    async def scenario() -> tuple[str, list[tuple[int, list[str]]]]:
        hub = LiveHub(recognizer, RULES, LocalEngine(recognizer, RULES.admission, reports.append))
        enough = asyncio.Event()
        streams = [asyncio.create_task(stream(hub, short, enough)) for _ in range(STREAMS)]
        text = await asyncio.to_thread(transcribed, recognizer, long)
        enough.set()
        told = await asyncio.gather(*streams)
        await hub.stop()
        return text, told

    text, told = asyncio.run(scenario())
    return text, told, reports


def test_a_file_is_cut_into_pieces_that_steps_go_before_and_all_texts_are_as_alone(
    recognizer: StreamingRecognizer,
) -> None:
    assert isinstance(recognizer, TakesTurns)
    turns = recognizer.turns
    assert turns is not None
    long, short = spoken(0.25), spoken(0.05)
    alone, before = transcribed(recognizer, long), turns.pieces
    text, told, reports = serve(recognizer, long, short)
    pieces = turns.pieces - before
    assert text == alone
    assert len(alone.split()) > 10
    for times, texts in told:
        assert texts == [texts[0]] * times
    assert sum(report.file_pieces > 0 for report in reports) >= 3
    assert max(report.file_pieces for report in reports) < pieces / 2
    assert turns.live == 0


def test_a_model_that_leaves_cores_to_others_needs_no_turns() -> None:
    if usable_cpus() < 2:
        pytest.skip("there is one core")
    loaded = fastconformer.ENGINE.load(LoadOptions(threads=usable_cpus() // 2), Tracer())
    try:
        assert isinstance(loaded, TakesTurns)
        assert loaded.turns is None
    finally:
        loaded.unload()
