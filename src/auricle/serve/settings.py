"""The settings of `auricle serve`: one class, each field documented.

A flag wins over the environment (`AURICLE_PORT` for `port`), that over `ENGINE`, `ASR_PROVIDER` and `CHUNK_DURATION`
under their bare names, and those over the TOML file that `config` or AURICLE_CONFIG names. In the environment the
items of a list are parted by commas. A value that cannot be honoured is refused by name before anything is loaded.
"""

from __future__ import annotations

import os
import socket
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from auricle.engines.loading import LoadRequest
from auricle.engines.pool import usable_cpus
from auricle.errors import UnsupportedError, UsageError
from auricle.live.admission import AdmissionRules

if TYPE_CHECKING:
    from collections.abc import Mapping

BARE_NAMES = {"engine": "ENGINE", "device": "ASR_PROVIDER", "piece_s": "CHUNK_DURATION"}
ENGINE_ALIASES = {"sherpa": "sherpa-onnx"}
DEVICE_ALIASES = {"tensorrt": "trt"}


def _split(value: object) -> object:
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else value


Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """How to serve; frozen for the life of the server."""

    model_config = SettingsConfigDict(
        env_prefix="AURICLE_", env_ignore_empty=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    config: Path | None = None
    """TOML file with any of the other settings."""
    engine: str | None = None
    """Engine; `auricle doctor` lists them; None: the one that belongs to the model."""
    model: str | None = None
    """Model by name or path; None: the one that the engine carries."""
    device: str = "cpu"
    """cpu, cuda, cuda:N or trt."""
    precision: str | None = None
    """fp32, bf16, fp16 or int8; None: the engine's own choice."""
    threads: int | None = Field(None, ge=1)
    """CPU threads that each engine may use; None: its own choice, of several on the CPU an equal part of the cores."""
    beam: int | None = Field(None, ge=1)
    """Hypotheses that the decoder follows; None: the engine's own choice, the greedy one for FastConformer."""
    local_attention: int | None = Field(None, ge=1)
    """Encoder frames to each side that a frame sees, for long pieces of files; None: as the model was trained."""
    alias: Listed[str] = ()
    """More names under which the model is served, such as `whisper-1` for clients that cannot name another."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but a loopback address needs `api_keys`."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and tells it."""
    workers: int = Field(1, ge=1, le=256)
    """Front-end processes; more than one share the engine processes, and need a system with Unix sockets."""
    replicas: int = Field(1, ge=1, le=64)
    """Engine processes, each with the model; more than one need front-end processes, `workers` of them or one."""
    api_keys: Path | None = None
    """JSON file of keys, `["key", ...]` or `{"name": "key", ...}`; with it every caller needs one of them."""
    trusted_networks: Listed[IPv4Network | IPv6Network] = ()
    """Networks whose callers need no key, judged by the peer's address alone; not for use behind a proxy or tunnel."""

    allow_origins: Listed[str] = ()
    """Origins, such as `http://localhost:3000`, of pages elsewhere that may call where nobody needs a key."""

    admission: bool = True
    """Admit live streams by measured duty; off admits by their number alone."""
    calibrate: bool = True
    """Measure at start what live steps cost, so that admission knows it before the first client comes."""
    max_duty: float = Field(0.8, gt=0, le=1)
    """Share of time that the engine may be busy with live streams."""
    max_streams: int | None = Field(None, ge=0)
    """Live streams at once; None: as many as the engine has places for."""
    idle_s: float = Field(60.0, gt=0)
    """Seconds without audio after which a live session is ended."""
    session_s: float = Field(4 * 3600.0, gt=0)
    """Longest live session, in seconds of audio."""
    endpointing: Literal["voice", "words", "both"] = "words"
    """Silence of what ends the utterance of a live client that does not say; voice costs 1 ms of CPU per second."""
    buffer_s: float = Field(10.0, gt=0)
    """Seconds of a live session's audio that may wait before its client is slowed down."""
    grace_s: float = Field(30.0, ge=0)
    """Seconds within which a dropped live client may come back."""

    max_upload_mb: float = Field(512.0, gt=0)
    """Largest body of a request, in MB of 1,000,000 bytes."""
    upload_idle_s: float = Field(30.0, gt=0)
    """Seconds after which an upload that has stopped is given up."""
    max_audio_s: float = Field(4 * 3600.0, gt=0)
    """Longest recording in an upload, in seconds."""
    max_files: int = Field(32, ge=1)
    """Files at once that are uploaded, wait or are recognised; more are refused with 503."""
    files_at_once: int = Field(2, ge=1)
    """Files that are recognised at once; others wait."""
    piece_s: float = Field(30.0, ge=1, le=3600)
    """Longest piece in seconds into which a file is cut at silence; an engine with a lower limit has its own."""
    batch_size: int = Field(8, ge=1)
    """Pieces of one file recognised in one call."""
    skip_silence: bool = True
    """Leave out pieces of a file that hold no speech."""
    drain_s: float = Field(30.0, ge=0)
    """Seconds that live sessions and files get to finish when the server is told to stop."""

    @field_validator("engine")
    @classmethod
    def _engine_name(cls, value: str | None) -> str | None:
        return ENGINE_ALIASES.get(value, value) if value is not None else None

    @field_validator("device")
    @classmethod
    def _device_name(cls, value: str) -> str:
        return DEVICE_ALIASES.get(value.lower(), value.lower())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  part of the hook; no .env file is read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, AURICLE_*, bare names, file."""
        bare = {field: os.environ[name] for field, name in BARE_NAMES.items() if os.environ.get(name)}
        path = init_settings().get("config") or os.environ.get("AURICLE_CONFIG")
        file = _read_toml(Path(path)) if path else {}
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, bare),
            InitSettingsSource(settings_cls, file),
        )

    @property
    def request(self) -> LoadRequest:
        """What to load."""
        threads = self.threads
        if threads is None and self.replicas > 1 and self.device == "cpu":
            threads = max(1, usable_cpus() // self.replicas)
        chosen = (self.precision, threads, self.beam, self.local_attention, self.replicas)
        return LoadRequest(self.engine, self.model, self.device, *chosen)

    @property
    def has_processes(self) -> bool:
        """Whether front-ends and engines are processes of their own below a supervisor."""
        return self.workers > 1 or self.replicas > 1

    @property
    def admission_rules(self) -> AdmissionRules:
        """Who is let in."""
        return AdmissionRules(self.max_duty if self.admission else None, self.max_streams)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def load_settings(flags: Mapping[str, object]) -> Settings:
    """Gather the settings; `flags` win, those that are None were not given.

    Raises UsageError for an unknown setting or an unusable value, and for an address that needs keys and has none;
    UnsupportedError for several processes on a system without Unix sockets.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise _usage_error(error) from error
    if settings.has_processes and not hasattr(socket, "AF_UNIX"):
        asked = f"--workers {settings.workers} --replicas {settings.replicas}"
        raise UnsupportedError("several processes need Unix sockets", asked, "use --workers 1 --replicas 1")
    if not settings.is_loopback and settings.api_keys is None:
        raise UsageError("an address that others can reach needs keys", settings.host, "name a file with --api-keys")
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("settings file cannot be read", f"{path} ({error.strerror})", "check --config") from error
    except ValueError as error:
        raise UsageError("settings file is not TOML", f"{path} ({error})", "correct it") from error
    if "config" in content:
        raise UsageError("a settings file cannot name another", path, "remove config from it")
    return content


def _usage_error(error: ValidationError) -> UsageError:
    """Tell the first thing that is wrong; the value of a setting is never a secret."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return UsageError("unknown setting", name, f"choose from {', '.join(Settings.model_fields)}")
    return UsageError(f"setting {name} is not usable", f"{first['input']!r}", first["msg"])
