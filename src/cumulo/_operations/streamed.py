"""Large bodies for their consumer: whole (see `parts.py`), or in order with parts under way ahead of the reader.

A stream has as many parts under way as its concurrency says. What they bring takes its memory from the process's
budget, but for the chunk that is read next: that always has its own, so the budget can't block anybody.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from cumulo._drivers.effects import END, News, Plan, Receive, Start, Until
from cumulo._native import Bytes, Chunk, Request, new_bytes, new_chunk
from cumulo.exceptions import BaseError

from .in_order import Digest, InMemory
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
        if hasattr(self, "_source"):
            self._source.first.cancel()

    def close(self) -> None:
        self._source.first.cancel()
        if self._stream is not None:
            self._stream.close()

    def widen(self, max_concurrency: int) -> None:
        """Let so many parts be under way from now on."""
        self._most = max_concurrency
        if self._stream is not None:
            self._stream.most = max_concurrency

    def collect(self) -> Plan[Bytes]:
        content = new_bytes(self._source.size)
        yield from Filling(self._source, InMemory(content), self._part, self._most).run(fed=False)
        return content

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        if self._stream is None:
            self._stream = PartsStream(self._source, chunk_bytes, self._part, self._most)
        return self._stream.next_chunk()


class _Part:
    """A part of a stream: what the request brings, and how far its room reaches."""

    __slots__ = ("end", "length", "pieces", "request")

    def __init__(self, request: Request, start: int, length: int) -> None:
        self.request = request
        self.length = length
        self.end = start + length
        self.pieces = 0


class _Filling:
    """A chunk under way: how many pieces of which parts it waits for."""

    __slots__ = ("chunk", "end", "start", "waits")

    def __init__(self, chunk: Chunk, start: int, end: int) -> None:
        self.chunk = chunk
        self.start = start
        self.end = end
        self.waits: list[tuple[_Part, int]] = []


class PartsStream:
    """The content in order, in chunks. Parts and chunks have their own sizes: a part may bring pieces of several."""

    def __init__(self, source: Source, chunk_bytes: int, part_bytes: int, max_concurrency: int) -> None:
        # Chunks are at least as large as asked for; many small ones would only cost.
        self._chunk = max(chunk_bytes, part_bytes // _MOST_PIECES)
        self._part = part_bytes
        self._source = source
        self.most = max_concurrency
        """How many parts may be under way."""
        self._chunks: deque[_Filling] = deque()
        self._parts: deque[_Part] = deque()
        self._running = News()
        self._next = 0
        self._taken = 0
        self._digest: str | None = None
        self._sums: list[tuple[int, int]] = []
        self._whole: Digest | None = None
        """Of what has been handed out; where the sums of parts don't make the one that the server sent."""
        self._proven = False
        self._alone = False

    def __del__(self) -> None:
        if hasattr(self, "_parts"):
            self.close()

    def close(self) -> None:
        """Stop all parts."""
        for part in self._parts:
            part.request.cancel()
        self._running.clear()

    def next_chunk(self) -> Plan[Any]:
        """The next chunk, or `END`."""
        if self._next == 0:
            self._open()
        yield from self._start_more()
        if self._taken == self._source.size:
            yield from self._end()
            return END
        yield from self._fill_first()
        filled = self._chunks.popleft()
        self._taken = filled.end
        yield from self._finish_parts()
        content = filled.chunk.take()
        if self._whole is not None:
            yield from self._whole.add(content)
        return content

    # -- room

    def _open(self) -> None:
        length = min(self._part, self._source.size)
        self._digest = self._source.digest
        whole = self._source.whole_digest
        self._whole = Digest(whole) if whole is not None else None
        self._feed(_Part(self._source.first, 0, length))
        self._running.watch(self._source.first, pieces=-(-length // self._chunk))

    def _chunks_for(self, length: int) -> bool:
        """Make the chunks that do not exist yet of the next `length` bytes. False where the budget has no room for all:
        but the one that is waited for is always made.
        """
        while (at := self._chunks[-1].end if self._chunks else self._taken) < self._next + length:
            end = min(at + self._chunk, self._source.size)
            chunk = new_chunk(end - at, not self._chunks)
            if chunk is None:
                return False
            self._chunks.append(_Filling(chunk, at, end))
        return True

    def _feed(self, part: _Part) -> None:
        """Give a new part its room in the chunks."""
        part.request.reserve_pieces(part.length // self._chunk + 2)
        self._parts.append(part)
        self._feed_last()

    def _feed_last(self) -> bool:
        """Give the last part room in what chunks the budget allows; the server waits while it has none. Whether it has
        all its room.
        """
        if not self._parts or self._next >= self._parts[-1].end:
            return True
        part = self._parts[-1]
        self._chunks_for(part.end - self._next)
        self._feed_on(part, part.end)
        return self._next == part.end

    def _feed_on(self, part: _Part, end: int) -> None:
        for filling in self._with_room():
            if self._next == end:
                return
            length = min(filling.end, end) - self._next
            part.request.feed_into(filling.chunk, self._next - filling.start, length)
            part.pieces += 1
            filling.waits.append((part, part.pieces))
            self._next += length

    def _with_room(self) -> list[_Filling]:
        """The chunks at the end whose bytes have not all been asked for, in order."""
        found: list[_Filling] = []
        for filling in reversed(self._chunks):
            if filling.end <= self._next:
                break
            found.append(filling)
        return found[::-1]

    def _start_more(self) -> Plan[None]:
        if self._alone:
            self._go_on_alone()
            return
        if not self._feed_last():
            return
        farthest = max(self._taken + self.most * self._part, self._taken + self._chunk)
        while self._next < min(self._source.size, farthest) and len(self._running.watched) < self.most:
            length = min(self._part, self._source.size - self._next)
            # The chunk that is waited for gets all its parts; others start when the budget has room for all they bring.
            needed = not self._chunks or self._next < self._chunks[0].end
            held = len(self._chunks)
            if not self._chunks_for(length) and not needed:
                while len(self._chunks) > held:
                    self._chunks.pop()
                return
            request = self._source.request(self._next, length, self._digest, "stream")
            self._feed(_Part(request, self._next, length))
            self._running.watch(request)
            yield Start(request)

    # -- what has come

    def _fill_first(self) -> Plan[None]:
        """Wait until the first chunk is full."""
        while (filling := self._chunks[0]).waits or self._next < filling.end:
            if not filling.waits:  # all of it that was asked for is here
                yield from self._hear()
                continue
            part, pieces = filling.waits[0]
            if part.request.claim_pieces() >= pieces:
                self._check(part.request)
                filling.waits.pop(0)
            elif part.request.error is None:
                yield from self._hear()
            elif not self._proven and ignores_ranges(part.request):
                self._fall_back()
            elif not (yield from self._asked_again(part)):
                yield from self._fail(part.request)

    def _hear(self) -> Plan[None]:
        """Wait for news of the parts under way; start others in the place of those that are done."""
        yield Receive(self._running)
        while self._running.next_done() is not None:
            pass
        yield from self._start_more()

    def _check(self, request: Request) -> None:
        if request is self._source.first:
            return
        self._source.check(request)
        if not self._proven:
            self._proven = True
            self._source.first.cancel()

    def _finish_parts(self) -> Plan[None]:
        """Parts all of whose bytes have been handed out have ended well, and their checksums count."""
        while self._parts and self._parts[0].end <= self._taken and not self._alone:
            part = self._parts.popleft()
            if part.request is not self._source.first:
                while not part.request.finished:
                    yield Receive(self._running)  # its last piece is here, its end nearly
                    self._running.next_done()
                if part.request.error is not None:
                    yield from self._fail(part.request)
            self._running.forget(part.request)  # its news may still be on its way, on the queue of another thread
            self._sums.append((part.request.digest, part.length))

    def _asked_again(self, part: _Part) -> Plan[bool]:
        """Replace the request of a part that was refused, where there is a newer place for it."""
        refused = part.request
        if refused is self._source.first or refused.claim_pieces() or not (yield from self._source.may_go_on(refused)):
            return False
        at = part.end - part.length
        part.request = self._source.request(at, part.length, self._digest, "stream")
        part.request.reserve_pieces(part.length // self._chunk + 2)
        for filling in self._chunks:
            if filling.start < part.end and filling.end > at:
                length = min(filling.end, part.end) - at
                part.request.feed_into(filling.chunk, at - filling.start, length)
                at += length
        self._running.forget(refused)
        self._running.watch(part.request)
        yield Start(part.request)
        return True

    def _fail(self, request: Request) -> Plan[None]:
        try:
            request.raise_if_failed()
        except BaseError as error:
            raise (yield from self._source.explained(error)) from None

    # -- without parts

    def _fall_back(self) -> None:
        """This server serves no ranges: what the first request has brought stays, and it goes on to the end."""
        first = _Part(self._source.first, 0, min(self._part, self._source.size))
        first.pieces = first.request.claim_pieces()
        for part in self._parts:
            if part.request is not first.request:
                part.request.cancel()
        self._running.clear()
        self._running.watch(first.request)
        self._parts = deque([first])
        self._alone = True
        self._whole = None
        self._next = first.end
        self._chunks = deque(filling for filling in self._chunks if filling.start < first.end)
        for filling in self._chunks:
            filling.waits.clear()
        self._go_on_alone()

    def _go_on_alone(self) -> None:
        part, size = self._parts[0], self._source.size
        while self._next < size and part.pieces - part.request.claim_pieces() < 2:
            if not self._chunks_for(1):
                return
            self._feed_on(part, next(f for f in self._chunks if f.end > self._next).end)

    def _end(self) -> Plan[None]:
        first = self._source.first
        if self._alone:
            yield Until(first)  # it has verified the whole itself
        elif self._digest is not None:
            self._source.verify(self._digest, self._sums)
            self._digest = None
        elif self._whole is not None:
            self._source.compare(self._whole.value())
        first.cancel()
