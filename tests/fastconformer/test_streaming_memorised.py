"""What was memorised is heard live word for word, so that a mistake of chunks or padding shows as a wrong word."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from auricle.corpus.manifest import read_manifest
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.loading import load
from auricle.fastconformer.streaming.streams import LiveStreams
from auricle.score.normalise import get
from auricle.score.wer import Scored, score
from tests.fastconformer.live import at_random, play

if TYPE_CHECKING:
    from auricle.fastconformer.model import FastConformer

MOST_WRONG = 0.02
FOLDER = Path(__file__).parents[1] / "data" / "memorised"


@cache
def memorised() -> FastConformer:
    return load(FOLDER / "auricle-memorised.nemo")


@pytest.mark.parametrize("chunk_ms", [80, 160, 560, 1120])
@pytest.mark.parametrize("sizes", [(1,), (16,), (64,)], ids=str)
def test_every_text_is_the_same_live_in_any_company(chunk_ms: int, sizes: tuple[int, ...]) -> None:
    model, rng = memorised(), random.Random(chunk_ms)
    known = read_manifest(FOLDER / "manifest.jsonl").corpus.utterances
    known = known if sizes != (1,) else known[::6]
    streams = LiveStreams(model, len(known), sizes=sizes)
    latency = next(one for one in streams.classes if one.chunk_ms == chunk_ms)
    plays = play(streams, latency, [one.load().samples for one in known], at_random(rng))
    heard = [model.tokenizer.text(one.tokens) for one in plays]
    context = AttentionContext(latency.left, latency.frames - 1, chunked=True)
    assert heard == [model.transcribe([one.load().samples], context)[0].text for one in known]
    results = [Scored(one.id, one.text, text, one.id) for one, text in zip(known, heard, strict=True)]
    assert score(results, get("none")).rate < MOST_WRONG
