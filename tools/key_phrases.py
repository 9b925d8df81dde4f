"""What key phrases and a beam change: word errors of the demo's digit strings in noise, with phrases right and wrong.

`python -m tools.key_phrases [--seeds N]` prints a table in Markdown. A string's right phrase is its own first four
words. Every list also holds 20 strings of four digits drawn at random: with a vocabulary of ten words these are the
hardest phrases there are, since each is nearly said all the time. `beam, summed` adds the gains to the labels' scores
and leaves the blank's as it is, as NeMo does with `blank_lm_score_mode: no_score`; Auricle's beam lets the labels keep
their sum.
"""

from __future__ import annotations

import argparse
import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from auricle.corpus.sources import open_corpus
from auricle.fastconformer.archive import read_archive
from auricle.fastconformer.beam import BeamDecoder
from auricle.fastconformer.boosting import Boost
from auricle.fastconformer.model import FastConformer
from auricle.fastconformer.transducer import GreedyDecoder, Predictor
from auricle.models.store import shipped_path
from auricle.score.normalise import get
from auricle.score.wer import Scored, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from auricle.corpus.types import Utterance

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SNRS_DB = (None, 5, 0)
BEAM = 4
WORDS = 4
WRONG = 20


class Summed(BeamDecoder):
    """The beam in which what labels gain comes from the blank too."""

    def _preferred(self, logs: Tensor, gained: Tensor) -> Tensor:
        return torch.cat((logs[..., :-1] + gained, logs[..., -1:]), dim=2)


def decoders(model: FastConformer) -> dict[str, GreedyDecoder | BeamDecoder]:
    """Return the decoders that are compared."""
    config, network = model.config, model.network
    if config.transducer is None or network.joint is None or not isinstance(network.decoder, Predictor):
        raise TypeError(config.family)
    parts = (config.transducer, network.decoder, network.joint, config.vocabulary)
    beams = {"beam": BeamDecoder(*parts, BEAM), "beam, summed": Summed(*parts, BEAM)}
    return {"greedy": GreedyDecoder(*parts), **beams}


def noisy(samples: NDArray[np.float32], snr_db: int | None, seed: int) -> NDArray[np.float32]:
    """Return speech with white noise."""
    if snr_db is None:
        return samples
    level = np.sqrt(np.mean(samples**2)) / 10 ** (snr_db / 20)
    noise: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(len(samples), np.float32)
    return samples + np.float32(level) * noise


def phrases(text: str, rng: random.Random) -> dict[str, list[str]]:
    """Return the lists of key phrases of one string."""
    wrong = [" ".join(rng.choices(DIGITS, k=WORDS)) for _ in range(WRONG)]
    right = " ".join(text.split()[:WORDS])
    return {"none": [], "the right one": [right], f"it and {WRONG} wrong": [right, *wrong], f"{WRONG} wrong": wrong}


def measure(
    model: FastConformer, utterances: Sequence[Utterance], snr_db: int | None, seeds: int
) -> dict[tuple[str, str], list[Scored]]:
    """Return what every decoder heard with every list of phrases."""
    heard: dict[tuple[str, str], list[Scored]] = {}
    for seed in range(1 if snr_db is None else seeds):
        rng = random.Random(seed)  # noqa: S311  phrases, not secrets
        for utterance in utterances:
            encoded = model.encode([noisy(utterance.load().samples, snr_db, seed)])
            for asked, texts in phrases(utterance.text, rng).items():
                spelt = model.spell(texts)
                for name, decoder in decoders(model).items():
                    (tokens,) = decoder.decode(*encoded, Boost.alike(spelt, 1) if spelt else None)
                    one = Scored(f"{utterance.id}-{seed}", utterance.text, model.tokenizer.text(tokens), utterance.id)
                    heard.setdefault((asked, name), []).append(one)
    return heard


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how often every string is said in other noise")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    model = FastConformer(read_archive(shipped_path("auricle-digits-en.nemo")))
    utterances = open_corpus("demo-digits").utterances
    names = list(decoders(model))
    print("| noise | phrases |", " | ".join(names), "|")
    print("| --- | --- |", " | ".join("---:" for _ in names), "|")
    for snr_db in SNRS_DB:
        heard = measure(model, utterances, snr_db, seeds)
        for asked in dict.fromkeys(asked for asked, _ in heard):
            rates = (score(heard[asked, name], get("none")) for name in names)
            level = "none" if snr_db is None else f"{snr_db} dB"
            print(f"| {level} | {asked} |", " | ".join(f"{rate.rate:.1%}" for rate in rates), "|", flush=True)


if __name__ == "__main__":
    main()
