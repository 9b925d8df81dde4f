"""Servers that are not ours as an engine: files by OpenAI's HTTP interface, both by live dialects.

Nothing is computed here, so that the same bench measures services whose model, device and precision nobody tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auricle.engines.contract import ModelInfo, StreamingInfo, Support
from auricle.engines.loading import REMOTE
from auricle.errors import ModelError, UnsupportedError

if TYPE_CHECKING:
    from auricle.engines.contract import LoadOptions
    from auricle.engines.remote_address import RemoteAddress
    from auricle.engines.remote_files import RemoteRecognizer
    from auricle.engines.remote_live import RemoteStreamingRecognizer
    from auricle.trace import Tracer

UNKNOWN = "unknown"
FILES_RATE = 16_000
CHUNK_MS = (100, 20, 40, 80, 160, 200, 320, 560, 1120)


class RemoteEngine:
    """Asks a server that is named by its address; the key is read from the environment when it is needed."""

    name = REMOTE

    def support(self) -> list[Support]:
        """Usable everywhere: what computes is elsewhere, in a precision that it does not tell."""
        return [Support(REMOTE, UNKNOWN, usable=True)]

    def load(self, options: LoadOptions, tracer: Tracer) -> RemoteRecognizer | RemoteStreamingRecognizer:
        """Read the address, and ask an HTTP server for its models; raises as `Engine.load` says, and EngineError."""
        from auricle.engines.remote_address import read_address
        from auricle.engines.remote_files import RemoteRecognizer
        from auricle.engines.remote_http import HttpEndpoint
        from auricle.engines.remote_live import RemoteStreamingRecognizer

        _check(options)
        if options.address is None:
            remedy = "give --model https://HOST/v1, or wss://HOST/PATH for a live dialect"
            raise ModelError("the remote engine needs the address of a server", options.model, remedy)
        address = read_address(options.address)
        if address.is_live:
            return RemoteStreamingRecognizer(_describe_live(address), address, tracer)
        endpoint = HttpEndpoint(address)
        model = _choose(address, endpoint.models())
        return RemoteRecognizer(_describe(address, model), address, endpoint, model, tracer)


def _check(options: LoadOptions) -> None:
    if options.device != REMOTE:
        raise UnsupportedError("a server has its own device", options.device, f"use device {REMOTE}")
    if options.precision is not None:
        raise UnsupportedError("a server has its own precision", options.precision, "leave the precision out")
    if options.threads is not None:
        raise UnsupportedError("a server has its own threads", options.threads, "write #parallel= for requests at once")
    if options.beam is not None or options.local_attention is not None:
        raise UnsupportedError("a server has its own beam and attention", None, "leave them out")


def _choose(address: RemoteAddress, listed: tuple[str, ...] | None) -> str:
    """Return the model to ask for: the one that was named, or the only one that the server lists."""
    if address.model is not None:
        if listed and address.model not in listed:
            raise ModelError("the server has no such model", address.model, f"it lists {', '.join(listed[:10])}")
        return address.model
    if listed is None or len(listed) != 1:
        found = "none" if not listed else ", ".join(listed[:10])
        raise ModelError("which of the server's models is meant", address.where, f"write #model=; it lists {found}")
    return listed[0]


def _describe(address: RemoteAddress, model: str) -> ModelInfo:
    return ModelInfo(
        engine=REMOTE,
        name=f"{model} at {address.where}",
        family=UNKNOWN,
        languages=("*",) if "language" in address.can else (),
        sample_rate=FILES_RATE,
        device=REMOTE,
        precision=UNKNOWN,
        provider=address.dialect,
        workers=address.parallel,
        max_audio_s=address.max_audio_s,
        features=address.can,
        notes=("what the server can is as the address says (#can=), and is not checked before it is asked for",),
    )


def _describe_live(address: RemoteAddress) -> ModelInfo:
    from auricle.client.dialects import live

    takes_language = "language" in address.can and address.dialect != "sherpa"
    return ModelInfo(
        engine=REMOTE,
        name=f"{address.model} at {address.where}" if address.model else address.where,
        family=UNKNOWN,
        languages=("*",) if takes_language else (),
        sample_rate=live(address.dialect).default_rate,
        device=REMOTE,
        precision=UNKNOWN,
        provider=address.dialect,
        workers=address.parallel,
        features=frozenset({"language"} if takes_language else ()),
        streaming=StreamingInfo(CHUNK_MS, (0.0,) * len(CHUNK_MS), address.slots),
        notes=(
            "the server's lookahead is unknown: 0 ms is its lower bound",
            "a stream is a connection; a step whose chunk is the last waits for the server's final",
        ),
    )


ENGINE = RemoteEngine()
