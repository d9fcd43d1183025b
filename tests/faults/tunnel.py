"""An HTTP proxy that tunnels every CONNECT to one place, whatever host is asked for: AWS's hosts, on loopback."""

from __future__ import annotations

import contextlib
import selectors
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Tunnel:
    """A running proxy. `asked` has the head of each CONNECT."""

    url: str
    asked: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> list[str]:
        """The hosts that were asked for."""
        return [head.split()[1].rpartition(":")[0] for head in self.asked]


@contextlib.contextmanager
def tunnel(to: str, *, context: ssl.SSLContext | None = None) -> Iterator[Tunnel]:
    """A proxy to the server of a URL; with a server's context itself reached by TLS."""
    place = urlsplit(to)
    assert place.hostname is not None
    assert place.port is not None
    target = (place.hostname, place.port)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = self.request.recv(4096)
                if not piece:
                    return
                head += piece
            made.asked.append(head.decode("latin-1"))
            with socket.create_connection(target) as server:
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pipe(self.request, server)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, object]:
            client, address = super().get_request()
            return (client if context is None else context.wrap_socket(client, server_side=True)), address

    with Server(("127.0.0.1", 0), Handler) as server:
        scheme = "http" if context is None else "https"
        made = Tunnel(f"{scheme}://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def _pipe(left: socket.socket, right: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(left, selectors.EVENT_READ, right)
        selector.register(right, selectors.EVENT_READ, left)
        while True:
            for key, _ in selector.select(timeout=0.05):  # what TLS has read already wakes no selector
                try:
                    piece = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not piece:
                        return
                    key.data.sendall(piece)
                except OSError:
                    return
