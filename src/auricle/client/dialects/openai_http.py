"""OpenAI's `POST /v1/audio/transcriptions` as a dialect: the whole recording is sent once it has been spoken."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auricle.client.connection import refusal, tls
from auricle.client.dialects.base import malformed, parse
from auricle.client.errors import ServerError
from auricle.client.events import Heard
from auricle.client.pacing import sleep_until
from auricle.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from auricle.client.clips import Clip
    from auricle.client.dialects.base import Target
    from auricle.client.events import StreamRecord
    from auricle.client.pacing import Clock, Schedule

PATH = "/v1/audio/transcriptions"
RATE = 16_000
HTTP_OK = 200


async def upload(
    target: Target,
    clip: Clip,
    schedule: Schedule,
    start_s: float,
    record: StreamRecord,
    observe: Callable[[Heard, float], None],
    clock: Clock,
) -> None:
    """Post a recording when its last sample is due, or at once in an unpaced schedule; one chunk, one final.

    Raises UsageError without a model, RefusedError for HTTP 429 and 503, ServerError for all else but a transcript.
    """
    import httpx

    if target.endpoints is not None:
        raise UsageError("an upload has no endpoints to choose", target.endpoints)
    if target.model is None:
        raise UsageError("an upload must name a model", target.url, "GET /v1/models tells which there are")
    fields = {"model": target.model, "response_format": "json", **dict(target.query)}
    if target.language is not None:
        fields["language"] = target.language
    headers = [*target.headers, *([] if target.key is None else [("Authorization", f"Bearer {target.key}")])]
    body = _wav(clip)
    offset_s = schedule.due_s(len(schedule) - 1) if len(schedule) else 0.0
    timeout = httpx.Timeout(target.finish_s, connect=target.connect_s)
    async with httpx.AsyncClient(verify=tls(), timeout=timeout, headers=headers) as client:
        if offset_s is not None:
            await sleep_until(start_s + offset_s, clock)
        now_s = clock()
        record.connect_s = record.ready_s = record.end_of_audio_s = now_s
        record.due_s.append(now_s if offset_s is None else start_s + offset_s)
        record.sent_s.append(now_s)
        try:
            response = await client.post(
                _address(target.url), data=fields, files={"file": ("audio.wav", body, "audio/wav")}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                record.ready_s = None
            found = f"{target.url} ({type(error).__name__} {error})"
            raise ServerError("the server did not answer", found, "is it running?") from error
    if response.status_code != HTTP_OK:
        raise refusal(response.status_code, response.headers.get("Retry-After"), response.text)
    text = parse(response.content).get("text")
    if not isinstance(text, str):
        raise malformed(response.text)
    heard, now_s = Heard(text, is_final=True, audio_s=clip.duration_s), clock()
    record.hear(heard, now_s)
    observe(heard, now_s)


def _address(url: str) -> str:
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}{PATH}"


def _wav(clip: Clip) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(clip.rate)
        out.writeframes(clip.pcm)
    return file.getvalue()
