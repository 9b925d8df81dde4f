"""What the tests of Deepgram's dialect share: connections, and what is in the messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.live.spoken import pcm_of, planted
from tests.serve.live_helpers import WAIT_S, finals

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from websockets.sync.client import ClientConnection

    from tests.serve.conftest import Running

CLOSE, FINALIZE, KEEP_ALIVE = '{"type":"CloseStream"}', '{"type":"Finalize"}', '{"type":"KeepAlive"}'


def listen(server: Running, headers: dict[str, str] | None = None, **query: Any) -> ClientConnection:
    options = urlencode({"encoding": "linear16", "sample_rate": 16_000, **query}, doseq=True)
    return connect(f"{server.ws_url}/v1/listen?{options}", additional_headers=headers, open_timeout=WAIT_S)


def refused(server: Running, **query: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        enter(listen(server, **query))
    return caught.value


def enter(connection: AbstractContextManager[Any]) -> None:
    with connection:
        pytest.fail("the server let the connection in")


def speech(seconds: float) -> NDArray[np.int16]:
    """Return 16-bit speech that begins at once."""
    return pcm_of(planted("demo-sentence-08", "demo-sentence-04").samples)[: round(seconds * 16_000)]


def transcript(messages: list[Any]) -> str:
    return " ".join(message["channel"]["alternatives"][0]["transcript"] for message in finals(messages)).strip()


def of_type(messages: list[Any], kind: str) -> list[Any]:
    return [message for message in messages if message["type"] == kind]
