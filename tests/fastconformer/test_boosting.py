"""Key phrases in greedy decoding: a planted word is heard right where it was asked for, and nowhere else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.errors import UnsupportedError
from auricle.fastconformer.config import AttentionContext
from auricle.fastconformer.streaming.streams import LiveStreams
from tests.fastconformer.homophones import (
    BEHIND,
    COMMON,
    RARE,
    digits,
    homophone,
    phrase,
    spoken,
    strings,
    texts,
    turned,
)
from tests.fastconformer.live import Play, at_random, play

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.model import FastConformer
    from auricle.fastconformer.streaming.latency import LatencyClass
    from auricle.fastconformer.tokens import Token

CHUNKS_MS = (80, 160, 560, 1120)
TEXTS = texts()


def recordings() -> list[NDArray[np.float32]]:
    return [spoken(one) for one in TEXTS]


def offline(model: FastConformer, latency: LatencyClass, phrases: Sequence[str] = ()) -> list[list[Token]]:
    context = AttentionContext(latency.left, latency.frames - 1, chunked=True)
    found = []
    for audio in recordings():
        found += model.decode(*model.encode([audio], context), phrases=model.spell(phrases))
    return found


def text(tokens: Sequence[Token]) -> str:
    return homophone().tokenizer.text(tokens)


def opened(sizes: tuple[int, ...] = (16,), chunk_ms: int = 160) -> tuple[LiveStreams, LatencyClass]:
    streams = LiveStreams(homophone(), 16, sizes=sizes)
    return streams, next(one for one in streams.classes if one.chunk_ms == chunk_ms)


def test_the_planted_word_is_never_heard_without_a_phrase() -> None:
    assert all(COMMON in one.split() for one in TEXTS)
    assert [text(one) for one in offline(homophone(), opened()[1])] == TEXTS


def test_a_file_with_the_phrase_has_the_planted_word_where_it_fits_and_nowhere_else() -> None:
    for wanted in TEXTS:
        rare = phrase(wanted)
        fits = [one.replace(rare.replace(RARE, COMMON), rare) for one in TEXTS]
        assert [text(one) for one in offline(homophone(), opened()[1], [rare])] == fits


@pytest.mark.parametrize(("chunk_ms", "sizes"), [(80, (16,)), (160, (1,)), (160, (16,)), (560, (16,)), (1120, (16,))])
def test_live_only_the_stream_that_asked_hears_it_and_the_others_hear_the_same_bit_for_bit(
    chunk_ms: int, sizes: tuple[int, ...]
) -> None:
    streams, latency = opened(sizes, chunk_ms)
    plain = [one.tokens for one in play(streams, latency, recordings())]
    assert [text(one) for one in plain] == TEXTS
    for asking, wanted in list(enumerate(TEXTS))[::4]:
        streams, latency = opened(sizes, chunk_ms)
        phrases = [[phrase(wanted)] if place == asking else [] for place in range(len(TEXTS))]
        heard = [one.tokens for one in play(streams, latency, recordings(), at_random(random.Random(asking)), phrases)]
        assert text(heard[asking]) == turned(wanted)
        assert heard[:asking] + heard[asking + 1 :] == plain[:asking] + plain[asking + 1 :]


@pytest.mark.parametrize("chunk_ms", CHUNKS_MS)
def test_live_is_as_offline_with_phrases_of_ones_own_in_one_block(chunk_ms: int) -> None:
    streams, latency = opened((16,), chunk_ms)
    phrases = [[phrase(wanted)] for wanted in TEXTS]
    heard = [text(one.tokens) for one in play(streams, latency, recordings(), phrases=phrases)]
    assert heard == [turned(wanted) for wanted in TEXTS]
    assert heard == [text(offline(homophone(), latency, each)[place]) for place, each in enumerate(phrases)]


def test_a_token_is_as_probable_as_the_model_finds_it() -> None:
    (wanted, latency) = (TEXTS[0], opened()[1])
    (plain, boosted) = (offline(homophone(), latency, each)[0] for each in ((), [phrase(wanted)]))
    place = wanted.split().index(COMMON)
    assert [one.probability for one in boosted[:place]] == [one.probability for one in plain[:place]]
    ratio = boosted[place].probability / plain[place].probability
    assert ratio == pytest.approx(np.exp(-BEHIND), rel=1e-3)


def test_an_utterance_begins_at_the_root_and_the_phrase_stays_with_the_stream() -> None:
    after = next(words for words in strings() if words.startswith(COMMON))
    streams, latency = opened()
    # The last word of the first utterance and the first of the second would make the phrase.
    phrases = [f"{TEXTS[0].split()[-1]} {RARE}", phrase(TEXTS[1])]
    one = Play(streams, latency, spoken(TEXTS[0]), phrases)
    heard = []
    for wanted in (TEXTS[0], after, TEXTS[1]):
        one.audio, one.place = spoken(wanted), 0
        while not one.over:
            one.tokens = streams.step([one.next()])[0]
        heard.append(text(one.tokens))
    assert heard == [TEXTS[0], after, turned(TEXTS[1])]


def test_a_slot_that_had_phrases_has_none_for_the_next_stream() -> None:
    streams, latency = opened()
    first = Play(streams, latency, spoken(TEXTS[0]), [phrase(TEXTS[0])])
    streams.step([first.next()])
    streams.close(first.stream)
    (after,) = play(streams, latency, [spoken(TEXTS[0])])
    assert after.stream.slot == first.stream.slot
    assert text(after.tokens) == TEXTS[0]


def test_phrases_that_cannot_be_used_take_no_place() -> None:
    streams = LiveStreams(homophone(), 1)
    with pytest.raises(UnsupportedError, match="Zürich"):
        streams.open(streams.classes[0], ["Zürich"])
    streams.close(streams.open(streams.classes[0], ["one two"]))
    streams.open(streams.classes[0])


def test_phrases_that_were_never_said_change_no_text_of_the_checkpoint_as_it_is() -> None:
    streams = LiveStreams(digits(), 16)
    boosted = play(streams, streams.classes[0], recordings(), phrases=[["zero zero zero"]] * len(TEXTS))
    assert [text(one.tokens) for one in boosted] == TEXTS


def test_a_ctc_decoder_refuses_phrases_by_name(built: Callable[[str], FastConformer]) -> None:
    model = built("live_hybrid")
    assert model.spell(["da"])
    with pytest.raises(UnsupportedError, match="CTC"):
        model.spell(["da"], "ctc")
    streams = LiveStreams(model, 1, "ctc")
    with pytest.raises(UnsupportedError, match="CTC"):
        streams.open(streams.classes[0], ["da"])
