"""What a transcription request may ask for, and the bodies that answer it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, PlainTextResponse

from auricle.engines.checks import check_language
from auricle.engines.contract import TranscribeOptions
from auricle.errors import UnsupportedError
from auricle.serve.errors import RequestError
from auricle.writers import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.datastructures import FormData
    from starlette.responses import Response

    from auricle.engines.contract import Feature, ModelInfo
    from auricle.transcript import Transcript

PLAIN = {"text": ("txt", "text/plain"), "srt": ("srt", "application/x-subrip"), "vtt": ("vtt", "text/vtt")}
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
TIMED = {"srt", "vtt"}
GRANULARITIES = ("word", "segment")
REFUSED = {
    "languages[]": "name one with language",
    "include[]": "log probabilities are not known",
    "known_speaker_names[]": "speakers are not told apart",
    "known_speaker_references[]": "speakers are not told apart",
}
SINGLE = (
    "file", "model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy",
)  # fmt: skip
REPEATED = ("timestamp_granularities[]", "keywords[]")
LIVE_ROUTE = "open a WebSocket on /v1/realtime?intent=transcription, or leave stream out"


@dataclass(frozen=True, slots=True)
class FileRequest:
    """One upload and what is wanted of it; `granularities` is empty when the client named none."""

    upload: UploadFile
    form: str
    granularities: tuple[str, ...]
    options: TranscribeOptions


def read_form(form: FormData, info: ModelInfo, model_names: Sequence[str]) -> FileRequest:
    """Check every field of a transcription request; what cannot be honoured is refused by name with RequestError."""
    _check_names(form)
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise _bad("file", "missing_required_parameter", "no file was uploaded", None, "send it as a file part")
    fields = {name: value for name, value in form.multi_items() if isinstance(value, str) and value}
    check_model(fields.get("model"), model_names)
    _check_unsupported(fields)
    response_format = _response_format(fields.get("response_format", "json"))
    granularities = _granularities(_texts(form, "timestamp_granularities[]"), response_format)
    wants_words = "word" in granularities or (response_format in TIMED and "word_times" in info.features)
    keywords = _texts(form, "keywords[]")
    prompt, language = fields.get("prompt"), fields.get("language")
    _check_feature(info, "prompt", "prompt", asked=prompt is not None)
    _check_feature(info, "keywords", "keywords[]", asked=bool(keywords))
    _check_feature(info, "word_times", "timestamp_granularities[]", asked=wants_words)
    try:
        check_language(info, language)
    except UnsupportedError as error:
        raise RequestError(422, "unsupported", error.what, error.value, error.remedy, param="language") from error
    options = TranscribeOptions(language, word_times=wants_words, prompt=prompt, keywords=keywords)
    return FileRequest(upload, response_format, granularities, options)


def check_model(name: str | None, served: Sequence[str]) -> None:
    """Raise RequestError unless `name` is a model that is served."""
    if name is None:
        remedy = f"name {served[0]}"
        raise _bad("model", "missing_required_parameter", "no model was named", None, remedy)
    if name not in served:
        remedy = f"this server has {', '.join(served)}"
        raise RequestError(404, "model_not_found", "no such model", name, remedy, param="model")


def answer(request: FileRequest, transcript: Transcript, info: ModelInfo) -> Response:
    """Return the transcript in the format asked for."""
    if request.form in PLAIN:
        form, media_type = PLAIN[request.form]
        return PlainTextResponse(render(transcript, form), media_type=media_type)
    usage = {"type": "duration", "seconds": round(transcript.duration_s, 3)}
    if request.form == "json":
        return JSONResponse({"text": transcript.text, "usage": usage})
    fields = json.loads(render(transcript, "verbose_json"))
    if fields["language"] is None and len(info.languages) == 1 and info.languages[0] != "*":
        fields["language"] = info.languages[0]
    if request.granularities == ("word",):
        del fields["segments"]
    if "word" in request.granularities:
        fields.setdefault("words", [])
    return JSONResponse(fields | {"usage": usage})


def _check_names(form: FormData) -> None:
    for name in form:
        if name in REFUSED:
            raise _bad(name, "unsupported_parameter", f"{name} is not supported", None, REFUSED[name])
        if name not in SINGLE and name not in REPEATED:
            remedy = f"known are {', '.join((*SINGLE, *REPEATED))}"
            raise _bad(name[:60], "unknown_parameter", "unknown parameter", _shown(name), remedy)
        values = form.getlist(name)
        if name in SINGLE and len(values) > 1:
            raise _bad(name, "invalid_value", f"{name} was given {len(values)} times", None, "give it once")
        if name != "file" and not all(isinstance(value, str) for value in values):
            raise _bad(name, "invalid_value", f"{name} is a file", None, "send it as text")


def _check_unsupported(fields: dict[str, str]) -> None:
    """Refuse by name what no engine here does."""
    stream = fields.get("stream", "false").lower()
    if stream not in {"true", "false"}:
        raise _bad("stream", "invalid_value", "stream is true or false", _shown(stream), "leave it out")
    if stream == "true":
        raise _bad("stream", "unsupported_parameter", "files are not answered piece by piece", None, LIVE_ROUTE)
    if fields.get("chunking_strategy", "auto") != "auto":
        what, remedy = "only the chunking strategy auto is supported", "leave it out: files are cut at silence"
        raise _bad("chunking_strategy", "unsupported_value", what, None, remedy)
    temperature = fields.get("temperature", "0")
    try:
        is_zero = float(temperature) == 0
    except ValueError:
        raise _bad("temperature", "invalid_value", "temperature is not a number", _shown(temperature), "0") from None
    if not is_zero:
        what = "recognition does not sample, so there is no temperature but 0"
        raise _bad("temperature", "unsupported_value", what, _shown(temperature), "leave it out")


def _response_format(name: str) -> str:
    if name == "diarized_json":
        what, remedy = "diarized_json needs a diarizer, and this server has none", f"use one of {', '.join(FORMATS)}"
        raise _bad("response_format", "unsupported_value", what, None, remedy)
    if name not in FORMATS:
        remedy = f"use one of {', '.join(FORMATS)}"
        raise _bad("response_format", "invalid_value", "unknown response format", _shown(name), remedy)
    return name


def _granularities(names: tuple[str, ...], response_format: str) -> tuple[str, ...]:
    for name in names:
        if name not in GRANULARITIES:
            remedy = "use word or segment"
            raise _bad("timestamp_granularities[]", "invalid_value", "unknown granularity", _shown(name), remedy)
    if names and response_format != "verbose_json":
        what, remedy = "timestamps come with verbose_json alone", "set response_format to verbose_json"
        raise _bad("timestamp_granularities[]", "invalid_value", what, None, remedy)
    return tuple(dict.fromkeys(names))


def _texts(form: FormData, name: str) -> tuple[str, ...]:
    return tuple(value for value in form.getlist(name) if isinstance(value, str) and value)


def _check_feature(info: ModelInfo, feature: Feature, param: str, *, asked: bool) -> None:
    if asked and feature not in info.features:
        what = f"{info.name} cannot honour {param}"
        raise RequestError(422, "unsupported", what, None, "leave it out, or choose another model", param=param)


def _bad(param: str, code: str, what: str, value: object, remedy: str) -> RequestError:
    return RequestError(400, code, what, value, remedy, param=param)


def _shown(value: str) -> str:
    """Quote at most 60 characters of what the client sent."""
    return repr(value[:60])
