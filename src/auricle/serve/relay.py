"""Clients that come back reach any front-end; the one that accepted passes the connection to the one they left.

The token of a session begins with the number of its front-end. What is passed is the open socket and the request that
was read from it, in one datagram on a Unix socket in the server's private folder; the other front-end then serves the
client as if it had accepted it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from auricle.serve.upgrade import Opening

    Serve = Callable[[Opening], Awaitable[None]]

MOST_REQUEST_BYTES = 1 << 17
PATIENCE_S = 2.0
PAUSE_S = 0.01
log = logging.getLogger("auricle.serve")


class Relay:
    """One front-end of several, by its number; `folder` is private to the server."""

    def __init__(self, folder: Path, number: int, workers: int) -> None:
        self.number = number
        self._paths = {str(other): folder / f"front-end-{other}.sock" for other in range(workers)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()

    def token(self, secret: str) -> str:
        """Return the token of a session here."""
        return f"{self.number}.{secret}"

    def listen(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Serve what the others pass on from now on, each with a protocol of its own, which is given the request."""
        path = self._paths[str(self.number)]
        with suppress(FileNotFoundError):
            path.unlink()  # of the process that had this number before
        self._socket.bind(str(path))
        asyncio.get_running_loop().add_reader(self._socket, self._receive, make)

    def around(self, serve: Serve) -> Serve:
        """Return `serve` for the clients that stay here."""

        async def passing(opening: Opening) -> None:
            owner = opening.request.query_params.get("resume", "").partition(".")[0]
            if owner == str(self.number) or not await self._passed(opening, self._paths.get(owner)):
                await serve(opening)

        return passing

    def stop(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    async def _passed(self, opening: Opening, path: Path | None) -> bool:
        """Pass a client on; return whether the other took it, which a process that is gone cannot."""
        if path is None:
            return False
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        opening.pass_on(lambda request, number: self._send(path, request, number))
                    except BlockingIOError:  # many come at once
                        await asyncio.sleep(PAUSE_S)
                    else:
                        return True
        return False

    def _send(self, path: Path, request: bytes, number: int) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [number]))
        self._socket.sendmsg([request], [rights], 0, str(path))  # socket.send_fds forgets the address

    def _receive(self, make: Callable[[], asyncio.Protocol]) -> None:
        with suppress(BlockingIOError):
            request, numbers, _, _ = socket.recv_fds(self._socket, MOST_REQUEST_BYTES, 1)
            for number in numbers:
                task = asyncio.get_running_loop().create_task(_take(make, socket.socket(fileno=number), request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)


async def _take(make: Callable[[], asyncio.Protocol], connection: socket.socket, request: bytes) -> None:
    connection.setblocking(False)
    try:
        _, protocol = await asyncio.get_running_loop().connect_accepted_socket(make, connection)
    except OSError as error:
        log.info("a client that was passed on is gone: %s", error)
        connection.close()
        return
    protocol.data_received(request)
