"""The settings of an OpenAI Realtime transcription session: read, checked, merged, and told, in the GA and beta forms.

What the engine cannot honour is refused by name. `delay` chooses the latency class among the chunk sizes that the
engine offers: `minimal` the smallest, `xhigh` the largest. `server_vad` ends an utterance by voice: when, after speech,
none was heard for `silence_duration_ms` of audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auricle.audio import PcmFormat
from auricle.engines.checks import check_open
from auricle.engines.contract import StreamOptions
from auricle.errors import UnsupportedError
from auricle.live.endpoint import EndpointRules, VoiceRules
from auricle.serve.openai_events import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auricle.audio import Encoding
    from auricle.engines.contract import ModelInfo

MS_PER_S = 1000
FORMATS: dict[str, tuple[Encoding, int]] = {
    "audio/pcm": ("s16le", 24_000),
    "audio/pcmu": ("mulaw", 8_000),
    "audio/pcma": ("alaw", 8_000),
}
BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
BETA_FIELDS = {
    "input_audio_format": "format",
    "input_audio_noise_reduction": "noise_reduction",
    "input_audio_transcription": "transcription",
    "turn_detection": "turn_detection",
}
Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
DELAYS: tuple[Delay, ...] = get_args(Delay)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Part = TypeVar("Part", bound=_Part)


class AudioFormat(_Part):
    """How audio is encoded; `rate` None is the only rate that the type has."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = None


class NoiseReduction(_Part):
    """Always refused."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


class Transcription(_Part):
    """What is to be recognised, and how soon."""

    model: str | None = None
    language: str | None = None
    languages: list[str] | None = None
    prompt: str | None = None
    keywords: list[str] | None = None
    delay: Delay | None = None


class TurnDetection(_Part):
    """When an utterance ends by itself; the fields that steer an assistant's response are refused."""

    type: Literal["server_vad", "semantic_vad"]
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0)
    silence_duration_ms: int = Field(default=500, gt=0)
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: int | None = None
    eagerness: str | None = None


class Input(_Part):
    """`session.audio.input`: all that can be set."""

    format: AudioFormat = AudioFormat()
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = Transcription()
    turn_detection: TurnDetection | None = TurnDetection(type="server_vad")


class _Audio(_Part):
    input: Input = Input()


