"""NeMo keeps the contract, and says what Auricle's own runtime says of the same archive.

Run where NeMo is installed; see docs/engines.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auricle.corpus import open_corpus
from auricle.engines import fastconformer, nemo
from auricle.engines.contract import LoadOptions, TranscribeOptions
from auricle.errors import NotInstalledError
from auricle.models.store import shipped_path
from auricle.trace import Tracer
from tests.engines.contract_suite import EngineContract, LiveContract, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auricle.audio import Audio
    from auricle.engines.contract import Engine

needs_nemo = pytest.mark.skipif(not nemo.is_installed(), reason="needs NeMo")
RATE = 16_000


def digits(count: int) -> list[Audio]:
    return [utterance.load(RATE) for utterance in open_corpus("demo-digits").utterances[:count]]


@needs_nemo
@pytest.mark.filterwarnings("ignore")  # NeMo and what it is made of warn of many things
class TestNemo(EngineContract, LiveContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return nemo.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> LoadOptions:
        return LoadOptions(model=shipped_path("auricle-digits-en.nemo"))

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return digits(3)


@needs_nemo
@pytest.mark.filterwarnings("ignore")
def test_nemo_and_our_own_runtime_say_the_same() -> None:
    path, spoken = shipped_path("auricle-digits-en.nemo"), digits(8)
    theirs, ours = (one.ENGINE.load(LoadOptions(model=path), Tracer()) for one in (nemo, fastconformer))
    try:
        assert texts(theirs, spoken) == texts(ours, spoken)
        options = TranscribeOptions(word_times=True)
        timed = [one.transcribe(spoken[:1], options)[0].words for one in (theirs, ours)]
    finally:
        theirs.unload()
        ours.unload()
    assert [word.start for word in timed[0]] == pytest.approx([word.start for word in timed[1]], abs=0.081)


@pytest.mark.skipif(nemo.is_installed(), reason="NeMo is here")
def test_without_nemo_the_engine_says_what_to_install() -> None:
    (row,) = nemo.ENGINE.support()
    assert not row.usable
    assert "nemo-toolkit" in (row.remedy or "")
    with pytest.raises(NotInstalledError, match="nemo-toolkit"):
        nemo.ENGINE.load(LoadOptions(), Tracer())
