"""Exported graphs compute what torch does; those that do not are refused; other programs load what is theirs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from auricle.bench.gate.exports import Report, Settings, accept, export
from auricle.corpus import open_corpus
from auricle.errors import EngineError, ModelError, UnsupportedError, UsageError
from auricle.fastconformer.export.graph import Graph, WeightsFile
from auricle.fastconformer.export.manifest import FILES, LIVE, MANIFEST, WEIGHTS, read_manifest
from auricle.fastconformer.export.validation import TOLERANCE, compare, tokens_differ
from auricle.fastconformer.export.writing import Plan, write
from auricle.fastconformer.loading import load, read
from auricle.fastconformer.ort.session import Placed, Session, check_placed, provider_of
from auricle.fastconformer.ort.session import Settings as SessionSettings
from auricle.fastconformer.ort.whole import OrtFastConformer
from auricle.models.store import shipped_path
from tests.fastconformer.checkpoints import build, recording

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auricle.corpus import Corpus

MODELS = ("tdt_slow", "hybrid_tdt", "ctc_local", "live_tdt", "live_hybrid")
EASY = Settings(margin_points=50.0, copies=3, threads=1)


@pytest.fixture(scope="module")
def digits() -> Path:
    path = shipped_path("auricle-digits-en.nemo")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return open_corpus("demo-digits").select(limit=3)


@pytest.fixture(scope="module")
def written(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write(read(digits), digits, folder, Plan())
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_every_output_and_token_is_that_of_torch(name: str, tmp_path: Path) -> None:
    path = build(name, tmp_path)
    (tmp_path / "out").mkdir()
    write(read(path), path, tmp_path / "out", Plan())
    reference, candidate = load(path), OrtFastConformer(tmp_path / "out", SessionSettings())
    audio = [recording(samples, samples) for samples in (20_000, 33_333, 16_001)]
    errors = compare(reference, candidate, audio)
    assert errors.broken is None
    assert max(errors.share.values()) < TOLERANCE / 10
    assert not any(tokens_differ(reference, candidate, audio).values())


def test_a_sound_export_is_moved_to_its_place_with_its_report(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "digits"
    assert export(None, Plan(), out, corpus, EASY).outcome == "passed"
    assert {MANIFEST, "report.json"} <= {path.name for path in out.iterdir()}
    assert read_manifest(out).files.keys() >= {LIVE, FILES, WEIGHTS}
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    with pytest.raises(UsageError, match="there already"):
        export(None, Plan(), out, corpus, EASY)


def _not_updated(model: Any) -> None:
    """Give the state of a convolution out as it came in."""
    node = next(one for one in model.graph.node if "convolution.1.next" in one.output)
    node.op_type, node.input[:] = "Identity", ["convolution.1"]
    del node.attribute[:]


def _wrong_axis(model: Any) -> None:
    """Softmax over the queries instead of the keys."""
    node = next(one for one in model.graph.node if one.op_type == "Softmax")
    node.attribute[0].i = -2


def _overflow(model: Any) -> None:
    """Take frames of one layer through sixteen bits, larger than they hold."""
    place, node = next((n, one) for n, one in enumerate(model.graph.node) if one.op_type == "LayerNormalization")
    value = node.input[0]
    model.graph.initializer.append(numpy_helper.from_array(np.array(1e6, np.float32), "large"))
    added = [
        helper.make_node("Mul", [value, "large"], ["raised"]),
        helper.make_node("Cast", ["raised"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["whole", "large"], ["lowered"]),
    ]
    for number, one in enumerate(added):
        model.graph.node.insert(place + number, one)
    node.input[0] = "lowered"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_not_updated, r"convolution\.1\.next is off by .* in step 1 at"),
        (_wrong_axis, r"frames is (off by .*|not finite), in step 1 at"),
        (_overflow, r"frames is not finite, in step 1 at"),
    ],
    ids=["a state that is not updated", "a wrong axis", "an overflow in sixteen bits"],
)
def test_a_broken_export_is_refused_and_leaves_only_its_report(
    spoil: Callable[[Any], None], said: str, digits: Path, written: Path, corpus: Corpus, tmp_path: Path
) -> None:
    folder, out = tmp_path / "part", tmp_path / "out"
    shutil.copytree(written, folder)
    model = onnx.load(folder / LIVE, load_external_data=False)
    spoil(model)
    onnx.save(model, folder / LIVE)
    read_manifest_again(folder)
    report = accept(digits, folder, out, Plan(), corpus, EASY)
    assert report.outcome == "failed"
    assert re.search(said, report.reasons[0])
    assert not out.exists()
    assert json.loads((tmp_path / "out.report.json").read_text())["outcome"] == "failed"


def read_manifest_again(folder: Path) -> None:
    """Seal a folder that was changed, so that only what it computes can tell."""
    from auricle.fastconformer.export.manifest import Manifest

    Manifest.model_validate_json((folder / MANIFEST).read_text()).seal(folder)


def test_a_folder_that_was_changed_or_lacks_a_file_is_refused(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "changed")
    with (tmp_path / "changed" / LIVE).open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="not the one that was written"):
        read_manifest(tmp_path / "changed")
    shutil.copytree(written, tmp_path / "lacking")
    (tmp_path / "lacking" / FILES).unlink()
    with pytest.raises(ModelError, match="missing"):
        read_manifest(tmp_path / "lacking")
    with pytest.raises(ModelError, match="no manifest"):
        read_manifest(tmp_path)


def test_weights_are_in_one_file_and_stored_once(written: Path) -> None:
    graphs = [onnx.load(written / name, load_external_data=False) for name in (LIVE, FILES)]
    external = [
        {one.name: tuple((entry.key, entry.value) for entry in one.external_data) for one in graph.graph.initializer}
        for graph in graphs
    ]
    shared = {name: place for name, place in external[0].items() if place and external[1].get(name) == place}
    assert len(shared) > 30
    places = {dict(place)["location"] for each in external for place in each.values() if place}
    assert places == {WEIGHTS}


def test_int8_frames_depend_on_no_neighbour(digits: Path, corpus: Corpus, tmp_path: Path) -> None:
    write(read(digits), digits, tmp_path, Plan(precision="int8", kept=("layers.0",)))
    model = OrtFastConformer(tmp_path, SessionSettings())
    assert model.kernels["CPUExecutionProvider in int8"] > 0
    audio = [utterance.load().samples for utterance in corpus.utterances]
    together, lengths = model.encode(audio)
    for row, (samples, count) in enumerate(zip(audio, lengths.tolist(), strict=True)):
        alone, _ = model.encode([samples])
        assert torch.allclose(alone[0, :count], together[row, :count], atol=1e-4)


def test_the_operators_that_a_card_leaves_to_the_cpu_are_refused_unless_allowed_by_name() -> None:
    placed = [
        Placed("layers.0/Gemm_1", "Gemm", "CUDAExecutionProvider", ("float",)),
        Placed("layers.0/MatMulNBits_2", "MatMulNBits", "CPUExecutionProvider", ("float", "uint8")),
    ]
    with pytest.raises(UnsupportedError, match=r"1 operators fell back .* MatMulNBits"):
        check_placed(placed, "CUDAExecutionProvider", ())
    check_placed(placed, "CUDAExecutionProvider", {"MatMulNBits"})


def test_where_each_operator_ran_is_read_back_from_the_session(written: Path) -> None:
    session = Session(written / "joint.onnx", SessionSettings(arena="none"), {"batch": 1, "frames": 1})
    assert {one.provider for one in session.placed} == {"CPUExecutionProvider"}
    assert "MatMul" in {one.kind for one in session.placed}
    with pytest.raises(EngineError, match="ONNX Runtime failed"):
        session.run(np.zeros((1, 1, 3), np.float32), np.zeros((1, 3), np.float32))


def test_a_provider_that_is_not_installed_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no CUDAExecutionProvider"):
        provider_of("cuda")
    with pytest.raises(UnsupportedError, match="no such device"):
        provider_of("npu")


SHERPA = """
import json, sys, numpy as np, sherpa_onnx
folder, live, audio = sys.argv[1], sys.argv[2] == "live", np.load(sys.argv[3])
files = {role: f"{folder}/{role}.onnx" for role in ("encoder", "decoder", "joiner")}
files["tokens"] = f"{folder}/tokens.txt"
make = sherpa_onnx.OnlineRecognizer if live else sherpa_onnx.OfflineRecognizer
more = {} if live else {"model_type": "nemo_transducer"}
recognizer = make.from_transducer(**files, num_threads=1, feature_dim=80, **more)
streams = [recognizer.create_stream() for _ in audio.files]
for stream, name in zip(streams, audio.files):
    stream.accept_waveform(16000, audio[name])
    if live:
        stream.accept_waveform(16000, np.zeros(24000, np.float32))
        stream.input_finished()
