"""What a server process needs of the system: its address, its logs, and enough files."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from typing import TYPE_CHECKING

from auricle.errors import UsageError

if TYPE_CHECKING:
    from auricle.engines.contract import ModelInfo
    from auricle.serve.settings import Settings

YOUNG_OBJECTS, MIDDLE_ROUNDS, OLD_ROUNDS = 20_000, 20, 100
"""New objects between two young collections, and how many of one kind come before one of the next."""
SHARES_PORTS = sys.platform == "linux"
"""Whether the system spreads connections evenly over the processes that listen on one port."""


def listen(settings: Settings) -> socket.socket:
    """Bind the address of the settings; raises UsageError when that cannot be done. It does not accept yet."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return _bound(family, address)
    except OSError as error:
        remedy = "choose another --host or --port"
        raise UsageError("cannot listen", f"{settings.host} port {settings.port} ({error.strerror})", remedy) from error


def reserve(settings: Settings) -> socket.socket:
    """Bind the address for several processes, each of which calls `join` on what this returns; raises UsageError."""
    listener = listen(settings)
    if not SHARES_PORTS:
        return listener
    family, address = listener.family, listener.getsockname()
    listener.close()  # it has shown that nobody else is there, also nobody who shares ports
    return _bound(family, address, shared=True)


def join(reserved: socket.socket) -> socket.socket:
    """Return the socket on which one of several processes accepts connections; not listening yet."""
    if not SHARES_PORTS:
        return reserved
    return _bound(reserved.family, reserved.getsockname(), shared=True)


def announcement(info: ModelInfo, listener: socket.socket, replicas: int = 1) -> str:
    """Return what a server tells when it listens."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    how = [info.engine, info.device, info.precision]
    if replicas > 1:
        how.append(f"{replicas} replicas" if info.threads is None else f"{replicas} replicas x {info.threads} threads")
    return f"serving {info.name} ({', '.join(how)}) on http://{shown}:{port}"


def configure_logs() -> None:
    """Log to stderr; uvicorn's own lines quote query strings, where clients put keys, so only its warnings show."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("uvicorn", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("auricle.picows").setLevel(logging.CRITICAL)  # what clients do wrong is no news


def collect_seldom() -> None:
    """Leave what is loaded by now out of garbage collection, and collect all else seldom.

    With 1,500 live streams a full collection stops them all for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, MIDDLE_ROUNDS, OLD_ROUNDS)


def allow_many_connections() -> None:
    """Raise the limit of open files, which is often 1,024, to what the system permits; every client needs one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != resource.RLIM_INFINITY:  # macOS refuses to set an infinite limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _bound(family: int, address: tuple[object, ...], *, shared: bool = False) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
