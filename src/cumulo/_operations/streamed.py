"""Large bodies for their consumer: whole (see `parts.py`), or in order with parts under way ahead of the reader.

A stream begins with two parts and has more under way, up to its concurrency, as long as its reader waits for it; each
part beyond the one that is read takes its memory from the process's budget. No part is waited for that can't come, so
the budget can't block anybody.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from cumulo._drivers.effects import END, AnyOf, Plan, Start, Until
from cumulo._native import Bytes, Claim, Request, claim, new_bytes
from cumulo._result import RequestBody
from cumulo.exceptions import BaseError

from .parts import Filling, Source, ignores_ranges

_MOST_PIECES = 64


class PartsBody:
    """A body of which other requests can fetch parts. Dropping it stops them all."""

    def __init__(self, source: Source, part_bytes: int, max_concurrency: int) -> None:
        self._source = source
        self._part = part_bytes
        self._most = max_concurrency
        self._stream: PartsStream | None = None

    def __del__(self) -> None:
        source = getattr(self, "_source", None)
        if source is not None:
            source.first.cancel()

    def collect(self) -> Plan[Bytes]:
        content = new_bytes(self._source.size)

        def room(request: Request, start: int, length: int) -> None:
            request.feed_into(content, start, length)

        yield from Filling(self._source, room, self._part, self._most).run(fed=False)
        return content

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        if self._stream is None:
            self._stream = PartsStream(self._source, chunk_bytes, self._part, self._most)
        return self._stream.next_chunk()


class _Ahead:
    """A part of a stream: its request, how many of its pieces are still to be taken, and its share of the budget."""

    __slots__ = ("claim", "left", "length", "request")

    def __init__(self, request: Request, length: int, pieces: int, held: Claim | None) -> None:
        self.request = request
        self.length = length
        self.left = pieces
        self.claim = held


class PartsStream:
    """The content in order, in chunks."""

    def __init__(self, source: Source, chunk_bytes: int, part_bytes: int, max_concurrency: int) -> None:
        # Chunks are at least as large as asked for; many small ones would only cost.
        self._chunk = max(chunk_bytes, part_bytes // _MOST_PIECES)
        self._part = max(1, part_bytes // self._chunk) * self._chunk
        self._source = source
        self._most = max_concurrency
        self._window = 2
        self._ahead: deque[_Ahead] = deque()
        self._next = 0
        self._digest: str | None = None
        self._sums: list[tuple[int, int]] = []
        self._proven = False
        self._alone: RequestBody | None = None

    def __del__(self) -> None:
        for part in getattr(self, "_ahead", ()):
            part.request.cancel()

    def next_chunk(self) -> Plan[Any]:
        """The next chunk, or `END`."""
        if self._alone is not None:
            return (yield from self._alone.next_chunk(self._chunk))
        if self._next == 0:
            self._open()
        yield from self._start_more()
        if not self._ahead:
            self._end()
            return END
        return (yield from self._take())

    def _open(self) -> None:
        length = min(self._part, self._source.size)
        self._digest = self._source.begin(length)
        self._ahead.append(self._feed(self._source.first, length, claim(length, must=True)))
        self._next = length

    def _feed(self, request: Request, length: int, held: Claim | None) -> _Ahead:
        pieces = -(-length // self._chunk)
        request.reserve_pieces(pieces)
        for number in range(pieces):
            request.feed_piece(min(self._chunk, length - number * self._chunk))
        return _Ahead(request, length, pieces, held)

    def _start_more(self) -> Plan[None]:
        while self._next < self._source.size and len(self._ahead) < min(self._window, self._most):
            length = min(self._part, self._source.size - self._next)
            held = claim(length, must=not self._ahead)
            if held is None:
                return
            request = self._source.request(self._next, length, self._digest, "stream")
            self._ahead.append(self._feed(request, length, held))
            self._next += length
            yield Start(request)

    def _take(self) -> Plan[Any]:
        part = self._ahead[0]
        request = part.request
        while (piece := request.take_piece()) is None:
            if request.finished and request.error is not None:
                if self._goes_on_alone(request):
                    return (yield from self.next_chunk())
                yield from self._fail(request)
            # The reader waits: more parts at a time may help.
            self._window = min(2 * self._window, self._most)
            yield from self._start_more()
            yield AnyOf([Until(request, pieces=request.pieces_taken + 1)])
        part.left -= 1
        if request is not self._source.first:
            self._check(request)
        if part.left == 0:
            yield from self._finish(part)
        return piece

    def _check(self, request: Request) -> None:
        self._source.check(request)
        if not self._proven:
            self._proven = True
            self._source.first.cancel()

    def _finish(self, part: _Ahead) -> Plan[None]:
        request = part.request
        if request is not self._source.first:
            if not request.finished:
                yield AnyOf([request])  # its last piece is here, its end nearly
            if request.error is not None:
                yield from self._fail(request)
        self._sums.append((request.digest, part.length))
        self._ahead.popleft()

    def _fail(self, request: Request) -> Plan[None]:
        try:
            request.raise_if_failed()
        except BaseError as error:
            raise (yield from self._source.explained(error)) from None

    def _goes_on_alone(self, request: Request) -> bool:
        if self._proven or not ignores_ranges(request):
            return False
        for part in self._ahead:
            part.request.cancel()
        self._ahead.clear()
        self._alone = RequestBody(self._source.first, posted=self._sums[0][1])
        return True

    def _end(self) -> None:
        self._source.first.cancel()
        if self._digest is not None:
            self._source.verify(self._digest, self._sums)
            self._digest = None
