"""list and list_with_delimiter: pages as they come, one request each.

A page's objects are a list of dicts, or `Columns` where Arrow is wanted. Stores that have none of their own give dicts
all the same: they are put into columns here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from cumulo import _arrow
from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import END, Plan
from cumulo._drivers.turns import Turns
from cumulo._native import Columns, ListError, columns_of, join_columns
from cumulo.exceptions import GenericError

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Listing, Provider, Rows
    from cumulo._types import CallFuture, ListResult

T = TypeVar("T", covariant=True)
R = TypeVar("R")


class Scope(NamedTuple):
    """What a listing is of, and how its pages are wanted."""

    prefix: str | None
    offset: str | None = None
    delimiter: bool = False
    arrow: bool = False
    """Pages may have `Columns`."""
    substring: bool = False
    """The prefix need not be whole segments."""
    max_concurrency: int = 1


class Pages:
    """The pages of one listing. `next_page` gives the next, or `END`."""

    def __init__(self, provider: Provider, prefix: str, offset: str | None, scope: Scope, *, strip: str = "") -> None:
        """`prefix` and `offset` are beginnings of keys: the store's own prefix, `strip`, included."""
        self._provider = provider
        self._strip = strip
        self._prefix = prefix
        self._offset = offset
        self._scope = scope
        self._token: str | None = None
        self._seen: set[str] = set()
        self._ended = False

    def next_page(self) -> Plan[Any]:
        if self._ended:
            return END
        request = self._provider.list(
            self._prefix, token=self._token, offset=self._offset, delimiter=self._scope.delimiter
        )
        yield request
        page: Listing = self._provider.listing(request, columns=self._scope.arrow)
        if self._offset is not None and not self._provider.lists_from_offset:
            page.objects = between(page.objects, path_bytes(self._offset.removeprefix(self._strip)), None)
        check_token(page, self._seen, request)
        self._token = page.token
        self._ended = page.token is None
        return page


def check_token(page: Listing, seen: set[str], request: Request) -> None:
    """Raises when a page says to go on where the listing has been."""
    if page.token is None:
        return
    if page.token in seen:
        context = request.context
        raise GenericError(
            f"list {context.path!r} in {context.store!r}: the server gave the same continuation token twice: its "
            "listing would never end",
            operation="list", store=repr(context.store), path=context.path, attempts=request.attempts,
        )  # fmt: skip
    seen.add(page.token)


def path_bytes(path: str) -> bytes:
    """What paths are ordered by."""
    return path.encode("utf-8", "surrogateescape")


def between(rows: Rows, after: bytes | None, until: bytes | None) -> Rows:
    """The rows whose path is behind `after` and not behind `until`, in the order of UTF-8."""
    if isinstance(rows, Columns):
        return rows.between(after, until)
    keys = [path_bytes(row["path"]) for row in rows]
    return [
        row
        for key, row in zip(keys, rows, strict=True)
        if (after is None or key > after) and (until is None or key <= until)
    ]


def _columns(rows: Rows) -> Columns:
    if isinstance(rows, Columns):
        return rows
    try:
        return columns_of(rows)
    except ListError as error:
        raise GenericError(f"list: {error}", operation="list") from error


def _joined(parts: list[Any], *, arrow: bool) -> Rows:
    if not arrow:
        return [row for part in parts for row in part] if len(parts) != 1 else parts[0]
    try:
        return join_columns(parts)
    except ListError as error:
        raise GenericError(f"list: {error}", operation="list") from error


