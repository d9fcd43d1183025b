"""The verbs as functions: `get(store, path)` is `store.get(path)`. Arguments and errors are the methods'."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _defaults

if TYPE_CHECKING:
    import os
    from datetime import timedelta

    from arro3.core import RecordBatch, Table

    from ._files import ReadableFile, WritableFile
    from ._files_async import AsyncReadableFile, AsyncWritableFile
    from ._native import Bytes
    from ._operations.list import ListStream
    from ._operations.sign import HTTP_METHOD
    from ._result import GetResult
    from ._types import Attributes, CallFuture, GetOptions, ListResult, ObjectMeta, PutMode, PutResult, PutSource
    from .store import ObjectStoreMethods
    from .store._signing import SigningStore


def get(
    store: ObjectStoreMethods,
    path: str,
    *,
    options: GetOptions | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
) -> GetResult:
    """`get` of the store."""
    return store.get(path, options=options, part_size=part_size, max_concurrency=max_concurrency)


def get_async(
    store: ObjectStoreMethods,
    path: str,
    *,
    options: GetOptions | None = None,
    part_size: int | None = None,
    max_concurrency: int | None = None,
) -> CallFuture[GetResult]:
    """`get_async` of the store."""
    return store.get_async(path, options=options, part_size=part_size, max_concurrency=max_concurrency)


def get_range(
    store: ObjectStoreMethods, path: str, *, start: int, end: int | None = None, length: int | None = None
) -> Bytes:
    """`get_range` of the store."""
    return store.get_range(path, start=start, end=end, length=length)


def get_range_async(
    store: ObjectStoreMethods, path: str, *, start: int, end: int | None = None, length: int | None = None
) -> CallFuture[Bytes]:
    """`get_range_async` of the store."""
    return store.get_range_async(path, start=start, end=end, length=length)


def get_ranges(
    store: ObjectStoreMethods,
    path: str,
    *,
    starts: Sequence[int],
    ends: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
    coalesce: int = _defaults.COALESCE,
) -> builtins.list[Bytes]:
    """`get_ranges` of the store."""
    return store.get_ranges(path, starts=starts, ends=ends, lengths=lengths, coalesce=coalesce)


def get_ranges_async(
    store: ObjectStoreMethods,
    path: str,
    *,
    starts: Sequence[int],
    ends: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
    coalesce: int = _defaults.COALESCE,
) -> CallFuture[builtins.list[Bytes]]:
    """`get_ranges_async` of the store."""
    return store.get_ranges_async(path, starts=starts, ends=ends, lengths=lengths, coalesce=coalesce)


def head(store: ObjectStoreMethods, path: str) -> ObjectMeta:
    """`head` of the store."""
    return store.head(path)


def head_async(store: ObjectStoreMethods, path: str) -> CallFuture[ObjectMeta]:
    """`head_async` of the store."""
    return store.head_async(path)


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
) -> PutResult:
    """`put` of the store."""
    return store.put(
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


def put_async(
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
) -> CallFuture[PutResult]:
    """`put_async` of the store."""
    return store.put_async(
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


def delete(store: ObjectStoreMethods, paths: str | Sequence[str]) -> None:
    """`delete` of the store."""
    store.delete(paths)


def delete_async(store: ObjectStoreMethods, paths: str | Sequence[str]) -> CallFuture[None]:
    """`delete_async` of the store."""
    return store.delete_async(paths)


def copy(store: ObjectStoreMethods, from_: str, to: str, *, overwrite: bool = True) -> None:
    """`copy` of the store."""
    store.copy(from_, to, overwrite=overwrite)


def copy_async(store: ObjectStoreMethods, from_: str, to: str, *, overwrite: bool = True) -> CallFuture[None]:
    """`copy_async` of the store."""
    return store.copy_async(from_, to, overwrite=overwrite)


def rename(store: ObjectStoreMethods, from_: str, to: str, *, overwrite: bool = True) -> None:
    """`rename` of the store."""
    store.rename(from_, to, overwrite=overwrite)


def rename_async(store: ObjectStoreMethods, from_: str, to: str, *, overwrite: bool = True) -> CallFuture[None]:
    """`rename_async` of the store."""
    return store.rename_async(from_, to, overwrite=overwrite)


@overload
def list(
    store: ObjectStoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = _defaults.LIST_CHUNK,
    return_arrow: Literal[False] = False,
    substring: bool = False,
    max_concurrency: int = 1,
) -> ListStream[builtins.list[ObjectMeta]]: ...
@overload
def list(
    store: ObjectStoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = _defaults.LIST_CHUNK,
    return_arrow: Literal[True],
    substring: bool = False,
    max_concurrency: int = 1,
) -> ListStream[RecordBatch]: ...
@overload
def list(
    store: ObjectStoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = _defaults.LIST_CHUNK,
    return_arrow: bool,
    substring: bool = False,
    max_concurrency: int = 1,
) -> ListStream[RecordBatch] | ListStream[builtins.list[ObjectMeta]]: ...
def list(
    store: ObjectStoreMethods,
    prefix: str | None = None,
    *,
    offset: str | None = None,
    chunk_size: int = _defaults.LIST_CHUNK,
    return_arrow: bool = False,
    substring: bool = False,
    max_concurrency: int = 1,
) -> Any:
    """`list` of the store."""
    return store.list(
        prefix,
        offset=offset,
        chunk_size=chunk_size,
        return_arrow=return_arrow,
        substring=substring,
        max_concurrency=max_concurrency,
    )


@overload
def list_with_delimiter(
    store: ObjectStoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: Literal[False] = False,
    substring: bool = False,
) -> ListResult[Sequence[ObjectMeta]]: ...
@overload
def list_with_delimiter(
    store: ObjectStoreMethods, prefix: str | None = None, *, return_arrow: Literal[True], substring: bool = False
) -> ListResult[Table]: ...
def list_with_delimiter(
    store: ObjectStoreMethods, prefix: str | None = None, *, return_arrow: bool = False, substring: bool = False
) -> Any:
    """`list_with_delimiter` of the store."""
    return store.list_with_delimiter(prefix, return_arrow=return_arrow, substring=substring)


@overload
def list_with_delimiter_async(
    store: ObjectStoreMethods,
    prefix: str | None = None,
    *,
    return_arrow: Literal[False] = False,
    substring: bool = False,
) -> CallFuture[ListResult[Sequence[ObjectMeta]]]: ...
@overload
def list_with_delimiter_async(
    store: ObjectStoreMethods, prefix: str | None = None, *, return_arrow: Literal[True], substring: bool = False
) -> CallFuture[ListResult[Table]]: ...
def list_with_delimiter_async(
    store: ObjectStoreMethods, prefix: str | None = None, *, return_arrow: bool = False, substring: bool = False
) -> Any:
    """`list_with_delimiter_async` of the store."""
    return store.list_with_delimiter_async(prefix, return_arrow=return_arrow, substring=substring)


@overload
def sign(  # pyright: ignore[reportOverlappingOverload]
    store: SigningStore, method: HTTP_METHOD, paths: str, expires_in: timedelta
) -> str: ...  # a str is a sequence of them
@overload
def sign(
    store: SigningStore, method: HTTP_METHOD, paths: Sequence[str], expires_in: timedelta
) -> builtins.list[str]: ...
def sign(store: SigningStore, method: HTTP_METHOD, paths: str | Sequence[str], expires_in: timedelta) -> Any:
    """`sign` of the store: an `S3Store`, `GCSStore` or `AzureStore`."""
    from .store._signing import signing

    return signing(store).sign(method, paths, expires_in)


@overload
def sign_async(  # pyright: ignore[reportOverlappingOverload]
    store: SigningStore, method: HTTP_METHOD, paths: str, expires_in: timedelta
) -> CallFuture[str]: ...  # a str is a sequence of them
@overload
def sign_async(
    store: SigningStore, method: HTTP_METHOD, paths: Sequence[str], expires_in: timedelta
) -> CallFuture[builtins.list[str]]: ...
def sign_async(store: SigningStore, method: HTTP_METHOD, paths: str | Sequence[str], expires_in: timedelta) -> Any:
    """`sign_async` of the store."""
    from .store._signing import signing

    return signing(store).sign_async(method, paths, expires_in)


def open_reader(
    store: ObjectStoreMethods, path: str, *, buffer_size: int = _defaults.READ_BUFFER, size: int | None = None
) -> ReadableFile:
    """An object as a file to read, seek in and pass to whatever takes a binary file.

    It is of the version there is now: one HEAD asks for it. When the object is replaced while it is read, the next
    request for it is an error.

    Args:
        store: where the object is.
        path: the object.
        buffer_size: bytes of a block. A block is fetched as a whole where reads are near each other, and eight times as
            much of what was read last is kept.
        size: the object's size in bytes, where it is known from elsewhere: there is no HEAD then. The first read makes
            sure that it is right.

    Raises:
        NotFoundError: there is no such object.
        NotSupportedError: an HTTP server that does not say how long the object is.
    """
    from ._files import ReadableFile, open_reader, sync

    return ReadableFile(sync.run(open_reader(store, path, buffer_size, size)), path)


async def open_reader_async(
    store: ObjectStoreMethods, path: str, *, buffer_size: int = _defaults.READ_BUFFER, size: int | None = None
) -> AsyncReadableFile:
    """`open_reader`, awaited; its methods are awaited, too."""
    from ._files_async import opened_reader

    return await opened_reader(store, path, buffer_size, size)


def open_writer(
    store: ObjectStoreMethods,
    path: str,
    *,
    attributes: Attributes | None = None,
    buffer_size: int = _defaults.WRITE_BUFFER,
    tags: dict[str, str] | None = None,
    mode: PutMode | None = None,
    max_concurrency: int = _defaults.PUT_CONCURRENCY,
) -> WritableFile:
    """An object as a file to write to. It is published by `close`, or by leaving its `with` block without an error.

    Args:
        store: where the object is to be.
        path: the object.
        attributes: what to store with it.
        buffer_size: what has less bytes is written by one request; more is uploaded in parts of this size.
        tags: the object's tags.
        mode: "overwrite" (the default), "create", or an update, as `put` takes it; decided when it is published.
        max_concurrency: how many parts are under way at a time. `write` waits while there are as many.

    Raises:
        ValueError, TypeError: arguments that make no sense. What the store can't do, and what happens to the transfer,
            is raised by `write` and `close`.
    """
    from ._files import WritableFile, open_writer

    writer = open_writer(
        store, path, attributes=attributes, buffer_size=buffer_size, tags=tags, mode=mode,
        max_concurrency=max_concurrency,
    )  # fmt: skip
    return WritableFile(writer, path)


def open_writer_async(
    store: ObjectStoreMethods,
    path: str,
    *,
    attributes: Attributes | None = None,
    buffer_size: int = _defaults.WRITE_BUFFER,
    tags: dict[str, str] | None = None,
    mode: PutMode | None = None,
    max_concurrency: int = _defaults.PUT_CONCURRENCY,
) -> AsyncWritableFile:
    """`open_writer` for event loops. This function is not awaited; the methods of what it returns are."""
    from ._files_async import opened_writer

    return opened_writer(
        store, path, attributes=attributes, buffer_size=buffer_size, tags=tags, mode=mode,
        max_concurrency=max_concurrency,
    )  # fmt: skip
