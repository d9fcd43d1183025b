"""What a reader keeps of an object: the spans it read last, each at its place, up to so many bytes together.

Spans may overlap, but none lies within another. What was read twice is the same in both: of one version of the object.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from typing import NamedTuple


class Extent(NamedTuple):
    """A span of the object that is here."""

    start: int
    content: bytes

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.start + len(self.content)

    def cut(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, or to where the span ends; all of it without a copy."""
        return self.content[start - self.start : end - self.start]


class Extents:
    """The spans that were used last."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._starts: list[int] = []
        self._held: OrderedDict[int, Extent] = OrderedDict()

    def find(self, at: int) -> Extent | None:
        """A span with the byte `at`."""
        place = bisect_right(self._starts, at) - 1
        if place < 0:
            return None
        extent = self._held[self._starts[place]]
        if at >= extent.end:
            return None
        self._held.move_to_end(extent.start)
        return extent

    def add(self, extent: Extent) -> None:
        """Keep a span, if it leaves room for others."""
        if len(extent.content) > self._limit // 2:
            return
        try:
            self._add(extent)
        except BaseException:  # Ctrl-C, half-way
            self.clear()
            raise

    def _add(self, extent: Extent) -> None:
        start, size = extent.start, len(extent.content)
        starts, held, end = self._starts, self._held, start + size
        place = bisect_right(starts, start)
        if place > 0:
            before = held[starts[place - 1]]
            if before.end >= end:
                return  # within another
            if before.start == start:
                place -= 1
        while place < len(starts) and starts[place] < end and held[starts[place]].end <= end:
            self._bytes -= len(held.pop(starts.pop(place)).content)
        starts.insert(place, start)
        held[start] = extent
        self._bytes += size
        while self._bytes > self._limit:
            oldest, dropped = held.popitem(last=False)
            self._bytes -= len(dropped.content)
            del starts[bisect_left(starts, oldest)]

    def clear(self) -> None:
        """Keep nothing."""
        self._starts.clear()
        self._held.clear()
        self._bytes = 0
