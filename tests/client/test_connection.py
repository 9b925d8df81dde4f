"""The WebSocket underneath: fragments, pings, sizes, and servers behind TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import serve

from auricle.client.connection import Address, connect, tls
from auricle.client.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection

WAIT_S = 30.0


class Log:
    """Listens and remembers."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.code: int | None = None
        self.heard = asyncio.Event()
        self.over = asyncio.Event()

    def message(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.heard.set()

    def full(self, is_full: bool) -> None:
        raise AssertionError(is_full)

    def closed(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        self.over.set()


def talk(handler: Callable[[ServerConnection], Awaitable[None]]) -> Log:
    """Connect to a server that does this, and listen until it closes."""

    async def main() -> Log:
        async with serve(handler, "127.0.0.1", 0, compression=None, max_size=None) as server:
            log = Log()
            port = server.sockets[0].getsockname()[1]
            connection = await connect(Address(f"ws://127.0.0.1:{port}/"), log, WAIT_S)
            async with asyncio.timeout(WAIT_S):
                await log.over.wait()
            with pytest.raises(ServerError, match=f"code {log.code}"):
                connection.send("too late")
        return log

    return asyncio.run(main())


def test_a_message_in_fragments_is_put_together() -> None:
    async def handler(socket: ServerConnection) -> None:
        async def parts() -> AsyncIterator[str]:
            for part in ("Gr", "üß", "e"):
                yield part

        await socket.send(parts())
        await socket.send([b"ab", b"", b"c"])
        await socket.send("whole")

    assert talk(handler).messages == ["Grüße", b"abc", "whole"]


def test_a_ping_is_answered() -> None:
    async def handler(socket: ServerConnection) -> None:
        await (await socket.ping(b"planted"))
        await socket.send("answered")

    assert talk(handler).messages == ["answered"]


def test_messages_before_the_close_are_heard_and_the_code_is_told() -> None:
    async def handler(socket: ServerConnection) -> None:
        for number in range(100):
            await socket.send(str(number))
        await socket.close(4321, "planted")

    log = talk(handler)
    assert log.messages == [str(number) for number in range(100)]
    assert (log.code, log.reason) == (4321, "planted")


def test_a_message_that_is_too_large_closes_the_connection() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send(b"x" * (1 << 25))
        await socket.wait_closed()

    log = talk(handler)
    assert log.messages == []
    assert log.code == 1009


def test_text_that_is_not_utf_8_closes_the_connection() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send(b"Gr\xfc\xdfe", text=True)
        await socket.wait_closed()

    log = talk(handler)
    assert log.messages == []
    assert log.code == 1007


def test_a_connection_that_is_cut_is_told_as_such() -> None:
    async def handler(socket: ServerConnection) -> None:
        socket.transport.abort()
        await socket.wait_closed()

    assert talk(handler).code == 1006


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_server_behind_tls_is_reached_when_its_certificate_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async def main() -> list[str | bytes]:
        async with serve(echo, "localhost", 0, ssl=context) as server:
            url = f"wss://localhost:{server.sockets[0].getsockname()[1]}/"
            with pytest.raises(ServerError, match="certificate"):
                await connect(Address(url), Log(), WAIT_S)
            tls.cache_clear()
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
            log = Log()
            connection = await connect(Address(url), log, WAIT_S)
            connection.send("hello")
            async with asyncio.timeout(WAIT_S):
                await log.heard.wait()
            await connection.close(WAIT_S)
            return log.messages

    try:
        assert asyncio.run(main()) == ["hello"]
    finally:
        tls.cache_clear()
