"""A server that says whatever a test wants, and writes down every byte that it hears."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

PATIENCE = 10  # seconds; longer than any client of the tests waits


class Peer:
    """The server's end of one connection. What it hears in plain text and in TLS is kept apart."""

    def __init__(self, connection: socket.socket) -> None:
        self.plain = bytearray()
        self.encrypted = bytearray()
        self._connection = connection
        self._connection.settimeout(PATIENCE)
        self._waiting = b""
        self._heard = self.plain

    def say(self, data: bytes) -> None:
        self._connection.sendall(data)

    def hear(self) -> bytes:
        """The next line, without its end; nothing when the client is gone."""
        while b"\n" not in self._waiting:
            data = self._connection.recv(4096)
            if not data:
                return b""
            self._heard += data
            self._waiting += data
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line.rstrip(b"\r")

    def answer(self, *replies: bytes) -> None:
        """One line heard, one reply given, for each reply."""
        for reply in replies:
            self.hear()
            self.say(reply)

    def start_tls(self, context: ssl.SSLContext) -> Self:
        self._connection = context.wrap_socket(self._connection, server_side=True)
        self._heard = self.encrypted
        return self

    def reset(self) -> None:
        """End the connection the hard way."""
        linger = b"\1\0\0\0\0\0\0\0"
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def finish(self) -> None:
        """Say nothing more; what the client still says is heard."""
        self._connection.shutdown(socket.SHUT_WR)

    def listen_on(self) -> None:
        """Say nothing more, and write down what comes until the client leaves."""
        with suppress(OSError):
            while data := self._connection.recv(4096):
                self._heard += data

    def close(self) -> None:
        self._connection.close()


Script = Callable[[Peer], None]


class ScriptedServer:
    """Runs one script for each connection; `peers` has them all."""

    def __init__(self, script: Script) -> None:
        self.peers: list[Peer] = []
        self._script = script
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    @property
    def plain(self) -> bytes:
        """Everything that clients sent in plain text."""
        return b"".join(bytes(peer.plain) for peer in self._finished())

    @property
    def encrypted(self) -> bytes:
        return b"".join(bytes(peer.encrypted) for peer in self._finished())

    def _finished(self) -> list[Peer]:
        for thread in self._threads[1:]:
            thread.join(PATIENCE)
        return self.peers

    def start(self) -> None:
        self._spawn(self._accept)

    def stop(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # stopped
            while True:
                connection, _ = self._socket.accept()
                peer = Peer(connection)
                self.peers.append(peer)
                self._spawn(lambda peer=peer: self._serve(peer))  # type: ignore[misc]

    def _serve(self, peer: Peer) -> None:
        with suppress(OSError):  # the client left in the middle of the script
            self._script(peer)
            peer.listen_on()
        peer.close()


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedServer]:
    server = ScriptedServer(script)
    server.start()
    try:
        yield server
    finally:
        server.stop()
