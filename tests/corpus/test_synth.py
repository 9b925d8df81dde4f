import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.corpus import Corpus, check, synthesise
from auricle.corpus.noise import speech_active
from auricle.corpus.sentences import digit_strings, sentences
from auricle.errors import AuricleError, CorpusError, UnsupportedError, UsageError

TEXTS = ("Good morning, everyone.", "It's half past three.", "Nine one five.")
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs the program flite: apt install flite")
needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason='needs espeakng-loader: pip install "auricle[synth]"'
)
both = pytest.mark.parametrize(
    "backend", [pytest.param("flite", marks=needs_flite), pytest.param("espeak-ng", marks=needs_espeak)]
)


def sounds(corpus: Corpus) -> list[bytes]:
    return [one.audio.read_bytes() for one in corpus.utterances]


@both
def test_a_spoken_corpus_is_sound_and_says_how_it_was_made(backend: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    corpus = synthesise(TEXTS, tmp_path / "out", backend=backend, progress=lambda *count: told.append(count))
    assert check(corpus) == []
    assert [one.text for one in corpus.utterances] == list(TEXTS)
    assert {one.language for one in corpus.utterances} == {"en"}
    assert len({one.speaker for one in corpus.utterances}) == 3
    assert all(0.5 < one.duration_s < 4 for one in corpus.utterances)
    assert told == [(1, 3), (2, 3), (3, 3)]


@both
def test_the_same_seed_gives_the_same_bytes(backend: Any, tmp_path: Path) -> None:
    def run(name: str, seed: int, snr_db: float | None = 10.0) -> list[bytes]:
        return sounds(synthesise(TEXTS, tmp_path / name, backend=backend, snr_db=snr_db, seed=seed))

    first = run("first", 1)
    assert run("again", 1) == first
    assert all(one != other for one, other in zip(run("other", 2), first, strict=True))
    assert run("clean", 1, None) == run("clean too", 2, None)


@both
def test_what_is_said_before_does_not_change_what_is_said_next(backend: Any, tmp_path: Path) -> None:
    voice = {"flite": "rms", "espeak-ng": "en"}[backend]
    alone = sounds(synthesise(TEXTS[2:], tmp_path / "alone", backend=backend, voices=[voice]))
    assert sounds(synthesise(TEXTS, tmp_path / "after", backend=backend, voices=[voice]))[2:] == alone


@both
def test_twice_the_rate_takes_half_the_time(backend: Any, tmp_path: Path) -> None:
    text = "The slow train stops at every village between the lake and the city."
    voice = {"flite": "slt", "espeak-ng": "en"}[backend]
    corpus = synthesise([text] * 2, tmp_path / "out", backend=backend, voices=[voice], rates=(0.9, 1.8))
    slow, fast = (speech_active(one.load().samples, 16_000).sum() for one in corpus.utterances)
    assert fast / slow == pytest.approx(0.5, abs=0.1)


@needs_flite
def test_voices_take_turns_and_rates_change_after_each_round(tmp_path: Path) -> None:
    corpus = synthesise(["Yes."] * 4, tmp_path / "out", voices=["slt", "rms"], rates=(1.0, 2.0))
    assert [one.speaker for one in corpus.utterances] == ["slt", "rms", "slt", "rms"]
    slt, _, fast_slt, _ = corpus.utterances
    assert fast_slt.duration_s < 0.7 * slt.duration_s


@needs_flite
def test_noise_is_added_at_the_ratio_that_was_asked_for(tmp_path: Path) -> None:
    clean = synthesise(TEXTS, tmp_path / "clean")
    noisy = synthesise(TEXTS, tmp_path / "noisy", snr_db=5.0, noise="pink")
    for one, other in zip(clean.utterances, noisy.utterances, strict=True):
        speech, mixed = (each.load().samples.astype(np.float64) for each in (one, other))
        active = speech_active(one.load().samples, 16_000)
        scale = mixed @ speech / (speech @ speech)
        noise = mixed - scale * speech
        ratio = np.sum((scale * speech[active]) ** 2) / np.sum(noise[active] ** 2)
        assert 10 * np.log10(ratio) == pytest.approx(5.0, abs=0.3)  # the noise is not quite orthogonal to the speech


@needs_flite
def test_flite_times_every_word_inside_the_audio(tmp_path: Path) -> None:
    corpus = synthesise(["Doctor O'Neill's two dogs, a cat and I don't agree."] * 4, tmp_path / "out")
    for one in corpus.utterances:
        assert [word.text for word in one.words] == one.text.split()
        active = np.flatnonzero(speech_active(one.load().samples, 16_000)) / 16_000
        assert one.words[0].start == pytest.approx(active[0], abs=0.06)
        assert one.words[-1].end == pytest.approx(active[-1], abs=0.1)


@needs_espeak
def test_hindi_is_spoken(tmp_path: Path) -> None:
    corpus = synthesise(None, tmp_path / "out", backend="espeak-ng", language="hi")
    assert check(corpus) == []
    assert [one.text for one in corpus.utterances] == list(sentences("hi"))
    assert {one.speaker for one in corpus.utterances} == {"hi", "hi+f2", "hi+m3", "hi+f4"}
    assert all(one.duration_s > 1.5 for one in corpus.utterances)


def test_digit_strings_are_the_same_for_the_same_seed() -> None:
    strings = digit_strings("hi", 20, seed=5)
    assert strings == digit_strings("hi", 20, seed=5) != digit_strings("hi", 20, seed=6)
    assert all(4 <= len(string.split()) <= 8 for string in strings)
    digits = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    assert set(" ".join(digit_strings("en-GB", 50, seed=0)).split()) == digits
    with pytest.raises(UnsupportedError, match="no built-in texts in this language: fr"):
        digit_strings("fr", 1, seed=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": ()}, UsageError, "no texts"),
        ({"rates": (1.0, 9.0)}, UsageError, "speaking rate"),
        ({"rates": ()}, UsageError, "speaking rate"),
        ({"snr_db": float("nan")}, UsageError, "signal-to-noise"),
        ({"seed": -1}, UsageError, "seed"),
        ({"backend": "festival"}, UsageError, "no such speech synthesiser: festival"),
        pytest.param({"voices": ("bob",)}, UnsupportedError, "one of .*slt", marks=needs_flite),
        pytest.param({"language": "hi"}, UnsupportedError, "English only", marks=needs_flite),
        pytest.param({"noise": "brown", "snr_db": 3.0}, UsageError, "brown", marks=needs_flite),
        pytest.param({"texts": ("fine", "naïve")}, CorpusError, "ASCII", marks=needs_flite),
        pytest.param({"texts": ("...",)}, CorpusError, "ASCII", marks=needs_flite),
        pytest.param({"backend": "espeak-ng", "voices": ("xx",)}, UnsupportedError, "voice: xx", marks=needs_espeak),
        pytest.param({"backend": "espeak-ng", "voices": ("en+q",)}, UnsupportedError, "variant", marks=needs_espeak),
        pytest.param({"backend": "espeak-ng", "texts": ("...",)}, CorpusError, "says nothing", marks=needs_espeak),
    ],
    ids=str,
)
def test_what_cannot_be_spoken_is_refused_and_leaves_nothing(
    arguments: dict[str, Any], error: type[AuricleError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        synthesise(destination=tmp_path / "out", **{"texts": TEXTS, **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("backend", "remedy"), [("flite", "apt install flite"), ("espeak-ng", r"auricle\[synth\]")])
def test_a_synthesiser_that_is_not_installed_is_named_with_the_remedy(
    backend: str, remedy: str, tmp_path: Path
) -> None:
    code = f"""
import sys
sys.modules["espeakng_loader"] = None
from pathlib import Path
from auricle.corpus import synthesise
from auricle.errors import NotInstalledError
try:
    synthesise(["hi"], Path({str(tmp_path / "out")!r}), backend={backend!r})
except NotInstalledError as error:
    print(error)
"""
    env = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.startswith(
        f"{'the program flite' if backend == 'flite' else 'espeakng-loader'} is not installed"
    )
    assert remedy.replace("\\", "") in done.stdout