if live:
    while ready := [stream for stream in streams if recognizer.is_ready(stream)]:
        recognizer.decode_streams(ready)
    print(json.dumps([recognizer.get_result(stream).strip() for stream in streams]))
else:
    recognizer.decode_streams(streams)
    print(json.dumps([stream.result.text.strip() for stream in streams]))
"""


@pytest.mark.parametrize("chunk_ms", [None, 160])
def test_sherpa_onnx_loads_what_was_written_and_hears_the_same(
    chunk_ms: int | None, digits: Path, corpus: Corpus, tmp_path: Path
) -> None:
    pytest.importorskip("sherpa_onnx")
    write(read(digits), digits, tmp_path, Plan("sherpa-onnx", chunk_ms=chunk_ms))
    audio = [utterance.load().samples for utterance in corpus.utterances]
    np.savez(tmp_path / "audio.npz", *audio)
    kind = "files" if chunk_ms is None else "live"
    command = [sys.executable, "-c", SHERPA, str(tmp_path), kind, str(tmp_path / "audio.npz")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert json.loads(said.stdout) == [one.text for one in load(digits).transcribe(audio)]


@pytest.mark.parametrize("name", ["rnnt", "tdt", "ctc"])
def test_onnx_asr_loads_what_was_written_and_says_the_same(name: str, tmp_path: Path) -> None:
    onnx_asr = pytest.importorskip("onnx_asr")
    path = build(name, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    write(read(path), path, out, Plan("onnx-asr"))
    kind = json.loads((out / "config.json").read_text())["model_type"]
    model = onnx_asr.load_model(kind, out, providers=["CPUExecutionProvider"])
    reference = load(path)
    for samples in (20_000, 33_333):
        audio = recording(samples, samples)
        assert model.recognize(audio) == reference.transcribe([audio])[0].text


def test_onnx_asr_gets_no_model_that_it_would_hear_wrongly(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="normalises the features"):
        write(read(digits), digits, tmp_path, Plan("onnx-asr"))


def test_a_model_that_is_told_its_language_is_not_exported(tmp_path: Path) -> None:
    path = build("multilingual", tmp_path)
    with pytest.raises(UnsupportedError, match="told its language"):
        write(read(path), path, tmp_path, Plan())


@pytest.mark.slow
def test_weights_beyond_what_a_protobuf_holds_are_written_and_run(tmp_path: Path) -> None:
    size = 1 << 28
    with WeightsFile(tmp_path / "large.weights") as file:
        graph = Graph("large", file)
        x = graph.input("x", ("batch", 4))
        for number in range(3):
            weight = graph.weight(f"w{number}", np.full((size // 4, 4), number + 1, np.float32))
            x = graph("Add", x, graph("Gather", weight, graph.whole(size // 4 - 1)))
        graph.output("y", ("batch", 4))
        graph("Identity", x, out="y")
        graph.save(tmp_path / "large.onnx", {})
    assert (tmp_path / "large.weights").stat().st_size > 1 << 31
    session = Session(tmp_path / "large.onnx", SessionSettings(), {"batch": 1})
    assert session.run(np.zeros((2, 4), np.float32))[0].tolist() == [[6.0] * 4] * 2


def test_a_report_is_kept_as_json(tmp_path: Path) -> None:
    Report("failed", ("because",), (), {"frames": 1.0}, 3).write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["reasons"] == ["because"]
