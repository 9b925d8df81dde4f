"""What trains the small checkpoints: the loss, the data, resuming, and what is saved."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tools.training.archive import Size, config, pieces_of, tokenizer, write
from tools.training.digits import batch
from tools.training.evaluation import held_out_strings
from tools.training.learner import Learner
from tools.training.loop import Schedule, train
from tools.training.loss import transducer_loss
from tools.training.speech import PIECE_LEVEL, TEST_TAKES, WORDS, Piece, recordings, stretched, taught, unheard
from tools.training.strings import training_batch, training_string, voices

from auricle.fastconformer.loading import load
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.transducer import Joint, Predictor

if TYPE_CHECKING:
    from pathlib import Path

    from tools.training.strings import Voices
    from torch import Tensor

    from auricle.fastconformer.config import AttentionContext

RATE_HZ = 16_000
TINY = Size(layers=1, width=16, heads=2, channels=4, kernel=3, hidden=12)
TEXT = " ".join(WORDS)
TOKENS = torch.arange(1, len(WORDS) + 1)


def every_alignment(scores: Tensor, labels: list[int]) -> Tensor:
    """Minus the log of the sum over every order of blanks, one a frame and one last, and labels."""
    frames, log_p = len(scores), scores.log_softmax(dim=2)
    totals = []
    for places in itertools.combinations(range(frames + len(labels) - 1), len(labels)):
        frame, said, total = 0, 0, torch.zeros((), dtype=scores.dtype)
        for place in range(frames + len(labels)):
            if place in places:
                total = total + log_p[frame, said, labels[said]]
                said += 1
            else:
                total = total + log_p[frame, said, -1]
                frame += 1
        totals.append(total)
    return -torch.stack(totals).logsumexp(dim=0)


def learner(misled: float = 0.0) -> Learner:
    torch.manual_seed(0)
    model = tokenizer([TEXT], "word", len(WORDS) + 1)
    return Learner(parse_config(config(TINY, pieces_of(model))), dropout=0.1, misled=misled)


def saved(one: Learner, path: Path) -> Path:
    model = tokenizer([TEXT], "word", len(WORDS) + 1)
    write(path, config(TINY, pieces_of(model)), one.weights(), model)
    return path


@pytest.fixture(scope="module")
def tones() -> Voices:
    """Four voices whose words are tones."""
    pool = []
    for voice, is_human in (("ann", True), ("bob", True), ("slt", False), ("en+m1", False)):
        for word in range(len(WORDS)):
            time = np.arange(3000 + 200 * word) / RATE_HZ
            samples = (PIECE_LEVEL * 2**0.5 * np.sin(2 * np.pi * (300 + 150 * word) * time)).astype(np.float32)
            pool.append(Piece(samples, (word,), voice, is_human))
    return voices(pool)


@pytest.mark.parametrize(
    ("frames", "labels"), [(1, []), (1, [2, 0]), (4, []), (3, [1]), (5, [0, 0, 1]), (4, [2, 1, 2])]
)
def test_the_loss_is_that_of_every_alignment_added_up(frames: int, labels: list[int]) -> None:
    torch.manual_seed(len(labels))
    scores = 3 * torch.randn(2, 6, 5, 4, dtype=torch.double)
    padded = torch.tensor([labels + [0] * (4 - len(labels)), [1, 2, 0, 1]])
    found = transducer_loss(scores, torch.tensor([frames, 6]), padded, torch.tensor([len(labels), 4]))
    wanted = [every_alignment(scores[0, :frames], labels), every_alignment(scores[1], [1, 2, 0, 1])]
    torch.testing.assert_close(found, torch.stack(wanted))


def test_the_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 4, 3, 3, dtype=torch.double, requires_grad=True)
    labels, frames, counts = torch.tensor([[0, 1], [1, 0], [0, 0]]), torch.tensor([4, 3, 1]), torch.tensor([2, 1, 0])
    assert torch.autograd.gradcheck(lambda x: transducer_loss(x, frames, labels, counts), scores)


def test_what_lies_beyond_a_recording_has_no_gradient() -> None:
    scores = torch.randn(1, 5, 4, 3, requires_grad=True)
    loss = transducer_loss(scores, torch.tensor([3]), torch.tensor([[0, 1, 0]]), torch.tensor([2]))
    torch.autograd.backward(loss.sum())
    assert scores.grad is not None
    assert scores.grad[0, :3, :3].abs().min() > 0
    assert scores.grad[0, 3:].abs().max() == 0
    assert scores.grad[0, :, 3:].abs().max() == 0


def test_every_weight_but_those_of_the_features_is_learned(tones: Voices) -> None:
    one = learner()
    drawn = training_batch(tones, TOKENS, one, np.random.default_rng(0))
    loss, _ = one.loss(drawn, one_context())
    torch.autograd.backward(loss)
    still = [name for name, value in one.named_parameters() if value.grad is None or not value.grad.abs().max()]
    # A bias before a softmax over keys moves all of them alike.
    assert [name for name in still if "linear_k.bias" not in name] == []


def one_context() -> AttentionContext:
    return parse_config(config(TINY, ["a", "b"])).encoder.contexts[0]


def test_a_saved_archive_computes_what_was_trained(tones: Voices, tmp_path: Path) -> None:
    one = learner().eval()
    model = load(saved(one, tmp_path / "tiny.nemo"))
    joint, predictor = model.network.joint, model.network.decoder
    assert isinstance(joint, Joint)
    assert isinstance(predictor, Predictor)
    labels = torch.tensor([[3, 1, 4]])
    for seed, context in enumerate(model.contexts):
        samples, _ = training_string(tones, 2.0, 3.0, np.random.default_rng(seed))
        features, frames = one.features(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        wanted, lengths = one.encode(features, frames, context)
        encoded, counts = model.encode([samples], context)
        assert counts.tolist() == lengths.tolist()
        torch.testing.assert_close(encoded, wanted.detach(), rtol=0, atol=1e-5)
        state, scores = predictor.start(1), []
        for label in (len(WORDS) + 1, *labels[0].tolist()):
            said, state = predictor(torch.tensor([label]), state)
            scores.append(joint(joint.enc(encoded), joint.pred(said)))
        torch.testing.assert_close(torch.stack(scores, dim=2), one.scores(wanted, labels).detach(), rtol=0, atol=1e-5)


def test_a_saved_archive_is_the_same_each_time_and_holds_no_head_of_training(tmp_path: Path) -> None:
    first, second = (saved(learner(), tmp_path / name).read_bytes() for name in ("a.nemo", "b.nemo"))
    assert first == second
    assert list(load(tmp_path / "a.nemo").decoders) == ["transducer"]


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tones: Voices, tmp_path: Path) -> None:
    def run(name: str, steps: int) -> Learner:
        one = learner(misled=0.5)
        schedule = Schedule(seed=7, steps=steps, warm_up=2, decay=1, peak=1e-3, every=2)
        train(one, schedule, partial(batch, tones, TOKENS), (one_context(),), tmp_path / name)
        return one

    whole = run("whole", 5)
    for steps in (2, 4):
        run("stopped", steps)
    stopped = run("stopped", 5)
    untrained = learner(misled=0.5).state_dict()
    for name, value in stopped.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    assert not torch.equal(whole.state_dict()["network.joint.enc.weight"], untrained["network.joint.enc.weight"])
    lines = [
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "stopped")
    ]
    assert [line["step"] for line in lines[0]] == [2, 4, 5]
    assert lines[0] == lines[1]


def test_the_rate_rises_stays_and_falls_to_almost_nothing() -> None:
    schedule = Schedule(seed=0, steps=100, warm_up=10, decay=20, peak=1.0, every=1)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == pytest.approx([0.05 * step for step in range(20, 0, -1)])


def test_a_seed_gives_the_same_batch_and_another_seed_another(tones: Voices) -> None:
    one = learner()
    first, again, other = (training_batch(tones, TOKENS, one, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.labels, again.labels)
    assert first.features.shape != other.features.shape or not torch.equal(first.features, other.features)


def test_a_false_past_is_told_to_some_recordings_and_only_while_training(tones: Voices) -> None:
    one = learner(misled=0.5)
    drawn = training_batch(tones, TOKENS, one, np.random.default_rng(0))
    told = one._told(drawn)
    changed = (told != drawn.labels).any(dim=1).float().mean()
    assert 0.2 < float(changed) < 0.8
    assert torch.equal(one.eval()._told(drawn), drawn.labels)


def test_a_string_is_no_longer_than_asked_holds_all_its_words_and_never_clips(tones: Voices) -> None:
    counts = []
    for seed in range(60):
        samples, words = training_string(tones, 2.0, 3.0, np.random.default_rng(seed))
        assert len(samples) <= 3 * RATE_HZ
        assert samples.dtype == np.float32
        assert np.abs(samples).max() <= 1
        shortest = sum((3000 + 200 * word) / 1.4 for word in words)
        assert shortest <= len(samples)
        counts.append(len(words))
    assert min(counts) == 0  # one in thirty says nothing
    assert max(counts) > 5


@pytest.mark.parametrize("tempo", [0.75, 1.3])
def test_another_tempo_changes_the_length_and_not_the_pitch(tempo: float) -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(8000) / RATE_HZ).astype(np.float32)
    found = stretched(tone, tempo)
    assert len(found) == pytest.approx(len(tone) / tempo, abs=600)
    spectrum = np.abs(np.fft.rfft(found, RATE_HZ))
    assert np.argmax(spectrum) == pytest.approx(500, abs=10)


def test_nothing_that_is_measured_was_trained_on_and_each_take_is_measured_once(data: Path) -> None:
    found = recordings(data / "digits")
    known = taught(found)
    stranger = unheard(found)
    assert {one.speaker for one in found} - {one.speaker for one in known} == {stranger}
    held = [one for one in found if one.take in TEST_TAKES and one.speaker != stranger]
    assert not {one.path for one in known} & {one.path for one in held}
    strings = held_out_strings(held)
    said = sorted(word for string in strings for word in string.text.split())
    assert said == sorted(WORDS[one.word] for one in held)
    assert {string.speaker for string in strings} == {one.speaker for one in known}


@pytest.mark.parametrize(("kind", "pieces"), [("word", 11), ("bpe", 20)])
def test_a_tokenizer_has_just_the_pieces_asked_for(kind: str, pieces: int) -> None:
    names = pieces_of(tokenizer([TEXT], kind, pieces))
    assert len(names) == pieces
    if kind == "word":
        assert set(names[1:]) == {f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in WORDS}