class ListStream(Generic[T]):
    """A listing in chunks of objects, for `for` and `async for`. One request a page, sent when it is needed.

    Threads may share one: each chunk goes to one of them. Of tasks, one at a time may wait for it.
    """

    def __init__(self, pages: Any, chunk_size: int, *, arrow: bool = False) -> None:
        self._pages = pages
        self._chunk_size = chunk_size
        self._arrow = arrow
        self._held: deque[Rows] = deque()
        self._at = 0
        """How many rows of the first that is held have been given out."""
        self._left = 0
        """How many rows are held and have not."""
        self._more = True
        self._turns = Turns("listing")

    def __iter__(self) -> ListStream[T]:
        return self

    def __aiter__(self) -> ListStream[T]:
        return self

    def __next__(self) -> Any:
        with self._turns.lock:
            chunk = self._held_chunk()
            if chunk is None:
                chunk = sync.run(self._next_chunk())
        if chunk is END:
            raise StopIteration
        return self._shaped(chunk)

    def __anext__(self) -> CallFuture[Any]:
        return run_async(self._alone(self._next_or_stop()))

    def collect(self) -> Any:
        """All objects that are left, as one list or record batch."""
        with self._turns.lock:
            return sync.run(self._collect())

    def collect_async(self) -> CallFuture[Any]:
        """All objects that are left, as one list or record batch, awaited."""
        return run_async(self._alone(self._collect()))

    def _alone(self, plan: Plan[R]) -> Plan[R]:
        lock = self._turns.lock
        if not lock.acquire(blocking=False):
            raise RuntimeError("another call waits for this listing's next chunk: one at a time can")
        try:
            return (yield from plan)
        finally:
            lock.release()

    def _shaped(self, rows: Any) -> Any:
        return _arrow.record_batch(rows) if self._arrow else rows

    def _held_chunk(self) -> Rows | None:
        return self._take(self._chunk_size) if self._left >= self._chunk_size else None

    def _take(self, count: int) -> Rows:
        taken: list[Rows] = []
        self._left -= count
        while count > 0:
            page = self._held[0]
            part = page[self._at : self._at + count]
            taken.append(part)
            count -= len(part)
            self._at += len(part)
            if self._at == len(page):
                self._held.popleft()
                self._at = 0
        return _joined(taken, arrow=self._arrow)

    def _next_chunk(self) -> Plan[Any]:
        while self._more and self._left < self._chunk_size:
            yield from self._fetch()
        return self._take(min(self._left, self._chunk_size)) if self._left > 0 else END

    def _next_or_stop(self) -> Generator[Any, Any, Any]:
        chunk = yield from self._next_chunk()
        if chunk is END:
            raise StopAsyncIteration
        return self._shaped(chunk)

    def _fetch(self) -> Plan[None]:
        page = cast("Any", (yield from self._pages.next_page()))
        if page is END:
            self._more = False
        elif len(page.objects) > 0:
            self._held.append(page.objects if not self._arrow else _columns(page.objects))
            self._left += len(page.objects)

    def _collect(self) -> Plan[Any]:
        self._pages.most_ahead = None  # where that is bounded: all of it will be held
        while self._more:
            yield from self._fetch()
        return self._shaped(self._take(self._left))


def check_chunk_size(chunk_size: object) -> int:
    """`chunk_size` of `list`."""
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"chunk_size must be a positive integer, not {chunk_size!r}")
    return chunk_size


def check_max_concurrency(max_concurrency: object) -> int:
    """`max_concurrency` of `list` and `delete_prefix`."""
    if not isinstance(max_concurrency, int) or isinstance(max_concurrency, bool) or max_concurrency < 1:
        raise ValueError(f"max_concurrency must be a positive integer, not {max_concurrency!r}")
    return max_concurrency


def list_with_delimiter(pages: Pages, *, arrow: bool = False) -> Plan[ListResult[Any]]:
    """One level: all its pages together."""
    prefixes: dict[str, None] = {}
    parts: list[Rows] = []
    while (page := (yield from pages.next_page())) is not END:
        prefixes.update(dict.fromkeys(page.common_prefixes))
        parts.append(_columns(page.objects) if arrow else page.objects)
    objects: Any = _joined(parts, arrow=arrow)
    return {"common_prefixes": list(prefixes), "objects": _arrow.table(objects) if arrow else objects}
