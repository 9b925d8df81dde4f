"""The gate on real recognisers: what passes on the small checkpoints, and every kind of planted garbage refused."""

from __future__ import annotations

import io
import json
import math
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle.audio import save
from auricle.bench.gate.gate import Settings, check, make_samples
from auricle.corpus import open_corpus
from auricle.engines.loading import LoadRequest, load
from auricle.errors import ModelError, UnsupportedError, UsageError
from auricle.models.store import STORE
from auricle.trace import Tracer
from tests.cli.conftest import caller
from tests.engines import sherpa_graphs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from auricle.bench.gate.gate import Judgement
    from auricle.corpus import Corpus

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "src" / "auricle" / "checkpoints" / "auricle-digits-en.nemo"
MEMORISED = ROOT / "tests" / "data" / "memorised" / "auricle-memorised.nemo"
QUICK = Settings(copies=0)
LARGEST_FP16 = 65_504
CLIP = 64_000

torch_only = pytest.mark.skipif(
    any(find_spec(package) is None for package in ("torch", "sentencepiece", "yaml")),
    reason="needs pip install 'auricle[torch]'",
)
sherpa_only = pytest.mark.skipif(find_spec("sherpa_onnx") is None, reason='needs pip install "auricle[sherpa]"')


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no verdicts but the test's own."""
    monkeypatch.setenv(STORE, str(tmp_path / "store"))


def ask(model: Path, precision: str, engine: str = "fastconformer") -> LoadRequest:
    return LoadRequest(engine, str(model), precision=precision, threads=1)


def judged(candidate: LoadRequest, reference: LoadRequest, corpus: Corpus, settings: Settings = QUICK) -> Judgement:
    found = check(candidate, reference, corpus, settings)
    assert found.reasons
    return found


def digits(limit: int | None = None) -> Corpus:
    return open_corpus("demo-digits").select(limit=limit)


