"""list by several requests at a time: the key space in segments, each listed by itself, handed out in order.

A segment is what is behind one key and not behind another; together they always cover all keys, so that each object is
in exactly one of them, wherever the borders are. A segment is split while it is listed: small requests ask which key
comes next behind some points between where it is and where it ends, and those that tell something become borders. Bad
points cost requests; they can't cost objects.

The segment that is next to be handed out always goes on. Others wait while `_AHEAD` pages for each request that may be
under way are held; pages are held as columns, also where dicts are wanted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, News, Plan, Start
from cumulo._native import Columns
from cumulo._records import field, record

from .list import check_token, path_bytes
from .list_points import directory_ends, points_between

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Listing, Provider

    from .list import Scope

_AHEAD = 32
_MOST_POINTS = 16
_SAMPLE = 64


@record(eq=False)
class _Segment:
    """The keys behind `after` and not behind `until`; None: from the first, to the last."""

    after: str | None
    until: str | None
    token: str | None = None
    request: Request | None = None
    pages: deque[Listing] = field(default_factory=deque["Listing"])
    """What has come and was not handed out."""
    ended: bool = False
    seen: set[str] = field(default_factory=set[str])
    last: str | None = None
    """The last key that has come."""
    first: str = ""
    """The first key of the page that came last."""
    alphabet: set[str] = field(default_factory=set[str])
    """Characters of some of its keys, the prefix left out."""
    empty_from: str | None = None
    """There was nothing behind this key."""
    left_directories: bool = False
    """It was asked what comes behind the directories that it is in."""
    probes: dict[Request, str] = field(default_factory=dict["Request", str])
    answers: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, "str | None"]])
    """(point, the key that comes next behind it)"""
    read: int = 0
    """How many pages have come."""
    split_at: int = 1
    """From how many on it may be split; doubled when that brings nothing."""


class ParallelPages:
    """The pages of one listing, in order. `next_page` gives the next, or `END`."""

    def __init__(
        self, provider: Provider, prefix: str, offset: str | None, scope: Scope, *, strip: str = "",
        page_size: int | None = None,
    ) -> None:  # fmt: skip
        """As `Pages`; `page_size`: ask for no more objects than this in a page."""
        self._provider = provider
        self._prefix = prefix
        self._strip = strip
        self._arrow = scope.arrow
        self._most = scope.max_concurrency
        self._page_size = page_size
        self._segments = deque([_Segment(offset, None)])
        self._may_split = True
        self._news = News()
        self.most_ahead: int | None = _AHEAD * scope.max_concurrency
        """How many pages may be held; None: any number, since all are wanted at once."""

    def next_page(self) -> Plan[Any]:
        try:
            while True:
                yield from self._begin_requests()
                head = self._segments[0]
                if head.pages:
                    return self._handed_out(head.pages.popleft())
                if head.ended:
                    if len(self._segments) == 1:
                        return END
                    self._segments.popleft()
                    continue
                self._take((yield from self._news.one_done()))
        except BaseException:
            self._stop()
            raise

    def __del__(self) -> None:
        self._stop()

    def _stop(self) -> None:
        """Whoever goes on asks for the same pages again."""
        for segment in self._segments:
            if segment.request is not None:
                segment.request.cancel()
                segment.request = None
            self._give_up_probes(segment)
        self._news.clear()

    def _give_up_probes(self, segment: _Segment) -> None:
        for request in segment.probes:
            self._news.forget(request)
            request.cancel()
        segment.probes.clear()
        segment.answers.clear()

    def _handed_out(self, page: Listing) -> Listing:
        if not self._arrow and isinstance(page.objects, Columns):
            page.objects = page.objects.dicts()
        return page

    # -- what is asked for

    def _under_way(self) -> int:
        return sum((segment.request is not None) + len(segment.probes) for segment in self._segments)

    def _begin_requests(self) -> Plan[None]:
        """First what is next to be handed out; points only where requests are left that nothing else needs."""
        held = sum(len(segment.pages) + (segment.request is not None) for segment in self._segments)
        left = self._most - self._under_way()
        for segment in self._segments:
            full = self.most_ahead is not None and held >= self.most_ahead and segment is not self._segments[0]
            if left <= 0 or full:
                return
            if segment.request is None and not segment.ended:
                segment.request = self._request(segment.token, segment.after)
                self._news.watch(segment.request)
                yield Start(segment.request)
                left, held = left - 1, held + 1
        for segment in self._segments:
            if left <= 0 or not self._may_split:
                return
            if not segment.ended and not segment.probes and segment.read >= segment.split_at:
                left -= yield from self._probe(segment, min(left, _MOST_POINTS))

    def _request(self, token: str | None, after: str | None, most: int | None = None) -> Request:
        size = most if most is not None else self._page_size
        return self._provider.list(self._prefix, token=token, offset=after, delimiter=False, page_size=size)

    def _probe(self, segment: _Segment, most: int) -> Plan[int]:
        assert segment.last is not None
        ends = [end for end in (segment.until, segment.empty_from) if end is not None]
        end = min(ends, key=path_bytes) if ends else None
        points: list[str] = []
        if not segment.left_directories:
            segment.left_directories = True
            points = directory_ends(segment.first, segment.last, end, self._prefix)[:most]
        if not points:
            points = points_between(segment.first, segment.last, end, self._prefix, segment.alphabet, most)
        if not points:
            segment.split_at = 2 * segment.read
        for point in points:
            request = self._request(None, point, 1)
            segment.probes[request] = point
            self._news.watch(request)
            yield Start(request)
        return len(points)

    # -- what has come

    def _take(self, request: Request) -> None:
        for segment in self._segments:
            if segment.request is request:
                self._take_page(segment, request)
                return
            if request in segment.probes:
                self._take_answer(segment, request)
                return

    def _take_page(self, segment: _Segment, request: Request) -> None:
        request.raise_if_failed()
        page = self._provider.listing(request, columns=True)
        check_token(page, segment.seen, request)
        segment.request = None
        segment.token = page.token
        segment.read += 1
        rows = page.objects
        if isinstance(rows, Columns) and len(rows) > 0:
            segment.first, segment.last = self._strip + rows.path(0), self._strip + rows.path(-1)
            step, cut = max(1, len(rows) // _SAMPLE), len(self._prefix) - len(self._strip)
            segment.alphabet = {char for i in range(0, len(rows), step) for char in rows.path(i)[cut:]} - {"/"}
            page.objects = rows = self._inside(segment, rows)
        beyond = segment.until is not None and segment.last is not None and _is_behind(segment.last, segment.until)
        segment.ended = page.token is None or beyond
        if len(rows) > 0:
            segment.pages.append(page)
        if segment.ended:
            self._give_up_probes(segment)

    def _inside(self, segment: _Segment, rows: Columns) -> Columns:
        """Servers begin behind `after`, but end where they like."""
        after = path_bytes(segment.after) if segment.after is not None else None
        until = path_bytes(segment.until) if segment.until is not None else None
        first, last = (path_bytes(self._strip + rows.path(index)) for index in (0, -1))
        if (after is None or first > after) and (until is None or last <= until):
            return rows
        cut = len(path_bytes(self._strip))
        return rows.between(None if after is None else after[cut:], None if until is None else until[cut:])

    def _take_answer(self, segment: _Segment, request: Request) -> None:
        point = segment.probes.pop(request)
        request.raise_if_failed()
        rows = self._provider.listing(request, columns=True).objects
        found = self._strip + rows.path(0) if isinstance(rows, Columns) and len(rows) > 0 else None
        segment.answers.append((point, found))
        if found is not None and not _is_behind(found, point):
            self._may_split = False  # the server does not begin where it is told to
        if not segment.probes and self._may_split:
            self._split(segment)

    def _split(self, segment: _Segment) -> None:
        """Along the points that have keys between them and the next."""
        answers, segment.answers = segment.answers, []
        borders: list[str] = []
        following: str | None = None
        """The key that comes next behind the border before this one, from the end."""
        told = False
        for point, found in sorted(answers, key=lambda answer: path_bytes(answer[0]), reverse=True):
            outside = found is None or (segment.until is not None and _is_behind(found, segment.until))
            passed = segment.last is not None and not _is_behind(point, segment.last)
            if outside:
                segment.empty_from = point
                told = True
            elif not passed and found != following:
                borders.append(point)
                following = found
        segment.split_at = segment.read + (1 if borders else 0) if borders or told else 2 * segment.read
        if borders:
            self._divide(segment, borders[::-1])

    def _divide(self, segment: _Segment, borders: list[str]) -> None:
        ends = [*borders[1:], segment.until]
        parts = [_Segment(after, until) for after, until in zip(borders, ends, strict=True)]
        parts[-1].empty_from, segment.empty_from, segment.until = segment.empty_from, None, borders[0]
        at = self._segments.index(segment) + 1
        for part in reversed(parts):
            self._segments.insert(at, part)


def _is_behind(key: str, other: str) -> bool:
    return path_bytes(key) > path_bytes(other)
