"""The exceptions of Auricle; each says what went wrong, with which value, and what to do about it.

AuricleError
├── UsageError (ValueError)            the caller asked for something malformed; exit status 2
├── AudioError (ValueError)            a source holds no audio that can be decoded
├── CorpusError (ValueError)           a corpus or manifest is not usable
├── RecordError (ValueError)           the record of a run is damaged, too new, or holds what JSON cannot
├── UnsupportedError (ValueError)      an engine refuses a request that it cannot honour
├── NotInstalledError (ImportError)    an optional package is missing
├── ModelError (LookupError)           a model is unknown, missing, incomplete or damaged
├── DownloadError (OSError)            a transfer failed
├── EngineError (RuntimeError)         recognition failed
│   └── EngineCrashedError             the engine's process ended
└── CancelledError (RuntimeError)      the caller cancelled the work
"""

from __future__ import annotations


class AuricleError(Exception):
    """The base of every error that Auricle raises on purpose."""

    exit_status = 1

    def __init__(self, what: str, value: object = None, remedy: str | None = None) -> None:
        super().__init__(what, value, remedy)
        self.what = what
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        value = "" if self.value is None else f": {self.value}"
        remedy = "" if self.remedy is None else f" (hint: {self.remedy})"
        return " ".join(f"{self.what}{value}{remedy}".split())


class UsageError(AuricleError, ValueError):
    """The request itself is malformed."""

    exit_status = 2


class AudioError(AuricleError, ValueError):
    """A source holds no audio that can be decoded."""


class CorpusError(AuricleError, ValueError):
    """A corpus or manifest is not usable."""


class RecordError(AuricleError, ValueError):
    """The record of a run is damaged, too new for this version, or holds what JSON cannot."""


class UnsupportedError(AuricleError, ValueError):
    """An engine refuses a request that it cannot honour (device, precision, language, option)."""


class NotInstalledError(AuricleError, ImportError):
    """An optional package is missing."""


class ModelError(AuricleError, LookupError):
    """A model is unknown, missing, incomplete or damaged."""


class DownloadError(AuricleError, OSError):
    """A transfer failed."""


class EngineError(AuricleError, RuntimeError):
    """Recognition failed."""


class EngineCrashedError(EngineError):
    """The process that ran an engine ended."""


class EngineAbsentError(EngineCrashedError):
    """The process that runs an engine is not there, so it has not begun anything."""


class CancelledError(AuricleError, RuntimeError):
    """The caller cancelled the work."""