def replanted(path: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    """Write the digits archive with its weights changed."""
    import torch

    with tarfile.open(DIGITS) as source, tarfile.open(path, "w") as target:
        for member in source:
            file = source.extractfile(member)
            if file is not None and member.name.endswith("model_weights.ckpt"):
                tensors = torch.load(io.BytesIO(file.read()), weights_only=True)
                change(tensors)
                file = io.BytesIO()
                torch.save(tensors, file)
                member.size = file.tell()
                file.seek(0)
            target.addfile(member, file)
    return path


def test_copies_in_noise_are_the_same_every_time_and_as_many_as_it_takes() -> None:
    corpus = digits(3)
    samples = make_samples(corpus)
    assert [sample.copy for sample in samples] == ([False] + [True] * 9) * 3
    assert [one.audio.samples.tobytes() for one in samples] == [
        one.audio.samples.tobytes() for one in make_samples(corpus)
    ]
    assert len(make_samples(digits())) == 192
    assert len(make_samples(corpus, copies=2)) == 9
    assert len({sample.id for sample in samples}) == len(samples)


@torch_only
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_the_digits_checkpoint_passes_and_is_loaded_then(precision: str) -> None:
    candidate = ask(DIGITS, precision)
    found = judged(candidate, ask(DIGITS, "fp32"), digits(), Settings())
    assert found.outcome == "passed", found.reasons
    assert precision in found.candidate["precision"]
    recognizer = load(candidate, Tracer())
    recognizer.unload()
    assert recognizer.info.converted


@torch_only
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_the_memorised_checkpoint_is_judged_with_its_evidence(precision: str) -> None:
    corpus = open_corpus(str(MEMORISED.with_name("manifest.jsonl")))
    found = judged(ask(MEMORISED, precision), ask(MEMORISED, "fp32"), corpus, Settings())
    by_name = {one.name: one for one in found.checks}
    assert found.outcome in {"passed", "not enough evidence"}
    assert by_name["agreement"].figures["words"] > 0.99
    assert by_name["divergence"].figures["largest"] < 0.1


@torch_only
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_random_weights_of_a_real_size_are_judged_by_their_own_texts(tmp_path: Path, precision: str) -> None:
    from tools.cpu_speed_models import make_model

    corpus = digits(10)
    spoken = np.concatenate([one.audio.samples for one in make_samples(corpus, copies=0)])
    model = tmp_path / "110m.nemo"
    make_model("110m", model, spoken[: 5 * CLIP].reshape(5, CLIP))
    found = judged(ask(model, precision), ask(model, "fp32"), corpus, Settings(copies=0, batch=4))
    by_name = {one.name: one for one in found.checks}
    assert by_name["finite"].outcome == by_name["reference"].outcome == "passed"
    assert 0 < by_name["divergence"].figures["largest"] < 0.1
    assert found.outcome != "passed"
    assert "errors" not in by_name or "its own texts are the measure" in by_name["errors"].told


@torch_only
def test_a_small_corpus_is_not_enough_evidence_and_says_so() -> None:
    found = judged(ask(DIGITS, "bf16"), ask(DIGITS, "fp32"), digits(12))
    assert found.outcome == "not enough evidence"
    assert any("undecided by 0.5 points on 12 samples" in reason for reason in found.reasons)
    assert {one.outcome for one in found.checks if one.name != "errors"} == {"passed"}
    assert found.verdict is not None
    assert found.verdict.figures["corpus"] == "demo-digits"


@torch_only
def test_an_overflow_in_sixteen_bits_fails_where_bfloat_holds_it(tmp_path: Path) -> None:
    model = replanted(tmp_path / "loud.nemo", louder)
    corpus = digits(12)
    found = judged(ask(model, "fp16"), ask(model, "fp32"), corpus)
    assert found.outcome == "failed"
    assert any("the candidate's encoder gave" in reason and "not finite" in reason for reason in found.reasons)
    same = judged(ask(model, "bf16"), ask(model, "fp32"), corpus)
    assert {one.outcome for one in same.checks if one.name != "errors"} == {"passed"}


def louder(tensors: dict[str, Tensor]) -> None:
    """Make the pre-encoder's inside as loud as its weights may be, and what follows as soft; fp32 gives the same."""
    scaled = [tensors[f"encoder.pre_encode.conv.{index}.bias"] for index in (0, 2, 3, 5, 6)]
    scaled.append(tensors["encoder.pre_encode.conv.0.weight"])
    by = 2.0 ** math.floor(math.log2(LARGEST_FP16 / max(float(each.abs().max()) for each in scaled)))
    for each in scaled:
        each.mul_(by)
    tensors["encoder.pre_encode.out.weight"] /= by


@torch_only
def test_weights_of_zeros_fail_against_good_ones_and_against_themselves(tmp_path: Path) -> None:
    model = replanted(tmp_path / "zeros.nemo", silenced)
    good = judged(ask(model, "bf16"), ask(DIGITS, "fp32"), digits(4))
    itself = judged(ask(model, "bf16"), ask(model, "fp32"), digits(4))
    assert good.outcome == itself.outcome == "failed"
    assert "the reference itself hears" in " ".join(itself.reasons)


def silenced(tensors: dict[str, Tensor]) -> None:
    """Zero every weight but the features'."""
    for name, value in tensors.items():
        if not name.startswith("preprocessor"):
            value.zero_()


@torch_only
def test_a_weight_that_is_no_number_fails_by_its_name(tmp_path: Path) -> None:
    def planted(tensors: dict[str, Tensor]) -> None:
        tensors["encoder.layers.1.norm_out.weight"][3] = float("nan")

    model = replanted(tmp_path / "nan.nemo", planted)
    found = judged(ask(model, "bf16"), ask(model, "fp32"), digits(1))
    assert found.outcome == "failed"
    assert "not finite in bf16: encoder.layers.1.norm_out.weight" in found.reasons[0]
    assert found.verdict is None


@torch_only
def test_a_truncated_file_fails_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    model = tmp_path / "cut.nemo"
    model.write_bytes(DIGITS.read_bytes()[:1_000_000])
    found = judged(ask(model, "bf16"), ask(model, "fp32"), digits(1))
    assert found.outcome == "failed"
    assert "the candidate cannot be loaded" in found.reasons[0]
    with pytest.raises(ModelError, match="no such model"):
        check(ask(tmp_path / "none.nemo", "bf16"), ask(tmp_path / "none.nemo", "fp32"), digits(1), QUICK)


@torch_only
def test_a_reference_that_is_not_fp32_itself_admits_nothing() -> None:
    reference = ask(DIGITS, "bf16-unchecked")
    found = judged(ask(DIGITS, "int8"), reference, digits(10), Settings(margin_points=30.0, copies=0))
    assert found.outcome == "passed"
    with pytest.raises(UnsupportedError, match="never checked"):
        load(ask(DIGITS, "int8"), Tracer())


@torch_only
def test_a_reference_of_the_same_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="the same precision: bf16"):
        check(ask(DIGITS, "bf16"), ask(DIGITS, "bf16-unchecked"), digits(1), QUICK)


