"""Checks that every engine makes before it works, so that all refuse alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.errors import CancelledError, EngineError, UnsupportedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from auricle.audio import Audio
    from auricle.engines.contract import LoadOptions, ModelInfo, StreamOptions, TranscribeOptions


def check_request(info: ModelInfo, batch: Sequence[Audio], options: TranscribeOptions) -> None:
    """Raise UnsupportedError for audio or an option that the recogniser cannot honour."""
    for audio in batch:
        if audio.rate != info.sample_rate:
            raise UnsupportedError(
                f"{info.name} takes audio at {info.sample_rate} Hz",
                f"{audio.source} has {audio.rate} Hz",
                "let auricle.audio.load resample it",
            )
        if info.max_audio_s is not None and audio.duration_s > info.max_audio_s:
            raise UnsupportedError(
                f"{info.name} takes at most {info.max_audio_s:g} s at once",
                f"{audio.source} has {audio.duration_s:.1f} s",
                "split it with auricle.engines.longform",
            )
    _check_feature(info, "word_times", "word times", asked=options.word_times)
    _check_feature(info, "prompt", "a prompt", asked=options.prompt is not None)
    _check_feature(info, "keywords", "keywords", asked=bool(options.keywords))
    check_language(info, options.language)


def check_open(info: ModelInfo, options: StreamOptions) -> None:
    """Raise UnsupportedError for a stream that the recogniser cannot serve."""
    if info.streaming is None:
        raise UnsupportedError(f"{info.name} does not serve live streams", None, "choose a streaming model")
    if options.chunk_ms is not None and options.chunk_ms not in info.streaming.chunk_ms:
        known = ", ".join(map(str, info.streaming.chunk_ms))
        raise UnsupportedError(f"{info.name} has no chunk of this many ms", options.chunk_ms, f"choose from {known}")
    _check_feature(info, "word_times", "word times", asked=options.word_times)
    _check_feature(info, "keywords", "keywords", asked=bool(options.keywords))
    check_language(info, options.language)


def check_language(info: ModelInfo, language: str | None) -> None:
    """Raise UnsupportedError for a language the model does not know."""
    if language is not None and "*" not in info.languages and language not in info.languages:
        known = ", ".join(info.languages) or "none by name"
        raise UnsupportedError(f"{info.name} does not know this language", language, f"it knows {known}")


def check_choices(engine: str, options: LoadOptions) -> None:
    """Raise UnsupportedError for a beam, a window or an address, where an engine has no such choices."""
    check_local(engine, options)
    if options.beam is not None:
        raise UnsupportedError(f"{engine} has no choice of a beam", options.beam, "leave the beam out")
    if options.local_attention is not None:
        raise UnsupportedError(f"{engine} has no local attention", options.local_attention, "leave it out")


def check_local(engine: str, options: LoadOptions) -> None:
    """Raise UnsupportedError for the address of a server, where an engine runs models itself."""
    if options.address is not None:
        raise UnsupportedError(f"{engine} runs models itself", options.address, "use the engine remote for a server")


def check_cancelled(cancel: threading.Event | None) -> None:
    """Raise CancelledError once the caller has cancelled."""
    if cancel is not None and cancel.is_set():
        raise CancelledError("the work was cancelled")


def check_loaded(*, unloaded: bool) -> None:
    """Raise EngineError for a recogniser that was unloaded."""
    if unloaded:
        raise EngineError("the recogniser was unloaded", None, "load it again")


def _check_feature(info: ModelInfo, feature: str, spoken: str, *, asked: bool) -> None:
    if asked and feature not in info.features:
        raise UnsupportedError(f"{info.name} cannot give or take {spoken}", None, "leave this option out")
