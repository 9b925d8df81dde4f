"""Measure an archive of digits at every lookahead: people whose takes were held out, and the shipped demo strings.

python -m tools.training.evaluation --digits FOLDER --archive FILE

Every held-out take is in just one string, with pauses, level and noise of a fixed seed, and as fast and high as it was
recorded. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from auricle.audio import SAMPLE_RATE
from auricle.corpus.manifest import read_manifest
from auricle.corpus.noise import NoiseColour, make_noise, mix
from auricle.corpus.types import MANIFEST_NAME
from auricle.fastconformer.loading import load
from auricle.score.normalise import get
from auricle.score.wer import Scored, score
from tools.training.archive import CONTEXTS
from tools.training.sentences import DEMO
from tools.training.speech import TEST_TAKES, WORK_TAKES, human, recordings, unheard
from tools.training.strings import HARD, WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from auricle.fastconformer.model import FastConformer
    from auricle.score.wer import ErrorRate
    from tools.training.speech import Recording

_LONGEST_STRING = 8
_LEVELS_DB, _SNR_DB = (-20.0, 6.0), (15.0, 40.0)
_NOISES: tuple[NoiseColour, ...] = ("white", "pink")
_SEED = 4
_BATCH = 32


class Test(NamedTuple):
    """One string: samples `(samples,)` at 16 kHz, what is said, and by whom."""

    samples: NDArray[np.float32]
    text: str
    speaker: str


def held_out_strings(chosen: Sequence[Recording]) -> list[Test]:
    """Put each recording into one string of one to eight by its speaker, in pauses and faint noise."""
    rng = np.random.default_rng(_SEED)
    tests = []
    for speaker in sorted({one.speaker for one in chosen}):
        own = [one for one in chosen if one.speaker == speaker]
        left = [own[index] for index in rng.permutation(len(own))]
        while left:
            count = int(rng.integers(1, _LONGEST_STRING + 1))
            taken, left = left[:count], left[count:]
            parts = [_pause(rng)]
            for piece in human(taken):
                parts += [piece.samples, _pause(rng)]
            string = np.concatenate(parts)
            noise = make_noise(_NOISES[rng.integers(len(_NOISES))], len(string), rng)
            noisy = mix(string, noise, float(rng.uniform(*_SNR_DB)), SAMPLE_RATE)
            level = 10 ** (rng.uniform(*_LEVELS_DB) / 20)
            text = " ".join(WORDS[one.word] for one in taken)
            tests.append(Test(np.clip(noisy * level, -1, 1).astype(np.float32), text, speaker))
    return tests


def _pause(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return silence, seldom long."""
    kind = rng.random()
    shortest, longest = next(seconds for share, *seconds in HARD.pauses if kind < share)
    return np.zeros(round(rng.uniform(shortest, longest) * SAMPLE_RATE), np.float32)


def joined(tests: Sequence[Test]) -> Test:
    """Return all strings as one, to see what becomes of a long stream."""
    samples = np.concatenate([one.samples for one in tests])
    return Test(samples, " ".join(one.text for one in tests), "several")


def sets(folder: Path) -> dict[str, list[Test]]:
    """Return the unheard speaker, the known ones' test takes, their takes for work, and the demo's digit strings."""
    found = recordings(folder)
    stranger = unheard(found)
    known = [one for one in found if one.speaker != stranger]
    demo = [one for one in read_manifest(DEMO / MANIFEST_NAME).corpus.utterances if one.id.startswith("demo-digits")]
    tests = held_out_strings([one for one in known if one.take in TEST_TAKES])
    return {
        f"unheard speaker ({stranger})": held_out_strings([one for one in found if one.speaker == stranger]),
        "known speakers, held-out takes": tests,
        "the same as one recording": [joined(tests)],
        "known speakers, takes for work": held_out_strings([one for one in known if one.take in WORK_TAKES]),
        "demo digit strings (Flite)": [Test(one.load().samples, one.text, str(one.speaker)) for one in demo],
    }


def left_out(folder: Path, speakers: Sequence[str]) -> dict[str, list[Test]]:
    """Return what speakers said who were left out of training, but for the test takes: settings are chosen by it."""
    found = [one for one in recordings(folder) if one.take not in TEST_TAKES]
    return {name: held_out_strings([one for one in found if one.speaker == name]) for name in speakers}


def measure(model: FastConformer, tests: Sequence[Test]) -> list[ErrorRate]:
    """Return the word error rate at each lookahead."""
    rates = []
    for context in model.contexts:
        found = []
        for first in range(0, len(tests), _BATCH):
            batch = [one.samples for one in tests[first : first + _BATCH]]
            found += model.transcribe(batch, context)
        results = [
            Scored(str(index), test.text, one.text, test.speaker)
            for index, (test, one) in enumerate(zip(tests, found, strict=True))
        ]
        rates.append(score(results, get("basic")))
    return rates


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=Path, required=True, help="folder of the recorded digits, with its manifest")
    parser.add_argument("--archive", type=Path, required=True, help="the `.nemo` file")
    parser.add_argument("--without", nargs="*", default=[], help="measure by these speakers alone")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load(arguments.archive)
    lookaheads = [f"{80 * (right + 1)} ms" for _, right in CONTEXTS]
    print("| WER in % (95 % interval) | words |", " | ".join(lookaheads), "|")
    print("| --- | --- |" + " --- |" * len(lookaheads))
    chosen = left_out(arguments.digits, arguments.without) if arguments.without else sets(arguments.digits)
    for name, tests in chosen.items():
        rates = measure(model, tests)
        cells = [f"{100 * one.rate:.1f} ({100 * one.interval.low:.1f}-{100 * one.interval.high:.1f})" for one in rates]
        print(f"| {name} | {rates[0].counts.reference_length} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