@pytest.fixture
def tones(tmp_path: Path) -> Corpus:
    """Twelve recordings of tones that stand for words."""
    texts = [
        f"{one} {two} {three}"
        for one in ("one", "two")
        for two in ("two", "three")
        for three in ("one", "two", "three")
    ]
    folder = tmp_path / "tones"
    folder.mkdir()
    lines = []
    for number, text in enumerate(texts):
        audio = sherpa_graphs.say(text)
        save(audio, folder / f"{number}.wav")
        line = {"id": f"t{number}", "audio": f"{number}.wav", "text": text, "language": "en", "speaker": f"s{number}"}
        lines.append(json.dumps(line | {"duration_s": audio.duration_s}))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return open_corpus(str(folder))


@sherpa_only
def test_files_of_sherpa_onnx_are_judged_by_the_same_gate(tmp_path: Path, tones: Corpus) -> None:
    model = sherpa_graphs.nemo_ctc(tmp_path / "model", "model.onnx")
    sherpa_graphs.nemo_ctc(model, "model.int8.onnx", "int8")
    found = judged(ask(model, "int8", "sherpa-onnx"), ask(model, "fp32", "sherpa-onnx"), tones, Settings(copies=0))
    assert {one.outcome for one in found.checks if one.name != "errors"} == {"passed"}
    assert "int8" in found.candidate["precision"]
    graph = (model / "model.int8.onnx").read_bytes()
    deaf = graph.replace(bytes([1, 0, 0, 0, 0, 0, 1]), bytes(7))
    assert deaf != graph
    (model / "model.int8.onnx").write_bytes(deaf)
    broken = judged(ask(model, "int8", "sherpa-onnx"), ask(model, "fp32", "sherpa-onnx"), tones)
    assert broken.outcome == "failed"
    assert {one.name for one in broken.checks if one.outcome == "failed"} & {"empty", "agreement", "errors"}


@torch_only
def test_the_command_prints_the_verdict_and_exits_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    auricle = caller(capsys)
    arguments = ("models", "check", DIGITS, "--engine", "fastconformer", "--precision", "bf16", "--threads", 1)
    answer = auricle(*arguments, "--limit", 10, "--copies", 0)
    assert answer.status == 3
    assert answer.out.startswith("bf16 (held as bf16+fp32) against fp32: not enough evidence\n")
    assert "hint: give a larger corpus" in answer.err
    [row] = auricle(*arguments, "--limit", 10, "--copies", 0, "--margin", 30, "--json").rows
    assert row["outcome"] == row["verdict"]["outcome"] == "passed"
    cut = tmp_path / "cut.nemo"
    cut.write_bytes(DIGITS.read_bytes()[:1_000_000])
    answer = auricle(
        "models", "check", cut, "--engine", "fastconformer", "--precision", "bf16", "--corpus", "demo-digits"
    )
    assert answer.status == 1
    assert "damaged or truncated" in answer.out
    assert auricle("models", "check", DIGITS).status == 2
