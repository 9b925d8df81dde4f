"""What the FastConformer engine loads, what it refuses, and how many threads it takes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from auricle.audio import Audio
from auricle.engines import fastconformer
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.engines.loading import LoadRequest, load
from auricle.errors import ModelError, UnsupportedError
from auricle.models.catalogue import get
from auricle.models.store import is_built_in
from auricle.trace import Tracer
from tests.fastconformer.checkpoints import RATE_HZ, build, recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auricle.engines.fastconformer_recognizer import FastConformerRecognizer

MISSING = [package for package in ("torch", "sentencepiece", "yaml") if find_spec(package) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed; pip install 'auricle[torch]'")

PLAIN = TranscribeOptions()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("rnnt", tmp_path_factory.mktemp("archive"))


@pytest.fixture
def loaded(archive: Path) -> Iterator[FastConformerRecognizer]:
    recognizer = fastconformer.ENGINE.load(LoadOptions(archive, threads=1), Tracer())
    yield recognizer
    recognizer.unload()


@pytest.mark.parametrize(("device", "precision"), [("cuda", None), ("cpu", "bf16"), ("cpu", "int8"), ("cpu", "fp16")])
def test_what_is_not_there_yet_is_refused(archive: Path, device: str, precision: str | None) -> None:
    request = LoadRequest("fastconformer", str(archive), device, precision)
    with pytest.raises(UnsupportedError, match=device if precision is None else precision):
        load(request, Tracer())


def test_the_number_of_threads_is_honoured_in_every_thread_and_brought_back(archive: Path) -> None:
    import torch

    before = torch.get_num_threads()
    recognizer = fastconformer.ENGINE.load(LoadOptions(archive, threads=before + 1), Tracer())

    def threads_of(_: int) -> int:
        torch.set_num_threads(before)
        recognizer.transcribe([Audio(recording(20_000), RATE_HZ)], PLAIN)
        return torch.get_num_threads()

    try:
        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(threads_of, range(2))) == [before + 1] * 2
    finally:
        recognizer.unload()
    assert recognizer.info.threads == before + 1
    assert torch.get_num_threads() == before


def test_two_models_of_one_process_cannot_have_different_numbers_of_threads(
    loaded: FastConformerRecognizer, archive: Path
) -> None:
    with pytest.raises(UnsupportedError, match="one number of threads in a process: 3 wanted, 1 held"):
        fastconformer.ENGINE.load(LoadOptions(archive, threads=3), Tracer())
    other = fastconformer.ENGINE.load(LoadOptions(archive), Tracer())
    assert other.info.threads == loaded.info.threads == 1
    other.unload()


def test_a_model_that_fails_to_load_holds_no_threads(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.nemo").write_bytes(b"no archive")
    with pytest.raises(ModelError, match="damaged"):
        fastconformer.ENGINE.load(LoadOptions(tmp_path / "bad.nemo", threads=3), Tracer())
    recognizer = fastconformer.ENGINE.load(LoadOptions(archive, threads=2), Tracer())
    recognizer.unload()


def test_what_was_loaded_is_told_in_full(loaded: FastConformerRecognizer) -> None:
    info = loaded.info
    assert (info.name, info.family, info.files) == ("rnnt", "FastConformer RNN-T", ("rnnt.nemo",))
    assert info.parameters is not None
    assert info.parameters <= sum(group.count for group in info.weights)
    assert info.languages == ()
    assert info.features == {"word_times", "confidence", "keywords"}


def test_a_folder_must_hold_one_archive(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no `\.nemo` archive in the model folder"):
        fastconformer.ENGINE.load(LoadOptions(tmp_path), Tracer())
    (tmp_path / "a.nemo").write_bytes(archive.read_bytes())
    recognizer = fastconformer.ENGINE.load(LoadOptions(tmp_path, threads=1), Tracer())
    recognizer.unload()
    assert recognizer.info.files == ("a.nemo",)
    (tmp_path / "b.nemo").write_bytes(archive.read_bytes())
    with pytest.raises(ModelError, match=r"several `\.nemo` archives.*a\.nemo, b\.nemo"):
        fastconformer.ENGINE.load(LoadOptions(tmp_path), Tracer())


def run_without(package: str, code: str) -> str:
    """Run a program in which a package is not installed."""
    program = f"import sys; sys.modules[{package!r}] = None; {code}"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("package", "named"), [("torch", "torch"), ("sentencepiece", "sentencepiece"), ("yaml", "pyyaml")]
)
def test_a_missing_package_is_named_with_what_installs_it(archive: Path, package: str, named: str) -> None:
    code = (
        "from pathlib import Path; from auricle.engines.fastconformer import ENGINE\n"
        "from auricle.engines.contract import LoadOptions; from auricle.errors import NotInstalledError\n"
        "from auricle.trace import Tracer\n"
        f"try: ENGINE.load(LoadOptions(Path({str(archive)!r})), Tracer())\n"
        "except NotInstalledError as error: print(error)\n"
        "print(ENGINE.support())"
    )
    told, support = run_without(package, code).splitlines()
    assert told == f"FastConformer models need a package: {named} (hint: pip install 'auricle[torch]')"
    assert "usable=False" in support
    assert named in support


def test_importing_the_engine_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'sentencepiece', 'yaml', 'numpy'}"
    code = f"import auricle.engines.fastconformer, sys; print({heavy} & set(sys.modules) - {{'pocketsphinx'}})"
    assert run_without("pocketsphinx", code) == "set()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_memory_that_runs_out_within_torch_is_an_error_of_the_engine(archive: Path) -> None:
    code = (
        "import resource, numpy as np, psutil; from pathlib import Path\n"
        "from auricle.audio import Audio; from auricle.engines.fastconformer import ENGINE\n"
        "from auricle.engines.contract import LoadOptions, TranscribeOptions; from auricle.errors import EngineError\n"
        "from auricle.trace import Tracer\n"
        f"recognizer = ENGINE.load(LoadOptions(Path({str(archive)!r}), threads=1), Tracer())\n"
        "recognizer.transcribe([Audio(np.zeros(16_000, np.float32), 16_000)], TranscribeOptions())\n"
        "limit = psutil.Process().memory_info().vms + 100_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try: recognizer.transcribe([Audio(np.zeros(16_000_000, np.float32), 16_000)], TranscribeOptions())\n"
        "except EngineError as error: print(error)"
    )
    assert run_without("pocketsphinx", code).startswith("the stage 'features' failed: ")


def test_without_a_model_the_one_that_comes_with_the_package_is_loaded_or_missed_by_name() -> None:
    name = fastconformer.DEFAULT_MODEL
    for request in (LoadRequest("fastconformer", threads=1), LoadRequest(model=name, threads=1)):
        if not is_built_in(get(name)):
            with pytest.raises(ModelError, match=f"lacks a checkpoint.*{name}.nemo"):
                load(request, Tracer())
            continue
        recognizer = load(request, Tracer())
        recognizer.unload()
        assert (recognizer.info.name, recognizer.info.languages) == (name, ("en",))
