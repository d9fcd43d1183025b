"""Responses in chunks whose length shows at their end only (RFC 9112 7.1), as programs send them.

What is short is read before `get` returns, so that its metadata is complete. What is long is streamed: its size is -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan
from cumulo._native import Bytes
from cumulo._result import GetResult, HeldBody, RequestBody
from cumulo.exceptions import RangeNotSatisfiableError

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.http import HTTPProvider

    from .get import Wanted

HELD_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20


def result(provider: HTTPProvider, path: str, request: Request, wanted: Wanted) -> Plan[GetResult]:
    """The result of a `get` whose response has no length. A range is cut out of it here."""
    body = RequestBody(request)
    pieces: list[bytes] = []
    held = 0
    while held < HELD_BYTES:
        piece = yield from body.next_chunk(_PIECE_BYTES)
        if piece is END:
            return _whole(provider, path, request, wanted, b"".join(pieces))
        pieces.append(piece)
        held += len(piece)
    if wanted.range is not None:  # of no use before its end: who asks for a range has room for what is before it
        while (piece := (yield from body.next_chunk(_PIECE_BYTES))) is not END:
            pieces.append(piece)
        return _whole(provider, path, request, wanted, b"".join(pieces))
    meta = provider.meta(path, request, -1)
    return GetResult(_LongBody(b"".join(pieces), body), meta, (0, -1), provider.attributes(request))


def _whole(provider: HTTPProvider, path: str, request: Request, wanted: Wanted, content: bytes) -> GetResult:
    meta = provider.meta(path, request, len(content))
    start, end = _span(wanted, len(content))
    if wanted.range is not None and start >= end:
        raise RangeNotSatisfiableError(
            f"get {path!r} in {request.context.store!r}: the range begins where the object has ended", path=path
        )
    return GetResult(HeldBody(Bytes(content)[start:end]), meta, (start, end), provider.attributes(request))


def _span(wanted: Wanted, size: int) -> tuple[int, int]:
    if wanted.range is None:
        return 0, size
    kind, start, end = wanted.range
    if kind == "suffix":
        return max(0, size - end), size
    return min(start, size), min(end, size) if kind == "bounded" else size


class _LongBody:
    """What was held, then what is still to come."""

    def __init__(self, held: bytes, rest: RequestBody) -> None:
        self._held = held
        self._at = 0
        self._rest = rest

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        if self._at == len(self._held):
            self._held, self._at = b"", 0
            return (yield from self._rest.next_chunk(chunk_bytes))
        piece = self._held[self._at : self._at + chunk_bytes]
        self._at += len(piece)
        return piece

    def close(self) -> None:
        self._rest.close()

    def collect(self) -> Plan[Bytes]:
        pieces: list[bytes] = []
        while (piece := (yield from self.next_chunk(HELD_BYTES))) is not END:
            pieces.append(piece)
        return Bytes(b"".join(pieces))
