"""How long live steps take to come while a long file is transcribed by the same recogniser, with turns and without.

    python tools/files_beside_streams.py --streams 16 --minutes 10 --threads 2

Streams of digits are paced as spoken. Each row is one run: nothing else, the file with turns, the file without. `delay`
is from when a chunk is there to when its step has ended, `wait` what of it steps waited for pieces of the file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import TYPE_CHECKING, cast

import numpy as np

from auricle.audio import load
from auricle.corpus import open_corpus
from auricle.engines import fastconformer
from auricle.engines.contract import LoadOptions, StreamOptions, TranscribeOptions
from auricle.engines.fastconformer_live import FastConformerStreamingRecognizer
from auricle.engines.longform import Longform, Source
from auricle.live.admission import AdmissionRules
from auricle.live.endpoint import EndpointRules
from auricle.live.engine import LocalEngine
from auricle.live.hub import HubRules, LiveHub
from auricle.trace import Tracer
from auricle.transcript import Transcript
from auricle.turns import Turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from auricle.engines.contract import StreamingRecognizer
    from auricle.live.scheduler import StepReport
    from auricle.live.session import Session

RATE = 16_000
PACKET_S = 0.05
RULES = HubRules(AdmissionRules(max_duty=None))
NEVER = EndpointRules(None, None, None)


def transcribed(recognizer: FastConformerStreamingRecognizer, samples: NDArray[np.float32]) -> str:
    """Return the text of a long recording, pieces of it in batches as a server makes them."""
    work = Longform(recognizer, TranscribeOptions(), batch_size=8)
    (outcome,) = work.run([Source("long", lambda: iter([samples]))])
    if not isinstance(outcome.result, Transcript):
        raise outcome.result
    return outcome.result.text


async def speak(session: Session, samples: NDArray[np.float32], over: asyncio.Event, offset_s: float) -> None:
    """Feed a stream as fast as it is spoken until it is over."""
    await asyncio.sleep(offset_s)
    begun_s, packet = time.perf_counter(), round(PACKET_S * RATE)
    number = 0
    while not over.is_set():
        start = number * packet % (len(samples) - packet)
        await session.feed(samples[start : start + packet])
        number += 1
        await asyncio.sleep(begun_s + number * PACKET_S - time.perf_counter())
    session.end()


async def drain(session: Session) -> None:
    """Read what a stream is told."""
    async for _ in session.events():
        pass


def run(
    recognizer: FastConformerStreamingRecognizer, streams: int, long: NDArray[np.float32] | None, least_s: float
) -> dict[str, object]:
    """Serve `streams` for the time of a file, or for `least_s`, and tell what came of it."""
    reports: list[StepReport] = []
    pieces_s: list[float] = []
    if recognizer.turns is not None:
        recognizer.turns.observe = pieces_s.append
    said = np.concatenate([load(one.audio, RATE).samples for one in open_corpus("demo-digits").utterances])

    async def scenario() -> float | None:
        engine = LocalEngine(cast("StreamingRecognizer", recognizer), RULES.admission, reports.append)
        hub, over = LiveHub(recognizer, RULES, engine), asyncio.Event()
        await engine.calibrate(said)
        sessions = [await hub.open(StreamOptions(), NEVER) for _ in range(streams)]
        readers = [asyncio.create_task(drain(session)) for session in sessions]
        speakers = [
            asyncio.create_task(speak(session, np.roll(said, 4000 * number), over, 0.16 * number / streams))
            for number, session in enumerate(sessions)
        ]
        await asyncio.sleep(1.0)
        reports.clear()
        begun_s, took_s = time.perf_counter(), None
        if long is not None:
            await asyncio.to_thread(transcribed, recognizer, long)
            took_s = time.perf_counter() - begun_s
        await asyncio.sleep(max(0.0, least_s - (time.perf_counter() - begun_s)) if long is None else 0)
        kept = list(reports)
        over.set()
        await asyncio.gather(*speakers, *readers)
        await hub.stop()
        reports[:] = kept
        return took_s

    took_s = asyncio.run(scenario())
    delays = [1000 * (wait_s + report.duration_s) for report in reports for wait_s in report.waits_s]
    waits = [1000 * report.files_s for report in reports]
    steps = [1000 * report.duration_s for report in reports]
    return {
        "file_s": None if took_s is None else round(took_s, 1),
        "steps": len(steps),
        "step_ms": _quantiles(steps),
        "delay_ms": _quantiles(delays),
        "wait_ms": _quantiles(waits),
        "pieces": len(pieces_s),
        "piece_ms": _quantiles([1000 * piece_s for piece_s in pieces_s]),
    }


def _quantiles(values: list[float]) -> list[float]:
    """Return the 50th, 95th and 99th percentile and the longest."""
    return [round(float(one), 2) for one in np.quantile(values, [0.5, 0.95, 0.99, 1.0])] if values else []


def main() -> None:
    """Print a row for each run."""
    parser = argparse.ArgumentParser(description="Measure live streams beside a long file.")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10, help="of the run without a file")
    options = parser.parse_args()
    recognizer = fastconformer.ENGINE.load(LoadOptions(threads=options.threads), Tracer())
    if not isinstance(recognizer, FastConformerStreamingRecognizer):
        parser.error("the shipped model serves no live streams")
    clips = [load(one.audio, RATE).samples for one in open_corpus("demo-digits").utterances]
    long = np.resize(np.concatenate(clips), round(options.minutes * 60 * RATE))
    for name, turns, file in (("no file", None, None), ("turns", Turns(), long), ("no turns", None, long)):
        recognizer.turns = turns
        print(json.dumps({"run": name, **run(recognizer, options.streams, file, options.seconds)}), flush=True)


if __name__ == "__main__":
    main()
