"""What trains the small checkpoints: the loss, the data, resuming, and what is saved."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import sentencepiece
import torch

from auricle.fastconformer.loading import load
from auricle.fastconformer.reading import parse_config
from auricle.fastconformer.transducer import Joint, Predictor
from tools.training import pool
from tools.training.archive import Size, config, pieces_of, tokenizer, write
from tools.training.digits import batch
from tools.training.disturbance import line, noises, training_batch
from tools.training.evaluation import held_out_strings
from tools.training.learner import Learner
from tools.training.loop import Schedule, train
from tools.training.loss import transducer_loss
from tools.training.mels import bins, mel_filters, warped_filters
from tools.training.memorised import Known, known_batch
from tools.training.pool import Piece
from tools.training.speech import TEST_TAKES, recordings, taught, unheard
from tools.training.strings import EASY, HARD, PIECE_LEVEL, WORDS, Voices, joined, layout

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from auricle.fastconformer.config import AttentionContext
    from tools.training.learner import Batch

RATE_HZ = 16_000
TINY = Size(layers=1, width=16, heads=2, channels=4, kernel=3, hidden=12)
TEXT = " ".join(WORDS)
TOKENS = torch.arange(1, len(WORDS) + 1)


class Tones(NamedTuple):
    """Voices, and what noise there is."""

    voices: Voices
    noises: Tensor

    def batch(self, one: Learner, seed: int) -> Batch:
        return training_batch(self.voices, self.noises, TOKENS, one, np.random.default_rng(seed))


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


CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    """Four voices whose words are tones, the higher the later in the alphabet of digits."""
    made = []
    for voice, kind in (("ann", "human"), ("bob", "human"), ("slt", "flite"), ("en+m1", "espeak")):
        for word, text in enumerate(WORDS):
            time = np.arange(3000 + 200 * word) / RATE_HZ
            samples = (PIECE_LEVEL * 2**0.5 * np.sin(2 * np.pi * (300 + 150 * word) * time)).astype(np.float32)
            made.append(Piece(samples, text, voice, kind))
    return made


@pytest.fixture(scope="module")
def tones(pieces: list[Piece]) -> Tones:
    return Tones(Voices(pieces, CPU), noises(pieces, CPU))


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


def test_every_weight_but_those_of_the_features_is_learned(tones: Tones) -> None:
    one = learner()
    drawn = tones.batch(one, 0)
    loss, _ = one.loss(drawn, one_context())
    torch.autograd.backward(loss)
    still = [name for name, value in one.named_parameters() if value.grad is None or not value.grad.abs().max()]
    # A bias before a softmax over keys moves all of them alike.
    assert [name for name in still if "linear_k.bias" not in name] == []


def one_context() -> AttentionContext:
    return parse_config(config(TINY, ["a", "b"])).encoder.contexts[0]


def test_a_saved_archive_computes_what_was_trained(tones: Tones, tmp_path: Path) -> None:
    one = learner().eval()
    model = load(saved(one, tmp_path / "tiny.nemo"))
    joint, predictor = model.network.joint, model.network.decoder
    assert isinstance(joint, Joint)
    assert isinstance(predictor, Predictor)
    labels = torch.tensor([[3, 1, 4]])
    for seed, context in enumerate(model.contexts):
        strings = joined(tones.voices, layout(tones.voices, np.random.default_rng(seed), EASY))
        samples = strings[0].numpy()
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


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tones: Tones, tmp_path: Path) -> None:
    def run(name: str, steps: int) -> Learner:
        one = learner(misled=0.5)
        schedule = Schedule(seed=7, steps=steps, minutes=None, decay=0.1, every=2)
        train(one, schedule, partial(batch, *tones, TOKENS), (one_context(),), tmp_path / name)
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
    schedule = Schedule(seed=0, steps=1000, minutes=None, decay=0.2, every=1)
    rates = [schedule.rate(step, schedule.done(step, 0.0)) for step in range(1000)]
    assert rates[:100] == pytest.approx([2e-5 * step for step in range(1, 101)])
    assert set(rates[100:800]) == {2e-3}
    assert rates[800:] == pytest.approx([1e-5 * step for step in range(200, 0, -1)])


def test_a_run_of_minutes_ends_with_them_at_a_rate_of_nothing(tones: Tones, tmp_path: Path) -> None:
    schedule = Schedule(seed=7, steps=0, minutes=0.05, decay=0.5, every=1)
    train(learner(), schedule, partial(batch, *tones, TOKENS), (one_context(),), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["seconds"] >= 3
    assert all(line["seconds"] <= 3 for line in lines[:-1])
    assert schedule.rate(500, schedule.done(500, 2.25)) == pytest.approx(1e-3)
    assert schedule.rate(500, schedule.done(500, 3.0)) == 0


def test_a_seed_gives_the_same_batch_and_another_seed_another(tones: Tones) -> None:
    one = learner()
    torch.manual_seed(0)
    first = tones.batch(one, 5)
    torch.manual_seed(0)
    again, other = tones.batch(one, 5), tones.batch(one, 6)
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.labels, again.labels)
    assert first.features.shape != other.features.shape or not torch.equal(first.features, other.features)


def test_a_false_past_is_told_to_some_recordings_and_only_while_training(tones: Tones) -> None:
    one = learner(misled=0.5)
    drawn = tones.batch(one, 0)
    told = one._told(drawn)
    changed = (told != drawn.labels).any(dim=1).float().mean()
    assert 0.2 < float(changed) < 0.8
    assert torch.equal(one.eval()._told(drawn), drawn.labels)


def test_strings_hold_just_the_pieces_of_their_words_at_their_pace(tones: Tones) -> None:
    """The tones of a string, read off its spectrum between starts and ends, are those of its words."""
    plain = replace(EASY, pitch=0.0)
    plan = layout(tones.voices, np.random.default_rng(0), plain)
    strings = joined(tones.voices, plan).numpy()
    assert strings.shape == (64, int(plan.lengths.max()))
    assert plan.lengths.max() <= 1.6 * RATE_HZ
    for row, string in enumerate(strings):
        said, ends = np.flatnonzero(plan.spans[row]), plan.starts[row] + plan.spans[row]
        assert len(said) == plan.counts[row]
        silent = np.ones(len(string), dtype=bool)
        for place, word in zip(said, plan.words[row], strict=False):
            start, end = plan.starts[row, place], ends[place]
            silent[start:end] = False
            # The steady middle: a bent piece is as fast as the others there.
            middle = string[start + (end - start) // 4 : end - (end - start) // 4]
            spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), RATE_HZ))[:2000]
            assert np.argmax(spectrum) == pytest.approx(300 + 150 * word, rel=0.12)
        assert not string[silent].any()


def test_a_disturbed_line_never_clips_and_ends_with_its_string(tones: Tones) -> None:
    rng = np.random.default_rng(0)
    plan = layout(tones.voices, rng, HARD)
    strings, lengths = joined(tones.voices, plan), torch.from_numpy(plan.lengths)
    heard = line(strings, lengths, tones.noises, np.ones(len(strings)), HARD, rng)
    assert heard.abs().max() <= 1
    beyond = torch.arange(heard.shape[1]) >= lengths[:, None]
    assert not heard[beyond].any()
    assert heard[~beyond].any()
    assert min(plan.counts) == 0 or len(plan.counts) < 30  # one in thirty says nothing
    assert max(plan.counts) > 3


def test_a_filter_hears_a_tone_where_the_warp_puts_it() -> None:
    spectrum = bins(RATE_HZ, 512)
    heard = warped_filters(RATE_HZ, 80, torch.stack([spectrum, spectrum * 1.2]))
    np.testing.assert_allclose(heard[0].numpy(), mel_filters(RATE_HZ, 512, 80), rtol=0, atol=1e-6)
    tone = torch.zeros(len(spectrum), dtype=torch.double)
    tone[64] = 1.0
    plain = torch.zeros(len(spectrum), dtype=torch.double)
    plain[77] = 1.0  # 1.2 times as high
    assert int((heard[1] @ tone).argmax()) == pytest.approx(int((heard[0] @ plain).argmax()), abs=1)


def test_a_pool_is_read_as_it_was_written_but_for_the_rounding(pieces: list[Piece], tmp_path: Path) -> None:
    pool.save(pieces, tmp_path / "pool.npz", bits=11)
    for found, wanted in zip(pool.load(tmp_path / "pool.npz"), pieces, strict=True):
        assert found[1:] == wanted[1:]
        np.testing.assert_allclose(found.samples, wanted.samples, rtol=0, atol=2**-11)


def test_what_is_memorised_is_varied_by_level_noise_and_place_alone() -> None:
    model = tokenizer([TEXT], "word", len(WORDS) + 1)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 2 * RATE_HZ).astype(np.float32)
    made = [Piece(sound[: 8000 * count], " ".join(WORDS[:count]), str(count), "sentence") for count in (1, 2, 3, 4)]
    known, one = Known(made, processor, CPU), learner()
    plain, frames = one.features(torch.from_numpy(sound)[None, :8000], torch.tensor([8000]))
    seen = set()
    for seed in range(12):
        drawn = known_batch(known, 3, one, np.random.default_rng(seed), 0)
        seen |= set(drawn.counts.tolist())
        assert drawn.labels.shape == (3, int(drawn.counts.max()))
        if drawn.counts[0] == 1:
            assert processor.decode(drawn.labels[0, :1].tolist()) == WORDS[0]
            found = drawn.features[0, : drawn.frames[0]]
            later = max(
                (float(torch.corrcoef(torch.stack([plain[0].flatten(), found[at : at + frames].flatten()]))[0, 1]))
                for at in range(len(found) - int(frames) + 1)
            )
            assert later > 0.8
    assert seen == {1, 2, 3, 4}


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