class _Update(_Part):
    type: Literal["transcription"]
    audio: _Audio = _Audio()
    include: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What settings mean for the live session and for the audio on its way there."""

    options: StreamOptions
    endpoints: EndpointRules
    pcm: PcmFormat


def merged(current: Input, session: object) -> Input:
    """Apply the `session` of a session.update: what it names is replaced, within `transcription` field by field.

    Raises RequestError for what is malformed, unknown, or refused whatever the engine.
    """
    try:
        update = _Update.model_validate(session)
    except ValidationError as error:
        raise _request_error(error) from error
    _refuse(bool(update.include), "include", "log probabilities are not given")
    new = _overlaid(current, update.audio.input)
    if current.transcription is not None and update.audio.input.transcription is not None:
        transcription = _overlaid(current.transcription, update.audio.input.transcription)
        new = new.model_copy(update={"transcription": transcription})
    return new


def plan(wanted: Input, info: ModelInfo, model_names: Collection[str]) -> Plan:
    """Return how the settings are carried out; raises RequestError naming what this model cannot honour."""
    encoding, rate = FORMATS[wanted.format.type]
    prefix = "audio.input"
    wrong_rate = wanted.format.rate not in {None, rate}
    _refuse(wrong_rate, f"{prefix}.format.rate", f"{wanted.format.type} has {rate} Hz", wanted.format.rate)
    _refuse(wanted.noise_reduction is not None, f"{prefix}.noise_reduction", "audio is recognised as it comes")
    if wanted.transcription is None:
        raise RequestError(
            "transcription cannot be turned off here", "unsupported_value", f"session.{prefix}.transcription"
        )
    _check_transcription(wanted.transcription, info, model_names)
    if wanted.turn_detection is not None:
        _check_turn_detection(wanted.turn_detection)
    chunk_ms = None
    if wanted.transcription.delay is not None and info.streaming is not None:
        chunk_ms = chunk_for(wanted.transcription.delay, info.streaming.chunk_ms)
    keywords = tuple(wanted.transcription.keywords or ())
    options = StreamOptions(chunk_ms, wanted.transcription.language, keywords=keywords)
    try:
        check_open(info, options)
    except UnsupportedError as error:
        param = f"session.{prefix}.transcription.language"
        raise RequestError(error.what, "unsupported_value", param, error.value, error.remedy) from error
    return Plan(options, _endpoints(wanted.turn_detection), PcmFormat(encoding, rate))


def chunk_for(delay: Delay, chunk_ms: Sequence[int]) -> int:
    """Return the chunk size in ms for a delay: five classes spread evenly over the sizes, from smallest to largest."""
    sizes = sorted(chunk_ms)
    return sizes[round(DELAYS.index(delay) / (len(DELAYS) - 1) * (len(sizes) - 1))]


def from_beta(session: object) -> dict[str, Any]:
    """Turn the `session` of a transcription_session.update into that of a session.update; raises RequestError."""
    if not isinstance(session, dict):
        raise RequestError("session is not an object", "invalid_type", "session")
    given: dict[str, Any] = {}
    update: dict[str, Any] = {"type": "transcription", "audio": {"input": given}}
    for name, value in session.items():
        if name == "input_audio_format":
            if not isinstance(value, str) or value not in BETA_FORMATS:
                remedy = f"use one of {', '.join(BETA_FORMATS)}"
                raise RequestError("unknown audio format", "invalid_value", f"session.{name}", repr(value), remedy)
            given["format"] = {"type": BETA_FORMATS[value]}
        elif name in BETA_FIELDS:
            given[BETA_FIELDS[name]] = value
        elif name == "include":
            update[name] = value
        elif name != "modalities" or value not in (None, ["text"]):
            raise RequestError("not a setting of this session", "unknown_parameter", f"session.{name}")
    return update


def beta_param(param: str | None) -> str | None:
    """Return the beta form's name of a setting, given the GA form's."""
    for beta, name in BETA_FIELDS.items():
        path = f"session.audio.input.{name}"
        if param is not None and param.startswith(path):
            return f"session.{beta}{param.removeprefix(path)}"
    return param


def shown(settings: Input, info: ModelInfo) -> dict[str, Any]:
    """Return `audio.input` as the server tells it: with every default that is in effect."""
    transcription = {} if settings.transcription is None else settings.transcription.model_dump(exclude_none=True)
    turns = settings.turn_detection
    return {
        "format": {"type": settings.format.type, "rate": FORMATS[settings.format.type][1]},
        "noise_reduction": None,
        "transcription": {"model": info.name, **transcription},
        "turn_detection": None if turns is None else turns.model_dump(exclude_none=True),
    }


def shown_beta(settings: Input, info: ModelInfo) -> dict[str, Any]:
    """Return the settings as the beta form tells them."""
    told = shown(settings, info)
    session: dict[str, Any] = {beta: told[name] for beta, name in BETA_FIELDS.items()}
    names = {name: beta for beta, name in BETA_FORMATS.items()}
    return {**session, "input_audio_format": names[settings.format.type], "modalities": ["text"]}


def difference(current: Input, new: Input) -> str | None:
    """Name a setting that differs, None when all are the same."""
    changed = [name for name in Input.model_fields if getattr(current, name) != getattr(new, name)]
    return f"session.audio.input.{changed[0]}" if changed else None


def _overlaid(current: Part, update: Part) -> Part:
    return current.model_copy(update={name: getattr(update, name) for name in update.model_fields_set})


def _check_transcription(wanted: Transcription, info: ModelInfo, model_names: Collection[str]) -> None:
    prefix = "audio.input.transcription"
    if wanted.model is not None and wanted.model not in model_names:
        remedy = f"use {', '.join(model_names)}"
        raise RequestError("no such model here", "model_not_found", f"session.{prefix}.model", wanted.model, remedy)
    _refuse(bool(wanted.languages), f"{prefix}.languages", "name one language with `language`", wanted.languages)
    _refuse(bool(wanted.prompt), f"{prefix}.prompt", "live streams take no prompt")
    refused = bool(wanted.keywords) and "keywords" not in info.features
    _refuse(refused, f"{prefix}.keywords", "choose a model that takes keywords", wanted.keywords)


def _check_turn_detection(wanted: TurnDetection) -> None:
    prefix = "audio.input.turn_detection"
    _refuse(wanted.type == "semantic_vad", f"{prefix}.type", "use server_vad or null", wanted.type)
    for name in ("create_response", "interrupt_response", "idle_timeout_ms", "eagerness"):
        value = getattr(wanted, name)
        _refuse(value not in {None, False}, f"{prefix}.{name}", "a transcription session has no responses", value)


def _refuse(refused: bool, param: str, remedy: str, value: object = None) -> None:
    if refused:
        raise RequestError(f"{param} cannot be honoured", "unsupported_value", f"session.{param}", value, remedy)


def _endpoints(turns: TurnDetection | None) -> EndpointRules:
    if turns is None:
        return EndpointRules(None, None, None)
    voice = VoiceRules(threshold=turns.threshold, silence_s=turns.silence_duration_ms / MS_PER_S)
    return EndpointRules(None, None, voice=voice)


def _request_error(error: ValidationError) -> RequestError:
    """Tell the first thing that is wrong in OpenAI's terms."""
    first = error.errors(include_url=False)[0]
    codes = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}
    code = codes.get(first["type"], "invalid_type" if first["type"].endswith("_type") else "invalid_value")
    param = ".".join(["session", *map(str, first["loc"])])
    return RequestError(f"{param}: {first['msg']}", code, param)
