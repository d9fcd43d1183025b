"""Checksums that those of parts don't make (SHA-256, SHA-1, MD5): of all content in order, as it becomes complete.

Parts come in any order, so what is summed up lies in its place already: memory or a file. That runs where blocking
calls run, in short steps. Once `stop` has returned nothing is read from the place any more.
"""

from __future__ import annotations

import hashlib
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from cumulo._drivers.effects import Call, Plan, Until

if TYPE_CHECKING:
    from cumulo._native import Request

    from .target import FileTarget

_STEP_BYTES = 1 << 20
"""A millisecond or two: signals, cancels and other threads wait no longer."""
_AT_ONCE_BYTES = 256 << 10
"""Content that is summed up where we are: a thread costs more than that."""


class Place(Protocol):
    """Where the content of an object goes."""

    def room(self, request: Request, start: int, length: int) -> None:
        """Give a request the place of that span of the content."""
        ...

    def rest(self, request: Request, start: int, length: int) -> Plan[None]:
        """The same for all that comes, once the headers are here; and wait for the end."""
        ...

    def piece(self, start: int, length: int) -> Any:
        """A buffer of what is there; a context manager. Blocks."""
        ...


class InMemory:
    """A writable buffer, or a `Bytes` that nobody else has yet."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory

    def room(self, request: Request, start: int, length: int) -> None:
        request.feed_into(self._memory, start, length)

    def rest(self, request: Request, start: int, length: int) -> Plan[None]:
        whole = request.prefetched
        if whole is None:
            self.room(request, start, length)
        yield Until(request)
        if whole is not None:  # there was no room when it came: it has memory of its own
            memoryview(self._memory)[start : start + length] = memoryview(whole)

    def piece(self, start: int, length: int) -> memoryview:
        return memoryview(self._memory)[start : start + length]


class InFile:
    """A file under way."""

    def __init__(self, target: FileTarget) -> None:
        self._target = target

    def room(self, request: Request, start: int, length: int) -> None:
        request.feed_file(self._target, start, length)

    def rest(self, request: Request, start: int, length: int) -> Plan[None]:
        self.room(request, start, length)
        yield Until(request)

    def piece(self, start: int, length: int) -> memoryview:
        return memoryview(self._target.read(start, length))


class Digest:
    """The checksum of what it is given, in order."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self._hash = hashlib.new(algorithm.lower(), usedforsecurity=False)

    def add(self, content: bytes) -> Plan[None]:
        """What comes next."""
        if len(content) <= _AT_ONCE_BYTES:
            self._hash.update(content)
        else:
            yield Call(self._add_all, content)

    def _add_all(self, content: bytes) -> None:
        for at in range(0, len(content), _STEP_BYTES):
            self.update(memoryview(content)[at : at + _STEP_BYTES])

    def update(self, piece: memoryview) -> None:
        """What comes next, here and now."""
        with piece:
            self._hash.update(piece)

    def value(self) -> bytes:
        """Of all that came."""
        return self._hash.digest()


class InOrder:
    """The checksum of the content of a place, of which part after part is complete."""

    def __init__(self, algorithm: str, place: Place) -> None:
        self._digest = Digest(algorithm)
        self._place = place
        self._parts: dict[int, int] = {}
        self._complete = 0
        self._summed = 0
        self._lock = Lock()
        self._stopped = False

    def has(self, start: int, length: int) -> None:
        """That span is complete."""
        self._parts[start] = start + length
        while (end := self._parts.pop(self._complete, None)) is not None:
            self._complete = end

    def go_on(self, most_bytes: int) -> Plan[None]:
        """Sum up more of what is complete: others wait meanwhile to be told of, and to be followed by the next."""
        end = min(self._complete, self._summed + most_bytes)
        if end > self._summed:
            yield Call(self._sum_up, end)

    def value(self) -> Plan[bytes]:
        """The checksum of all that is complete."""
        yield from self.go_on(self._complete)
        return self._digest.value()

    def _sum_up(self, end: int) -> None:
        while self._summed < end:
            with self._lock:
                if self._stopped:
                    return
                length = min(_STEP_BYTES, end - self._summed)
                self._digest.update(self._place.piece(self._summed, length))
                self._summed += length

    def stop(self) -> None:
        """Leave the place alone. Waits for the present step."""
        self._stopped = True
        with self._lock:
            pass
