"""A proxy between the store and its server, which loses answers, holds questions back, and is slow.

It listens on loopback, and has two threads for each connection, which end with it.
"""

import argparse
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Hands on what comes, until it is told otherwise.

    Attributes:
        loses_answer_to: bytes; the answer to the next question that has them is lost, and with it
            the connection, once the server has given it
        holds_back: bytes; the next question that has them is held until `release`, and the
            connection is lost at once
        server_port: of the server to which the next connections go
        delay: seconds that everything that the server says takes longer

    """

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.loses_answer_to: bytes | None = None
        self.holds_back: bytes | None = None
        self.delay = 0.0
        self.has_lost = threading.Event()
        self._held: list[_Link] = []
        self._links: list[_Link] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.server_port))
                except OSError:
                    # It is down, and may come back.
                    client.close()
                    continue
                link = _Link(client, server)
                self._links.append(link)
                link.start(self._ask, self._answer)

    def _ask(self, link: "_Link") -> None:
        with suppress(OSError):
            while asked := link.client.recv(1 << 20):
                if self.loses_answer_to is not None and self.loses_answer_to in asked:
                    self.loses_answer_to = None
                    link.is_lost = True
                if self.holds_back is not None and self.holds_back in asked:
                    self.holds_back = None
                    link.held = asked
                    self._held.append(link)
                    _end(link.client)
                    self.has_lost.set()
                    return
                link.server.sendall(asked)
        _end(link.server)

    def _answer(self, link: "_Link") -> None:
        with suppress(OSError):
            while answer := link.server.recv(1 << 20):
                if link.held:
                    link.answer += answer
                    continue
                if link.is_lost:
                    self.has_lost.set()
                    break
                if self.delay:
                    time.sleep(self.delay)
                link.client.sendall(answer)
        _end(link.client)

    def release(self) -> bytes:
        """Let the server have what was held back, and return what it answers."""
        link = self._held.pop()
        link.server.sendall(link.held)
        link.server.shutdown(socket.SHUT_WR)
        link.join()
        return bytes(link.answer)

    def close(self) -> None:
        # What waits for a connection goes on when it is shut.
        _end(self._listening)
        self._listening.close()
        self._accepting.join()
        for link in self._links:
            link.close()


class _Link:
    """One connection, with its two threads."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_lost = False
        self.held = b""
        self.answer = bytearray()
        self._threads: list[threading.Thread] = []

    def start(self, *targets: Callable[["_Link"], None]) -> None:
        for target in targets:
            thread = threading.Thread(target=target, args=(self,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        _end(self.client)
        _end(self.server)
        self.join()
        self.client.close()
        self.server.close()


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


def main() -> None:
    """A slow proxy in a process of its own: prints its port, and ends with its input."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("port", type=int, help="of the server")
    parser.add_argument("delay", type=float, help="seconds that each answer takes longer")
    options = parser.parse_args()
    with proxy_to(options.port) as proxy:
        proxy.delay = options.delay
        sys.stdout.write(f"{proxy.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
