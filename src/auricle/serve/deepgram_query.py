"""The query of Deepgram's `/v1/listen`: each parameter is honoured or refused by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auricle.audio import Encoding, PcmFormat
from auricle.engines.contract import StreamOptions
from auricle.errors import UsageError
from auricle.live.endpoint import EndpointRules, VoiceRules, endpoint_rules
from auricle.serve.live_audio import is_direct
from auricle.serve.query import LiveQuery, Query, live_query

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from auricle.engines.contract import ModelInfo
    from auricle.live.endpoint import Endpointing
    from auricle.serve.service import Service

ENCODINGS: dict[str, Encoding] = {"linear16": "s16le", "linear32": "f32le", "mulaw": "mulaw", "alaw": "alaw"}
MS_PER_S = 1000
_ONLY_FALSE = (
    "punctuate", "smart_format", "diarize", "multichannel", "numerals", "profanity_filter", "dictation",
    "detect_entities", "detect_language", "filler_words", "measurements", "paragraphs", "utterances", "alternatives",
)  # fmt: skip
_NEVER = (
    "search", "replace", "redact", "callback", "callback_method", "diarize_model",
    "diarize_version", "language_hint", "tier", "custom_intent", "no_delay",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """What a client asks for."""

    pcm: PcmFormat
    stream: StreamOptions
    endpoints: EndpointRules
    interim_results: bool
    vad_events: bool
    utterance_end_s: float | None
    tags: tuple[str, ...]
    extra: dict[str, str]
    stamps: bool
    own: LiveQuery
    options: Counter[tuple[str, str]]


def read_query(items: Iterable[tuple[str, str]], service: Service) -> Listen:
    """Read the query; raises UsageError for what is malformed, unknown or cannot be honoured."""
    query, info = Query(items), service.recognizer.info
    query.refuse(_ONLY_FALSE, unless="false")
    query.refuse(_NEVER)
    query.refuse(["version"], unless="latest")
    query.flag("mip_opt_out")  # nothing is ever kept to train with, so both values are honoured
    check_model(query.text("model"), service)
    own = live_query(query)
    pcm = _pcm(query)
    interim, vad_events = query.flag("interim_results"), query.flag("vad_events")
    listen = Listen(
        pcm=pcm,
        stream=StreamOptions(
            own.chunk_ms, _language(query, info), "word_times" in info.features, _key_phrases(query, info)
        ),
        endpoints=_endpoints(query, service.settings.endpointing, vad_events=vad_events),
        interim_results=interim,
        vad_events=vad_events,
        utterance_end_s=_utterance_end_s(query, info, interim=interim),
        tags=query.many("tag"),
        extra=dict(_pair(value) for value in query.many("extra")),
        stamps=query.flag("stamps"),
        own=own,
        options=query.options,
    )
    query.end()
    if own.resumable and not is_direct(pcm, info.sample_rate):
        remedy = f"send linear16 or linear32 at {info.sample_rate} Hz with one channel"
        raise UsageError("resumable needs audio that is not converted", None, remedy)
    return listen


def check_model(name: str | None, service: Service) -> None:
    """Raise UsageError for a model that is not served; None is the one that is."""
    if name is not None and name not in service.model_names:
        raise UsageError("unknown model", name, f"this server has {', '.join(service.model_names)}")


def _pcm(query: Query) -> PcmFormat:
    encoding, rate = query.text("encoding"), query.number("sample_rate")
    channels = query.number("channels", 1, 64) or 1
    known = ", ".join(ENCODINGS)
    if encoding is None:
        raise UsageError("audio in containers is not supported live", None, f"name an encoding: {known}")
    if encoding not in ENCODINGS:
        raise UsageError("encoding is not supported", encoding, f"use one of {known}")
    if rate is None:
        raise UsageError("sample_rate is missing", None, "name it together with the encoding")
    return PcmFormat(ENCODINGS[encoding], rate, channels)


def _language(query: Query, info: ModelInfo) -> str | None:
    """Return the language in the model's terms: `en` for `en-GB` where it has no more."""
    language = query.text("language")
    if language is None or language in info.languages or "*" in info.languages:
        return language
    primary = language.partition("-")[0].lower()
    return primary if primary in info.languages else language


def _key_phrases(query: Query, info: ModelInfo) -> tuple[str, ...]:
    """Return the values of `keyterm`, and of the older `keywords` where they bring no weight of their own."""
    if "keywords" not in info.features:
        query.refuse(["keyterm", "keywords"])
    words = query.many("keywords")
    if weighted := [word for word in words if ":" in word]:
        raise UsageError("keywords take no weight here", weighted[0], "leave the colon and what follows it out")
    return query.many("keyterm") + words


def _endpoints(query: Query, by: Endpointing, *, vad_events: bool) -> EndpointRules:
    """Return the rules for `endpointing`: milliseconds without voice, `true` for our own, `false` for none.

    Absent leaves it to the server's setting. `vad_events` needs the detector even where voice ends nothing.
    """
    value = query.text("endpointing")
    if value is None:
        rules = endpoint_rules(by)
    elif value.lower() == "true":
        rules = endpoint_rules("voice")
    elif value.lower() == "false":
        rules = EndpointRules(silence_s=None, initial_s=None)
    else:
        ms = Query([("endpointing", value)]).number("endpointing", 1, 60_000) or 1
        rules = EndpointRules(None, None, voice=VoiceRules(silence_s=ms / MS_PER_S))
    if vad_events and rules.voice is None:
        return replace(rules, voice=VoiceRules(ends_utterance=False))
    return rules


def _utterance_end_s(query: Query, info: ModelInfo, *, interim: bool) -> float | None:
    ms = query.number("utterance_end_ms", 1, 60_000)
    if ms is None:
        return None
    if not interim:
        raise UsageError("utterance_end_ms needs interim_results", ms, "add interim_results=true")
    if "word_times" not in info.features:
        raise UsageError("utterance_end_ms needs word times, which this model has not", ms, "use endpointing")
    return ms / MS_PER_S


def _pair(value: str) -> tuple[str, str]:
    name, colon, content = value.partition(":")
    if not colon:
        raise UsageError("extra is not key:value", value, "write extra=key:value")
    return name, content
