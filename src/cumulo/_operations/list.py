"""list and list_with_delimiter: pages as they come, one request each."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import END, Plan
from cumulo.exceptions import GenericError

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Listing, Provider
    from cumulo._types import CallFuture, ListResult, ObjectMeta

T = TypeVar("T")


class Pages:
    """The pages of one listing. `next_page` gives the next, or `END`."""

    def __init__(
        self, provider: Provider, prefix: str, offset: str | None, *, delimiter: bool = False, strip: str = ""
    ) -> None:
        self._provider = provider
        self._strip = strip
        self._prefix = prefix
        self._offset = offset
        self._delimiter = delimiter
        self._token: str | None = None
        self._seen: set[str] = set()
        self._ended = False

    def next_page(self) -> Plan[Any]:
        if self._ended:
            return END
        request = self._provider.list(self._prefix, token=self._token, offset=self._offset, delimiter=self._delimiter)
        yield request
        page: Listing = self._provider.listing(request)
        if self._offset is not None and not self._provider.lists_from_offset:
            self._cut(page, self._offset)
        self._go_on(page, request)
        return page

    def _cut(self, page: Listing, offset: str) -> None:
        """Leave out what is not behind the offset, in the order of UTF-8."""
        behind = offset.removeprefix(self._strip).encode("utf-8", "surrogateescape")
        page.objects = [found for found in page.objects if found["path"].encode("utf-8", "surrogateescape") > behind]

    def _go_on(self, page: Listing, request: Request) -> None:
        if page.token is None:
            self._ended = True
            return
        if page.token in self._seen:
            context = request.context
            raise GenericError(
                f"list {self._prefix!r} in {context.store!r}: the server gave the same continuation token twice: its "
                "listing would never end",
                operation="list", store=repr(context.store), path=self._prefix, attempts=request.attempts,
            )  # fmt: skip
        self._seen.add(page.token)
        self._token = page.token


class ListStream(Generic[T]):
    """A listing in chunks of objects, for `for` and `async for`. One request a page, sent when it is needed."""

    def __init__(self, pages: Any, chunk_size: int) -> None:
        self._pages = pages
        self._chunk_size = chunk_size
        self._held: list[ObjectMeta] = []
        self._at = 0
        self._more = True

    def __iter__(self) -> ListStream[T]:
        return self

    def __aiter__(self) -> ListStream[T]:
        return self

    def __next__(self) -> Any:
        chunk = self._held_chunk()
        if chunk is None:
            chunk = sync.run(self._next_chunk())
        if chunk is END:
            raise StopIteration
        return chunk

    def __anext__(self) -> CallFuture[Any]:
        return run_async(self._next_or_stop())

    def collect(self) -> Any:
        """All objects that are left, as one list."""
        return sync.run(self._collect())

    def collect_async(self) -> CallFuture[Any]:
        """All objects that are left, as one list, awaited."""
        return run_async(self._collect())

    def _held_chunk(self) -> list[ObjectMeta] | None:
        if len(self._held) - self._at < self._chunk_size:
            return None
        chunk = self._held[self._at : self._at + self._chunk_size]
        self._at += self._chunk_size
        return chunk

    def _next_chunk(self) -> Plan[Any]:
        while True:
            chunk = self._held_chunk()
            if chunk is not None:
                return chunk
            if not self._more:
                rest, self._held, self._at = self._held[self._at :], [], 0
                return rest or END
            yield from self._fetch()

    def _next_or_stop(self) -> Generator[Any, Any, Any]:
        chunk = yield from self._next_chunk()
        if chunk is END:
            raise StopAsyncIteration
        return chunk

    def _fetch(self) -> Plan[None]:
        page = cast("Any", (yield from self._pages.next_page()))
        if page is END:
            self._more = False
            return
        self._held = self._held[self._at :] + page.objects
        self._at = 0

    def _collect(self) -> Plan[list[ObjectMeta]]:
        while self._more:
            yield from self._fetch()
        rest, self._held, self._at = self._held[self._at :], [], 0
        return rest


def check_chunk_size(chunk_size: object) -> int:
    """`chunk_size` of `list`."""
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"chunk_size must be a positive integer, not {chunk_size!r}")
    return chunk_size


def list_with_delimiter(pages: Pages) -> Plan[ListResult[Any]]:
    """One level: all its pages together."""
    prefixes: dict[str, None] = {}
    objects: list[ObjectMeta] = []
    while True:
        page = yield from pages.next_page()
        if page is END:
            return {"common_prefixes": list(prefixes), "objects": objects}
        prefixes.update(dict.fromkeys(page.common_prefixes))
        objects.extend(page.objects)
