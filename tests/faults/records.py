"""What the fault server saw: requests and connections, for tests to assert on.

Written by the server's thread only and read by tests: single attribute stores and list
appends, so no lock. Times are `time.monotonic()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import parse_qsl


@dataclass
class Request:
    """One request. It is listed when its head is in; the body's fields are filled once that has been read."""

    method: str
    target: str
    """Path and query exactly as on the request line."""
    version: str
    headers: list[tuple[str, str]]
    connection: int
    """The `Connection.id` it came by."""
    number: int
    """0 for the first request of its connection."""
    received: float
    body_length: int = 0
    body_sha256: str = ""
    body: bytes = b""
    """Kept up to the server's `keep_body` bytes; longer bodies leave it empty."""
    body_done: float | None = None
    status: int | None = None
    answered: float | None = None
    """When the whole response had been handed to the kernel; None when it was cut or the client left.
    Set a moment after the client may have it: `wait_for` it."""

    @property
    def path(self) -> str:
        """The raw path, without the query."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters, decoded."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass
class Connection:
    """One accepted TCP connection."""

    id: int
    listener: str
    """The listener's URL."""
    peer: tuple[str, int]
    opened: float
    requests: int = 0
    closed: float | None = None
    closed_by: Literal["peer", "server"] | None = None
    """Who ended it first."""
    reset_by_peer: bool = False
    tls_error: str | None = None

    def end(self, by: Literal["peer", "server"], at: float) -> None:
        """Note the end; only the first one counts."""
        if self.closed is None:
            self.closed, self.closed_by = at, by  # in this order: a test may look in between


@dataclass
class Connections:
    """All connections since the last reset."""

    all: list[Connection] = field(default_factory=list)
    most_open: int = 0
    """At any time, as the kernel knows."""

    def add(self, connection: Connection, established: int) -> None:
        """Note a new one, and how many there are with it."""
        self.most_open = max(self.most_open, established)
        self.all.append(connection)

    @property
    def open(self) -> int:
        """How many neither side has closed, as far as the server has read."""
        return self._count(lambda connection: connection.closed_by is None)

    @property
    def accepted(self) -> int:
        """How many were accepted."""
        return len(self.all)

    @property
    def closed_by_peer(self) -> int:
        """How many the client closed first."""
        return self._count(lambda connection: connection.closed_by == "peer")

    @property
    def closed_by_server(self) -> int:
        """How many the server closed first."""
        return self._count(lambda connection: connection.closed_by == "server")

    @property
    def tls_failures(self) -> list[Connection]:
        """Those whose handshake failed."""
        return [connection for connection in list(self.all) if connection.tls_error]

    def _count(self, condition: Callable[[Connection], bool]) -> int:
        return sum(1 for connection in list(self.all) if condition(connection))
