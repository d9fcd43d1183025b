"""`StoreFutures`: the third way to call a store's verbs. Run in the background by one thread of the process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from cumulo import _defaults, _many
from cumulo._drivers import run_in_background
from cumulo._drivers.effects import Plan
from cumulo._given import flag, maybe_flag
from cumulo._many import FutureStream, GetItem, OnError, PutItem
from cumulo._operations import many, ranges

if TYPE_CHECKING:
    import os
    from concurrent.futures import Future
    from datetime import timedelta

    from cumulo._many import Content
    from cumulo._native import Bytes
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._operations.sign import HTTP_METHOD
    from cumulo._result import GetResult
    from cumulo._types import Attributes, Buffer, GetOptions, ListResult, ObjectMeta, PutMode, PutResult, PutSource

    from ._base import ObjectStoreMethods


class StoreFutures:
    """The verbs of one store, each returning a `concurrent.futures.Future`. Arguments and errors are the methods'."""

    def __init__(self, store: ObjectStoreMethods) -> None:
        self._store = store

    def get(
        self,
        path: str,
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> Future[GetResult]:
        """`ObjectStoreMethods.get`."""
        return run_in_background(self._store._plan_get(path, options, part_size, max_concurrency))

    def get_into(
        self,
        path: str,
        buffer: Buffer,
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> Future[int]:
        """`ObjectStoreMethods.get_into`."""
        return run_in_background(self._store._plan_get_into(path, buffer, options, part_size, max_concurrency))

    def get_range_into(
        self, path: str, buffer: Buffer, *, start: int, end: int | None = None, length: int | None = None
    ) -> Future[int]:
        """`ObjectStoreMethods.get_range_into`."""
        return run_in_background(self._store._plan_get_range_into(path, buffer, start, end, length))

    def get_ranges_into(
        self, path: str, buffers: Sequence[Buffer], *, starts: Sequence[int], coalesce: int = _defaults.COALESCE
    ) -> Future[list[int]]:
        """`ObjectStoreMethods.get_ranges_into`."""
        return run_in_background(self._store._ranges_into_plan(path, buffers, starts, coalesce))

    def download(
        self,
        path: str,
        file: str | os.PathLike[str],
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
        resume: bool = False,
        fsync: bool = False,
    ) -> Future[ObjectMeta]:
        """`ObjectStoreMethods.download`."""
        return run_in_background(
            self._store._plan_download(
                path, file, options=options, part_size=part_size, max_concurrency=max_concurrency, resume=resume,
                fsync=fsync,
            )
        )  # fmt: skip

    def get_range(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> Future[Bytes]:
        """`ObjectStoreMethods.get_range`."""
        return run_in_background(self._store._plan_get_range(path, *ranges.span(start, end, length)))

    def get_ranges(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
        coalesce: int = _defaults.COALESCE,
    ) -> Future[list[Bytes]]:
        """`ObjectStoreMethods.get_ranges`."""
        return run_in_background(self._store._ranges_plan(path, starts, ends, lengths, coalesce))

    def head(self, path: str, *, version: str | None = None) -> Future[ObjectMeta]:
        """`ObjectStoreMethods.head`."""
        return run_in_background(self._store._head_plan(path, version))

    def put(
        self,
        path: str,
        file: PutSource,
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        use_multipart: bool | None = None,
        chunk_size: int = _defaults.PUT_CHUNK,
        max_concurrency: int = _defaults.PUT_CONCURRENCY,
        resume: bool | str | os.PathLike[str] = False,
    ) -> Future[PutResult]:
        """`ObjectStoreMethods.put`."""
        return run_in_background(
            self._store._plan_put(
                path, file, attributes=attributes, tags=tags, mode=mode,
                use_multipart=maybe_flag("use_multipart", use_multipart),
                chunk_size=chunk_size, max_concurrency=max_concurrency, resume=resume,
            )
        )  # fmt: skip

    def get_many(
        self,
        items: Iterable[str | tuple[str, int, int]],
        *,
        max_concurrency: int = _defaults.MANY_CONCURRENCY,
    ) -> FutureStream[GetItem]:
        """A future for each item, in their order, from an iterator that waits while `max_concurrency` are under way.

        Items are those of `ObjectStoreMethods.get_many`; each is pulled when its future is asked for. What futures hold
        is their owner's: let go of them, or memory grows with each.
        """
        _many.check(max_concurrency, "return", items)
        store = self._store

        def start(index: int, item: Any) -> Plan[GetItem]:
            wish = many.wish_of(item)
            plan = many.get_one(wish, store._plan_whole, store._plan_get_range, bounded=False)
            return many.mapped(plan, lambda got: GetItem(index, wish.path, got, None))

        return FutureStream(items, start, max_concurrency)

    def put_many(
        self,
        items: Iterable[tuple[str, Content]],
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        chunk_size: int = _defaults.PUT_CHUNK,
        max_concurrency: int = _defaults.MANY_CONCURRENCY,
    ) -> FutureStream[PutItem]:
        """A future for each item, as `get_many` gives them; arguments are those of `ObjectStoreMethods.put_many`."""
        _many.check(max_concurrency, "return", items)
        put = self._store._putter(attributes, tags, mode, chunk_size)

        def start(index: int, item: Any) -> Plan[PutItem]:
            gift = many.gift_of(item)
            plan = many.put_one(gift, put, bounded=False)
            return many.mapped(plan, lambda result: PutItem(index, gift.path, result, None))

        return FutureStream(items, start, max_concurrency)

    def delete(self, paths: str | Sequence[str], *, version: str | None = None) -> Future[None]:
        """`ObjectStoreMethods.delete`."""
        return run_in_background(self._store._delete_plan(paths, version))

    def delete_prefix(
        self,
        prefix: str,
        *,
        substring: bool = False,
        everything: bool = False,
        max_concurrency: int = _defaults.DELETE_CONCURRENCY,
        errors: OnError = "raise",
    ) -> Future[DeletedPrefix]:
        """`ObjectStoreMethods.delete_prefix`."""
        plan = self._store._delete_prefix_plan(prefix, substring, everything, max_concurrency, errors)
        return run_in_background(plan)

    def copy(self, from_: str, to: str, *, overwrite: bool = True) -> Future[None]:
        """`ObjectStoreMethods.copy`."""
        return run_in_background(self._store._plan_copy(from_, to, flag("overwrite", overwrite)))

    def rename(self, from_: str, to: str, *, overwrite: bool = True) -> Future[None]:
        """`ObjectStoreMethods.rename`."""
        return run_in_background(self._store._plan_rename(from_, to, flag("overwrite", overwrite)))

    @overload
    def sign(  # pyright: ignore[reportOverlappingOverload]
        self, method: HTTP_METHOD, paths: str, expires_in: timedelta
    ) -> Future[str]: ...  # a str is a sequence of them
    @overload
    def sign(self, method: HTTP_METHOD, paths: Sequence[str], expires_in: timedelta) -> Future[list[str]]: ...
    def sign(self, method: HTTP_METHOD, paths: str | Sequence[str], expires_in: timedelta) -> Any:
        """`S3Store.sign`; `NotSupportedError` of stores that have no signed URLs."""
        from ._signing import signing

        return run_in_background(signing(self._store)._plan_sign(method, paths, expires_in))

    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: bool = False, substring: bool = False
    ) -> Future[ListResult[Sequence[ObjectMeta]]]:
        """`ObjectStoreMethods.list_with_delimiter`."""
        return run_in_background(self._store._delimiter_plan(prefix, return_arrow, substring))
