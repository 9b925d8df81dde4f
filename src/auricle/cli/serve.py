"""`auricle serve`: files over HTTP and live streams over WebSocket."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.console import say
from auricle.errors import UsageError


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


def serve(
    engine: Annotated[str | None, typer.Option(help="Engine; `auricle doctor` lists them.")] = None,
    model: Annotated[str | None, typer.Option(help="Model by name or path; `auricle models list`.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or trt; cpu unless set.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16 or int8; see `auricle models check`.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads the engine may use.")] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="One more name for the model, such as whisper-1; repeatable.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address; 127.0.0.1 unless set; others need --api-keys.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8000 unless set, 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Front-end processes; 1 unless set.")] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            help="Engine processes, each with the model; 1 unless set. With more the front-end is a process too."
        ),
    ] = None,
    api_keys: Annotated[Path | None, typer.Option(help='JSON file of keys: ["key", ...].')] = None,
    admission: Annotated[
        Switch | None, typer.Option(help="Admit live streams by measured duty; on unless set.")
    ] = None,
    max_streams: Annotated[int | None, typer.Option(help="Live streams at once.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    other: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, such as max_upload_mb=100; repeatable."),
    ] = None,
) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what is open and exit.

    Settings come from flags, then AURICLE_<NAME> in the environment, then ENGINE, ASR_PROVIDER and CHUNK_DURATION, then
    the TOML file.
    """
    from auricle.serve.settings import load_settings

    flags: dict[str, object] = {
        "engine": engine,
        "model": model,
        "device": device,
        "precision": precision,
        "threads": threads,
        "alias": alias,
        "host": host,
        "port": port,
        "workers": workers,
        "replicas": replicas,
        "api_keys": api_keys,
        "admission": admission,
        "max_streams": max_streams,
        "config": config,
    }
    settings = load_settings(flags | dict(map(_pair, other or [])))
    if settings.has_processes:
        from auricle.serve.supervisor import supervise as run
    else:
        from auricle.serve.run import serve as run
    run(settings, say)
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError("not a setting", text, "write NAME=VALUE")
    return name.replace("-", "_"), value
