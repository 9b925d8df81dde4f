"""The remote engine keeps the contract against this repository's own server, over HTTP and every live dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from auricle import cli
from auricle.audio import Audio
from auricle.corpus import open_corpus
from auricle.engines import null, remote
from auricle.engines.contract import LoadOptions
from auricle.trace import Tracer
from tests.client.servers import noise
from tests.engines.contract_suite import EngineContract, LiveContract, texts
from tests.engines.remote_servers import our_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auricle.engines.contract import Engine, Recognizer

SECONDS = (3.0, 1.23, 0.7)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with our_server(
        tmp_path_factory.mktemp("serve") / "log", "--set", "skip_silence=false", "--admission", "off"
    ) as place:
        yield place


def options(address: str) -> LoadOptions:
    return LoadOptions(address=address, device="remote")


class RemoteContract(EngineContract):
    hears_silence = True
    rate = 16_000
    address = ""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        return remote.ENGINE

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, server: str) -> LoadOptions:
        return options(cls.address.format(server))

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls) -> Sequence[Audio]:
        return [noise(seconds, seed, cls.rate) for seed, seconds in enumerate(SECONDS)]


class TestHttp(RemoteContract):
    address = "http://{}/v1#can=word_times,language"


class TestDeepgram(RemoteContract, LiveContract):
    address = "ws://{}/v1/listen?endpointing=false"

    @pytest.mark.slow
    def test_ten_minutes_are_recognised_or_refused_by_length(
        self, recognizer: Recognizer, speech: Sequence[Audio]
    ) -> None:
        super().test_ten_minutes_are_recognised_or_refused_by_length(recognizer, speech)


@pytest.mark.slow
class TestSherpa(RemoteContract, LiveContract):
    address = "ws://{}/#dialect=sherpa"


@pytest.mark.slow
class TestOpenAIRealtime(RemoteContract, LiveContract):
    address = "ws://{}/v1/realtime"
    rate = 24_000


@pytest.mark.parametrize("address", ["http://{}/v1", "ws://{}/v1/listen?endpointing=false"])
def test_a_file_is_transcribed_by_a_server(server: str, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    (utterance,) = open_corpus("demo").select(ids=["demo-short"]).utterances
    command = ["transcribe", str(utterance.audio), "--no-vad", "--engine", "remote", "--model", address.format(server)]
    assert cli.run(command) == 0
    spoken = utterance.load(null.SAMPLE_RATE)
    sent = Audio(np.round(spoken.samples * 32768) / np.float32(32768), spoken.rate)
    here = null.ENGINE.load(LoadOptions(), Tracer())
    assert capsys.readouterr().out.split() == texts(here, [sent])[0].split()
