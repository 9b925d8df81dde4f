"""OpenAI's own client holds transcription sessions with our server, over real sockets."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.realtime import (
    ConversationItemInputAudioTranscriptionCompletedEvent,
    ConversationItemInputAudioTranscriptionDeltaEvent,
    InputAudioBufferCommittedEvent,
    RealtimeErrorEvent,
    RealtimeTranscriptionSessionCreateRequest,
    SessionCreatedEvent,
    SessionUpdatedEvent,
)

from auricle.audio import PcmFormat
from tests.serve.openai_realtime_helpers import expected_text, noise

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection, RealtimeConnection
    from openai.types.realtime import RealtimeServerEvent

    from tests.serve.conftest import Running

INTENT = {"intent": "transcription"}
PACKET_BYTES = 4800
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
"""The SDK uses websockets in a way that websockets 17 advises against."""


def session(**audio_input: Any) -> Any:
    return {"type": "transcription", "audio": {"input": audio_input}}


def read_item(connection: RealtimeConnection) -> list[RealtimeServerEvent]:
    events = [connection.recv()]
    while not isinstance(events[-1], ConversationItemInputAudioTranscriptionCompletedEvent | RealtimeErrorEvent):
        events.append(connection.recv())
    return events


def append(connection: RealtimeConnection, data: bytes) -> None:
    for start in range(0, len(data), PACKET_BYTES):
        connection.input_audio_buffer.append(audio=base64.b64encode(data[start : start + PACKET_BYTES]).decode())


def test_the_sdk_gets_the_text_of_every_utterance_it_commits(server: Running) -> None:
    utterances = [noise(2.35, 1), noise(0.7, 2), noise(1.0, 3)]
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        client.realtime.connect(extra_query=INTENT) as connection,
    ):
        created = connection.recv()
        assert isinstance(created, SessionCreatedEvent)
        assert isinstance(created.session, RealtimeTranscriptionSessionCreateRequest)
        connection.session.update(session=session(turn_detection=None, transcription={"model": "null"}))
        assert isinstance(connection.recv(), SessionUpdatedEvent)
        previous = None
        for data in utterances:
            append(connection, data)
            connection.input_audio_buffer.commit()
            events = read_item(connection)
            *_, completed = events
            committed = next(event for event in events if isinstance(event, InputAudioBufferCommittedEvent))
            deltas = [e for e in events if isinstance(e, ConversationItemInputAudioTranscriptionDeltaEvent)]
            assert isinstance(completed, ConversationItemInputAudioTranscriptionCompletedEvent)
            assert completed.transcript == expected_text(data)
            assert "".join(delta.delta or "" for delta in deltas) == completed.transcript
            assert {delta.item_id for delta in deltas} == {completed.item_id} == {committed.item_id}
            assert committed.previous_item_id == previous
            assert completed.usage.type == "duration"
            assert completed.usage.seconds == pytest.approx(len(data) / 48_000, abs=0.001)
            previous = committed.item_id


@pytest.mark.parametrize(("kind", "encoding"), [("audio/pcmu", "mulaw"), ("audio/pcma", "alaw")])
def test_the_sdk_may_send_telephone_audio(server: Running, kind: str, encoding: Any) -> None:
    data = noise(1.3)[: 8000 * 2]
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        client.realtime.connect(extra_query=INTENT) as connection,
    ):
        connection.session.update(session=session(format={"type": kind}, turn_detection=None))
        append(connection, data)
        connection.input_audio_buffer.commit()
        completed = read_item(connection)[-1]
        assert isinstance(completed, ConversationItemInputAudioTranscriptionCompletedEvent)
        assert completed.transcript == expected_text(data, PcmFormat(encoding, 8000))


def test_many_sdk_sessions_side_by_side_get_each_their_own_text(server: Running) -> None:
    async def one(client: AsyncOpenAI, seed: int) -> tuple[str, str]:
        data = noise(1.7, seed)
        async with client.realtime.connect(extra_query=INTENT) as connection:
            await connection.session.update(session=session(turn_detection=None))
            for start in range(0, len(data), PACKET_BYTES):
                audio = base64.b64encode(data[start : start + PACKET_BYTES]).decode()
                await connection.input_audio_buffer.append(audio=audio)
            await connection.input_audio_buffer.commit()
            return await transcript(connection), expected_text(data)

    async def transcript(connection: AsyncRealtimeConnection) -> str:
        async for event in connection:
            assert not isinstance(event, RealtimeErrorEvent), event
            if isinstance(event, ConversationItemInputAudioTranscriptionCompletedEvent):
                return event.transcript
        raise AssertionError("the session ended")

    async def everyone() -> list[tuple[str, str]]:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            return await asyncio.gather(*(one(client, seed) for seed in range(20)))

    pairs = asyncio.run(everyone())
    assert [got for got, _ in pairs] == [wanted for _, wanted in pairs]
    assert len({got for got, _ in pairs}) == 20
