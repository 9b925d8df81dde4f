"""The options of `auricle bench live`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Arrivals(StrEnum):
    """How streams come."""

    FIXED = "fixed"
    POISSON = "poisson"


class Admission(StrEnum):
    """Of a spawned server: `both` measures one after the other."""

    ON = "on"
    OFF = "off"
    BOTH = "both"


Server = Annotated[str | None, typer.Option(help="Address of a server: ws://, wss://, http:// or https://.")]
Spawn = Annotated[
    str | None, typer.Option(metavar="ARGS", help="Start `auricle serve ARGS` here, and measure it as well.")
]
Dialect = Annotated[
    str | None, typer.Option(help="deepgram, sherpa, openai-realtime or openai-http; otherwise by the address.")
]
CorpusName = Annotated[str, typer.Option(help="Name from `auricle corpus list`, manifest or folder.")]
Language = Annotated[str | None, typer.Option(help="Only utterances in this language.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first utterances.")]
Concurrency = Annotated[
    str | None,
    typer.Option(metavar="N,N,...", help="Live streams of each level; 1,2,4,8 unless capacity is sought."),
]
FindCapacity = Annotated[
    int | None, typer.Option(metavar="START", min=1, help="Search for the most streams that hold the bounds.")
]
ArrivalsOption = Annotated[
    Arrivals, typer.Option(help="fixed: as many at all times; poisson: at random, as many on average.")
]
Seconds = Annotated[float, typer.Option(help="Time of a level in which streams are started.")]
StreamSeconds = Annotated[
    float | None, typer.Option(help="Join utterances to streams of this length; otherwise one each.")
]
Gap = Annotated[float, typer.Option(help="Seconds of silence between joined utterances.")]
Tail = Annotated[float, typer.Option(help="Seconds of silence at the end of each stream.")]
ChunkMs = Annotated[int, typer.Option(min=1, help="Audio in a packet.")]
Speed = Annotated[float, typer.Option(help="Play so many times as fast as it was spoken.")]
Reference = Annotated[
    bool, typer.Option("--reference/--no-reference", help="First play all unpaced, one stream at a time.")
]
FinishS = Annotated[float, typer.Option(help="A stream that ends so late after its audio has failed.")]
SloFile = Annotated[Path | None, typer.Option(help="TOML or JSON file of bounds.")]
AdmissionOption = Annotated[
    Admission | None, typer.Option(help="Of the spawned server; off lets all in, so that overload shows.")
]
ServerCpus = Annotated[
    str | None, typer.Option(metavar="C,C,...", help="Cores that the spawned server may use; each is measured.")
]
Model = Annotated[str | None, typer.Option(help="Model to ask the server for.")]
TellLanguage = Annotated[bool, typer.Option("--tell-language", help="Tell the server the language.")]
Key = Annotated[str | None, typer.Option(envvar="AURICLE_KEY", help="Key of the server.")]
Header = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="HTTP header; repeatable.")]
Query = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the address; repeatable.")]
ServerPid = Annotated[int | None, typer.Option(help="Process of a server on this machine, to measure it.")]
Metrics = Annotated[str | None, typer.Option(help="Address of the server's Prometheus metrics.")]
Clients = Annotated[int | None, typer.Option(min=1, help="Load processes; otherwise by the load.")]
Normaliser = Annotated[str | None, typer.Option(help="none, basic, english, nonlatin; otherwise by language.")]
Seed = Annotated[int, typer.Option(help="Of programmes, phases, arrivals and the bootstrap.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
