"""A server that cannot start says why, in the words of what failed."""

from __future__ import annotations

import pytest

from auricle.errors import EngineError
from auricle.serve.app import create_app
from auricle.serve.run import Server
from auricle.serve.service import Service
from auricle.serve.settings import load_settings
from auricle.serve.system import listen
from tests.serve.live_helpers import FailingRecognizer


def test_an_engine_that_fails_when_it_is_measured_is_told_as_its_error() -> None:
    settings = load_settings({"port": 0})
    service = Service(settings, FailingRecognizer())
    with listen(settings) as listener, pytest.raises(EngineError, match="the device is lost"):
        Server(create_app(service), service).run([listener])
