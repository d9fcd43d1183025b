"""A raw HTTP client for testing the fault server: a blocking socket that hides nothing.

Production clients retry, decode and correct; this one reports bytes, and how the peer left.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

TIMEOUT_S = 30.0


@dataclass
class Answer:
    """What came back, undecoded."""

    status_line: bytes
    headers: list[tuple[str, str]]
    body: bytes
    interim: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status, however the line is spaced."""
        found = re.match(rb"HTTP/1\.[01] (\d{3})", self.status_line)
        assert found, self.status_line
        return int(found[1])

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class RawClient:
    """One connection."""

    def __init__(self, url: str, *, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        self.sock = socket.create_connection((parts.hostname or "", parts.port or 0), TIMEOUT_S)
        self._host = parts.netloc
        self._buffer = b""
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            self.sock = context.wrap_socket(self.sock, server_hostname=parts.hostname)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a request as it is; Content-Length is added for a body unless given."""
        fields = {"Host": self._host, **(headers or {})}
        if body and "Content-Length" not in fields and "Transfer-Encoding" not in fields:
            fields["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.sock.sendall(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET and the whole answer."""
        self.send("GET", path, headers=headers)
        return self.answer()

    def until(self, end: bytes) -> bytes:
        """Everything up to and with `end`."""
        while end not in self._buffer:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    def exactly(self, count: int) -> bytes:
        """That many bytes; EOFError with what there was when the peer closes early."""
        while len(self._buffer) < count:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def rest(self) -> tuple[bytes, Literal["fin", "rst"]]:
        """Everything until the connection ends, and how it did."""
        try:
            while data := self.sock.recv(1 << 16):
                self._buffer += data
        except ConnectionResetError:
            return self._buffer, "rst"
        return self._buffer, "fin"

    def answer(self, *, body: bool = True) -> Answer:
        """One response with its interim ones; `body=False` after HEAD."""
        interim: list[bytes] = []
        while True:
            lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
            if not lines[0].startswith(b"HTTP/1.1 1"):
                break
            interim.append(lines[0])
        pairs = [line.decode("latin-1").partition(": ") for line in lines[1:]]
        answer = Answer(lines[0], [(name, value) for name, _, value in pairs], b"", interim)
        if body and answer.status not in (204, 304):
            answer.body = self._body(answer)
        return answer

    def _body(self, answer: Answer) -> bytes:
        if answer.header("transfer-encoding") == "chunked":
            pieces = list[bytes]()
            while size := int(self.until(b"\r\n"), 16):
                pieces.append(self.exactly(size))
                assert self.exactly(2) == b"\r\n"
            while self.until(b"\r\n") != b"\r\n":
                pass
            return b"".join(pieces)
        length = answer.header("content-length")
        return self.rest()[0] if length is None else self.exactly(int(length))
