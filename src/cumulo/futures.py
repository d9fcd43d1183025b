"""The verbs as functions that return `concurrent.futures.Future`s: `get(store, path)` is `store.futures.get(path)`.

One thread of the process hands the results out. Cancelling a future stops its transfer on the wire; a callback may wait
for other futures of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from . import _defaults

if TYPE_CHECKING:
    import os
    from concurrent.futures import Future
    from datetime import timedelta

    from ._many import Content, FutureStream, GetItem, OnError, PutItem
    from ._native import Bytes
    from ._operations.delete_prefix import DeletedPrefix
    from ._operations.sign import HTTP_METHOD
    from ._result import GetResult
    from ._types import Attributes, GetOptions, ListResult, ObjectMeta, PutMode, PutResult, PutSource
    from .store import ObjectStoreMethods
    from .store._signing import SigningStore

__all__ = [
    "copy",
    "delete",
    "delete_prefix",
    "download",
    "get",
    "get_many",
    "get_range",
    "get_ranges",
    "head",
    "list_with_delimiter",
    "put",
    "put_many",
    "rename",
    "sign",
]


def get(
    store: ObjectStoreMethods,
    path: str,
    *,
    options: GetOptions | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
) -> Future[GetResult]:
    """`get` of the store."""
    return store.futures.get(path, options=options, part_size=part_size, max_concurrency=max_concurrency)


def download(
    store: ObjectStoreMethods,
    path: str,
    file: str | os.PathLike[str],
    *,
    options: GetOptions | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
    resume: bool = False,
    fsync: bool = False,
) -> Future[ObjectMeta]:
    """`download` of the store."""
    return store.futures.download(
        path, file, options=options, part_size=part_size, max_concurrency=max_concurrency, resume=resume, fsync=fsync
    )


def get_range(
    store: ObjectStoreMethods, path: str, *, start: int, end: int | None = None, length: int | None = None
) -> Future[Bytes]:
    """`get_range` of the store."""
    return store.futures.get_range(path, start=start, end=end, length=length)


def get_ranges(
    store: ObjectStoreMethods,
    path: str,
    *,
    starts: Sequence[int],
    ends: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
    coalesce: int = _defaults.COALESCE,
) -> Future[list[Bytes]]:
    """`get_ranges` of the store."""
    return store.futures.get_ranges(path, starts=starts, ends=ends, lengths=lengths, coalesce=coalesce)


def head(store: ObjectStoreMethods, path: str) -> Future[ObjectMeta]:
    """`head` of the store."""
    return store.futures.head(path)


def put(
    store: ObjectStoreMethods,
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
    """`put` of the store."""
    return store.futures.put(
        path,
        file,
        attributes=attributes,
        tags=tags,
        mode=mode,
        use_multipart=use_multipart,
        chunk_size=chunk_size,
        max_concurrency=max_concurrency,
        resume=resume,
    )


def get_many(
    store: ObjectStoreMethods,
    items: Iterable[str | tuple[str, int, int]],
    *,
    max_concurrency: int = _defaults.MANY_CONCURRENCY,
) -> FutureStream[GetItem]:
    """`get_many` of the store's futures: an iterator of them."""
    return store.futures.get_many(items, max_concurrency=max_concurrency)


def put_many(
    store: ObjectStoreMethods,
    items: Iterable[tuple[str, Content]],
    *,
    attributes: Attributes | None = None,
    tags: dict[str, str] | None = None,
    mode: PutMode | None = None,
    chunk_size: int = _defaults.PUT_CHUNK,
    max_concurrency: int = _defaults.MANY_CONCURRENCY,
) -> FutureStream[PutItem]:
    """`put_many` of the store's futures: an iterator of them."""
    return store.futures.put_many(
        items, attributes=attributes, tags=tags, mode=mode, chunk_size=chunk_size, max_concurrency=max_concurrency
    )


def delete(store: ObjectStoreMethods, paths: str | Sequence[str]) -> Future[None]:
    """`delete` of the store."""
    return store.futures.delete(paths)


def delete_prefix(
    store: ObjectStoreMethods,
    prefix: str,
    *,
    substring: bool = False,
    everything: bool = False,
    max_concurrency: int = _defaults.DELETE_CONCURRENCY,
    errors: OnError = "raise",
) -> Future[DeletedPrefix]:
    """`delete_prefix` of the store."""
    return store.futures.delete_prefix(
        prefix, substring=substring, everything=everything, max_concurrency=max_concurrency, errors=errors
    )


def copy(store: ObjectStoreMethods, from_: str, to: str, *, overwrite: bool = True) -> Future[None]:
    """`copy` of the store."""
    return store.futures.copy(from_, to, overwrite=overwrite)


def rename(store: ObjectStoreMethods, from_: str, to: str, *, overwrite: bool = True) -> Future[None]:
    """`rename` of the store."""
    return store.futures.rename(from_, to, overwrite=overwrite)


@overload
def sign(  # pyright: ignore[reportOverlappingOverload]
    store: SigningStore, method: HTTP_METHOD, paths: str, expires_in: timedelta
) -> Future[str]: ...  # a str is a sequence of them
@overload
def sign(
    store: SigningStore, method: HTTP_METHOD, paths: Sequence[str], expires_in: timedelta
) -> Future[list[str]]: ...
def sign(store: SigningStore, method: HTTP_METHOD, paths: str | Sequence[str], expires_in: timedelta) -> Any:
    """`sign` of the store's futures."""
    return store.futures.sign(method, paths, expires_in)


def list_with_delimiter(
    store: ObjectStoreMethods, prefix: str | None = None, *, return_arrow: bool = False, substring: bool = False
) -> Future[ListResult[Sequence[ObjectMeta]]]:
    """`list_with_delimiter` of the store."""
    return store.futures.list_with_delimiter(prefix, return_arrow=return_arrow, substring=substring)
