"""`ObjectStoreMethods`: every verb of every store, in its three ways.

A store class supplies plans (`_plan_<verb>`, generators that know no I/O); the methods here run them on the calling
thread, on the running event loop, or, through `store.futures`, in the background.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from cumulo import _arrow, _defaults, _many
from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Plan
from cumulo._many import GetItem, ManyStream, OnError, PutItem
from cumulo._operations import download, into, many, passing, ranges
from cumulo._operations.list import ListStream, Scope, check_chunk_size, check_max_concurrency, list_with_delimiter
from cumulo._operations.parts import check_parts
from cumulo._result import GetResult
from cumulo.exceptions import NotSupportedError

from ._futures import StoreFutures

if TYPE_CHECKING:
    import os

    from arro3.core import RecordBatch, Table

    from cumulo._many import Content
    from cumulo._native import Bytes
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._types import (
        Attributes,
        Buffer,
        CallFuture,
        GetOptions,
        ListResult,
        ObjectMeta,
        ObjectVersion,
        PutMode,
        PutResult,
        PutSource,
    )


class ObjectStoreMethods:
    """The verbs. Errors are those of `cumulo.exceptions`; wrong arguments are `ValueError` or `TypeError`."""

    _keeps_tags = False
    """Whether objects here can have tags."""
    _keeps_versions = False
    """Whether objects here can have versions."""
    _raw_keys = False
    """Whether a prefix is taken as it stands."""

    # -- plans, by each store class

    def _plan_get(
        self, path: str, options: GetOptions | None, part_size: int | None = None, max_concurrency: int | None = None
    ) -> Plan[GetResult]:
        raise NotImplementedError

    def _plan_get_into(
        self, path: str, buffer: Buffer, options: GetOptions | None, part_size: int | None, max_concurrency: int | None
    ) -> Plan[int]:
        into.checked(options)
        with into.writable(buffer) as view:
            return (yield from into.copied(self._plan_get(path, options, part_size, max_concurrency), view))

    def _plan_download(
        self,
        path: str,
        file: str | os.PathLike[str],
        *,
        options: GetOptions | None,
        part_size: int | None,
        max_concurrency: int | None,
        resume: bool,
        fsync: bool,
    ) -> Plan[ObjectMeta]:
        into.checked(options)
        check_parts(part_size, max_concurrency)
        target = download.target_of(self, path, file, resume=False, fsync=fsync)  # a copy is not worth going on with
        return download.copied(target, lambda: self._plan_get(path, options))

    def _plan_get_range_into(
        self, path: str, buffer: Buffer, start: int, end: int | None, length: int | None
    ) -> Plan[int]:
        with into.writable(buffer) as view:
            span = into.range_of(view, start, end, length)
            return (yield from into.copied(self._plan_get(path, {"range": span}), view))

    def _plan_get_ranges_into(
        self, path: str, buffers: Sequence[Buffer], starts: Sequence[int], coalesce: int
    ) -> Plan[list[int]]:
        with into.all_writable(buffers) as views:
            found = yield from self._plan_get_ranges(path, into.spans_of(views, starts), coalesce)
            for view, content in zip(views, found, strict=True):
                view[: len(content)] = memoryview(content)
            return [len(content) for content in found]

    def _plan_get_range(self, path: str, start: int, end: int) -> Plan[Bytes]:
        raise NotImplementedError

    def _plan_get_pinned(self, path: str, etag: str, start: int, end: int) -> Plan[bytes]:
        """A short range of the version with this strong ETag; `PreconditionError` when there is another."""
        result = yield from self._plan_get(path, {"range": (start, end), "if_match": etag})
        content: bytes = yield from result._consume().next_chunk(end - start)
        return content

    def _get_pinned(self, path: str, etag: bytes, start: int, end: int) -> bytes | None:
        """The same on this thread, where there is a shorter way than by a plan; None where there is none."""
        return None

    def _plan_get_ranges(self, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
        raise NotImplementedError

    def _plan_head(self, path: str) -> Plan[ObjectMeta]:
        raise NotImplementedError

    def _plan_put(
        self,
        path: str,
        file: PutSource,
        *,
        attributes: Attributes | None,
        tags: dict[str, str] | None,
        mode: PutMode | None,
        use_multipart: bool | None,
        chunk_size: int,
        max_concurrency: int,
        resume: bool | str | os.PathLike[str] = False,
    ) -> Plan[PutResult]:
        raise NotImplementedError

    def _plan_delete(self, paths: str | Sequence[str]) -> Plan[None]:
        raise NotImplementedError

    def _plan_delete_version(self, path: str, version: str) -> Plan[None]:
        raise self._no_versions()

    def _version_pages(self, scope: Scope) -> Any:
        """The pages of `list_versions`."""
        raise self._no_versions()

    def _no_versions(self) -> NotSupportedError:
        return NotSupportedError(f"{self!r} keeps no versions")

    def _plan_delete_prefix(self, pages: Any, most: int) -> Plan[DeletedPrefix]:
        from cumulo._operations import delete_prefix

        return delete_prefix.one_by_one(pages, self._plan_delete)

    def _plan_copy(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        raise NotImplementedError

    def _plan_copy_from(self, source: ObjectStoreMethods, from_: str, to: str, overwrite: bool) -> Plan[None] | None:
        """A copy from another store by the server both are on; None where there is no such server."""
        return None

    def _plan_rename(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        raise NotImplementedError

    def _plan_open(self, path: str, part_bytes: int, max_concurrency: int) -> Plan[passing.Opened]:
        """One version of an object, as the source of a put."""
        return passing.opened((yield from self._plan_get(path, None, part_bytes, max_concurrency)))

    def _unready(self) -> Plan[None] | None:
        """What has to be found out before requests can be made; None where nothing has."""
        return None

    def _kept(self, attributes: Attributes) -> Attributes:
        """What of another store's attributes objects here can have. A storage class is one provider's own."""
        return {name: value for name, value in attributes.items() if name.lower() != "storage-class"}

    def _check_path(self, path: str) -> None:
        """Raises `InvalidPathError` for what can't be an object's path here."""
        raise NotImplementedError

    def _pages(self, scope: Scope) -> Any:
        """An object with `next_page() -> Plan[Listing | END]`."""
        raise NotImplementedError

    # -- get

    def get(
        self,
        path: str,
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> GetResult:
        """Start reading an object: one request, whose body waits until the result is consumed.

        When it is consumed and is larger than a part, further requests fetch parts of the same version of it in
        parallel: pinned by its ETag, in order for a stream, each straight to its place otherwise. A server that gives
        no strong ETag or serves no ranges is read by the one request.

        A checksum of the whole that the server sends is verified. Parts can show a CRC of it (CRC64NVME, CRC32C,
        CRC32), but no SHA-256, SHA-1 or MD5: those are verified where there is one request.

        Args:
            path: the object.
            options: conditions, a range, a version.
            part_size: bytes of a part. Default: 8 MiB.
            max_concurrency: how many parts are under way at a time; 1 is exactly one request. Default: 16.

        Raises:
            NotFoundError: there is no such object.
            ObjectChangedError: the object was replaced while it was read.
            PreconditionError, NotModifiedError: a condition in `options` does not hold.
        """
        return sync.run(self._plan_get(path, options, part_size, max_concurrency))

    def get_async(
        self,
        path: str,
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> CallFuture[GetResult]:
        """`get`, awaited."""
        return run_async(self._plan_get(path, options, part_size, max_concurrency))

    def get_into(
        self,
        path: str,
        buffer: Buffer,
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> int:
        """Read an object into memory that the caller owns; returns how many bytes it has.

        Args:
            path: the object.
            buffer: any writable, C-contiguous buffer (bytearray, memoryview, mmap, shared memory, NumPy array), or a
                torch tensor in the CPU's memory. It must hold the whole content; what is behind it is left as it is.
            options: as for `get`.
            part_size: as for `get`.
            max_concurrency: as for `get`.

        After an error or a cancel the buffer's content is undefined, but nothing is written to it any more.

        Raises:
            TypeError: `buffer` is no buffer, or read-only.
            ValueError: it is not contiguous, or the object is larger.
            NotFoundError, ObjectChangedError, PreconditionError, NotModifiedError: as for `get`.
        """
        return sync.run(self._plan_get_into(path, buffer, options, part_size, max_concurrency))

    def get_into_async(
        self,
        path: str,
        buffer: Buffer,
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> CallFuture[int]:
        """`get_into`, awaited."""
        return run_async(self._plan_get_into(path, buffer, options, part_size, max_concurrency))

    def get_range_into(
        self, path: str, buffer: Buffer, *, start: int, end: int | None = None, length: int | None = None
    ) -> int:
        """Fill a buffer with the bytes from `start` on; returns how many there were: fewer where the object ends.

        `end` or `length` need not be given; where they are, they must agree with the buffer's size.

        Raises:
            RangeNotSatisfiableError: `start` is behind the object's end.
            TypeError, ValueError: as for `get_into`; or the range is not as long as the buffer.
        """
        return sync.run(self._plan_get_range_into(path, buffer, start, end, length))

    def get_range_into_async(
        self, path: str, buffer: Buffer, *, start: int, end: int | None = None, length: int | None = None
    ) -> CallFuture[int]:
        """`get_range_into`, awaited."""
        return run_async(self._plan_get_range_into(path, buffer, start, end, length))

    def get_ranges_into(
        self, path: str, buffers: Sequence[Buffer], *, starts: Sequence[int], coalesce: int = _defaults.COALESCE
    ) -> list[int]:
        """Fill each buffer with the bytes from its start on; returns how many there were for each.

        Raises:
            ObjectChangedError: the object was replaced between the requests.
            TypeError, ValueError: as for `get_into`; or there are not as many buffers as starts.
        """
        return sync.run(self._ranges_into_plan(path, buffers, starts, coalesce))

    def get_ranges_into_async(
        self, path: str, buffers: Sequence[Buffer], *, starts: Sequence[int], coalesce: int = _defaults.COALESCE
    ) -> CallFuture[list[int]]:
        """`get_ranges_into`, awaited."""
        return run_async(self._ranges_into_plan(path, buffers, starts, coalesce))

    def _ranges_into_plan(self, path: str, buffers: Any, starts: Any, coalesce: int) -> Plan[list[int]]:
        return self._plan_get_ranges_into(path, buffers, starts, _checked_coalesce(coalesce))

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
    ) -> ObjectMeta:
        """An object to a local file, whole or not at all; its metadata.

        The content goes to a temporary file beside the target, written by native code, and takes the target's name when
        all of it is there and its checksum, where the server sends one, is right. A file that was there keeps its
        permission bits. After an error or a cancel nothing is left.

        Args:
            path: the object.
            file: where to; its directory must exist.
            options: as for `get`, but for `head`.
            part_size: as for `get`.
            max_concurrency: as for `get`.
            resume: go on where a call that failed, was cancelled or died has stopped, if the object is still the same,
                and leave what has come for another: `.<name>.cumulo-part` beside the target, and a token with its name
                and `.json`. Small objects, those that can't be fetched in parts, and those of local and memory stores
                always begin anew.
            fsync: return once the file would survive a power cut.

        Raises:
            LocalFileError: the file can't be written: a full disk, a read-only directory, a directory in its place.
            NotFoundError: there is no such object.
            ObjectChangedError: the object was replaced while it was read.
        """
        return sync.run(
            self._plan_download(
                path, file, options=options, part_size=part_size, max_concurrency=max_concurrency, resume=resume,
                fsync=fsync,
            )
        )  # fmt: skip

    def download_async(
        self,
        path: str,
        file: str | os.PathLike[str],
        *,
        options: GetOptions | None = None,
        part_size: int | None = None,
        max_concurrency: int | None = None,
        resume: bool = False,
        fsync: bool = False,
    ) -> CallFuture[ObjectMeta]:
        """`download`, awaited."""
        return run_async(
            self._plan_download(
                path, file, options=options, part_size=part_size, max_concurrency=max_concurrency, resume=resume,
                fsync=fsync,
            )
        )  # fmt: skip

    def get_range(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> Bytes:
        """Bytes `start` to `end` (exclusive), or `length` bytes from `start`; fewer where the object ends before.

        Raises:
            RangeNotSatisfiableError: `start` is behind the object's end.
            ValueError: the range is empty, or both or neither of `end` and `length` are given.
        """
        return sync.run(self._plan_get_range(path, *ranges.span(start, end, length)))

    def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> CallFuture[Bytes]:
        """`get_range`, awaited."""
        return run_async(self._plan_get_range(path, *ranges.span(start, end, length)))

    def get_ranges(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
        coalesce: int = _defaults.COALESCE,
    ) -> list[Bytes]:
        """Several ranges at once. Ranges at most `coalesce` bytes apart share a request; 0 merges nothing.

        Raises:
            ObjectChangedError: the object was replaced between the requests.
            ValueError: the sequences differ in length, or a range is empty.
        """
        return sync.run(self._ranges_plan(path, starts, ends, lengths, coalesce))

    def get_ranges_async(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
        coalesce: int = _defaults.COALESCE,
    ) -> CallFuture[list[Bytes]]:
        """`get_ranges`, awaited."""
        return run_async(self._ranges_plan(path, starts, ends, lengths, coalesce))

    def _ranges_plan(self, path: str, starts: Any, ends: Any, lengths: Any, coalesce: int) -> Plan[list[Bytes]]:
        return self._plan_get_ranges(path, ranges.spans(starts, ends, lengths), _checked_coalesce(coalesce))

    def head(self, path: str, *, version: str | None = None) -> ObjectMeta:
        """An object's metadata, or that of one of its versions.

        Raises:
            NotFoundError: there is no such object.
            NotSupportedError: `version` on a store that keeps none.
        """
        return sync.run(self._head_plan(path, version))

    def head_async(self, path: str, *, version: str | None = None) -> CallFuture[ObjectMeta]:
        """`head`, awaited."""
        return run_async(self._head_plan(path, version))

    def _head_plan(self, path: str, version: str | None) -> Plan[ObjectMeta]:
        if version is None:
            return self._plan_head(path)
        if not self._keeps_versions:
            raise self._no_versions()
        return many.mapped(self._plan_get(path, {"version": version, "head": True}), lambda found: found.meta)

    # -- put

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
    ) -> PutResult:
        """Write an object, all of it or not at all.

        Args:
            path: where to.
            file: bytes or any contiguous buffer, a file open for reading, a `pathlib.Path`, or an iterator of buffers.
            attributes: what to store with it.
            tags: the object's tags.
            mode: "overwrite" (the default), "create", or a dict with the `e_tag` it must still have. A conditional
                put is one request up to the provider's limit, whatever `chunk_size` is.
            use_multipart: True or False to force it; None uploads in parts what is larger than `chunk_size`.
            chunk_size: size of a part in bytes. Parts are never smaller than the provider allows, and grow where the
                object would otherwise need more parts than there may be.
            max_concurrency: how many parts are under way at a time.
            resume: go on with the upload in parts of this file to this place that a call with `resume` has left, if the
                file is still the same, and leave what has been sent for another when this call fails or is cancelled.
                What is known of it is a small file, `.<name>.cumulo-put-<digest>.json` beside `file`, or the one that
                is named here in place of True. `file` must be a `pathlib.Path`. Stores without uploads in parts just
                write. Of several such calls at a time the first to be done writes the object, and others may fail.

        Raises:
            AlreadyExistsError: with mode "create", when there is such an object.
            PreconditionError: with an update, when the object is another version now.
            SourceChangedError: the file was cut, extended or written to while it was uploaded (S3).
            LocalFileError: the token of `resume` can't be written.
            TypeError: `file` is a str: give bytes, or `pathlib.Path` for a file's name.
            ValueError: `resume`, and `file` is no `pathlib.Path`.
        """
        return sync.run(
            self._plan_put(
                path, file, attributes=attributes, tags=tags, mode=mode, use_multipart=use_multipart,
                chunk_size=chunk_size, max_concurrency=max_concurrency, resume=resume,
            )
        )  # fmt: skip

    def put_async(
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
    ) -> CallFuture[PutResult]:
        """`put`, awaited. `file` may also be an async iterator; other iterators and files are read in a thread."""
        return run_async(
            self._plan_put(
                path, file, attributes=attributes, tags=tags, mode=mode, use_multipart=use_multipart,
                chunk_size=chunk_size, max_concurrency=max_concurrency, resume=resume,
            )
        )  # fmt: skip

    # -- many at once

    def get_many(
        self,
        items: Iterable[str | tuple[str, int, int]] | AsyncIterable[str | tuple[str, int, int]],
        *,
        max_concurrency: int = _defaults.MANY_CONCURRENCY,
        ordered: bool = False,
        errors: OnError = "raise",
    ) -> ManyStream[GetItem]:
        """Read any number of objects and ranges, for `for` or `async for`: results come as they are complete.

        Each item is a request of its own (a large object: several); near ranges are not merged, `get_ranges` does that.
        Items are pulled as results are taken, at most `2 * max_concurrency` ahead of them. Results that nobody takes
        hold up what follows: what they and the transfers under way need stays within the process's `memory_bytes`.

        Args:
            items: paths, or (path, start, length) in bytes. With `async for` also an async iterable; iterators that are
                no collections in memory are then read in a thread.
            max_concurrency: how many items are under way at a time.
            ordered: give results in the items' order; one that is slow then holds up those behind it.
            errors: "raise" ends the stream with the first error, after the results that were complete before it;
                "return" makes it a result like the others (`GetItem.error`).

        Raises:
            TypeError: an item is something else; whatever `errors` is.
        """
        _many.check(max_concurrency, errors, items)
        return ManyStream(
            items, self._get_start, GetItem, max_concurrency=max_concurrency, ordered=ordered, errors=errors
        )

    def _get_start(self, item: Any) -> tuple[str, Plan[many.Got]]:
        wish = many.wish_of(item)
        return wish.path, many.get_one(wish, self._plan_whole, self._plan_get_range, bounded=True)

    def _plan_whole(self, path: str) -> Plan[GetResult]:
        return self._plan_get(path, None)

    def put_many(
        self,
        items: Iterable[tuple[str, Content]] | AsyncIterable[tuple[str, Content]],
        *,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        mode: PutMode | None = None,
        chunk_size: int = _defaults.PUT_CHUNK,
        max_concurrency: int = _defaults.MANY_CONCURRENCY,
        ordered: bool = False,
        errors: OnError = "raise",
    ) -> ManyStream[PutItem]:
        """Write any number of objects, for `for` or `async for`: results come as they are complete.

        Nothing is written before results are asked for, and everything only when the stream is read to its end.

        Args:
            items: (path, content) pairs, content being bytes, a buffer, or the `pathlib.Path` of a file. They are
                pulled as in `get_many`.
            attributes: what to store with each.
            tags: the tags of each.
            mode: "overwrite" (the default), "create", or an update, as `put` takes it.
            chunk_size: what is larger is uploaded in parts of this size, in bytes.
            max_concurrency: how many items are under way at a time.
            ordered: give results in the items' order.
            errors: as `get_many` takes it. What is under way when an error is raised is stopped; objects whose puts
                were complete stay.

        Raises:
            TypeError: an item is something else; whatever `errors` is.
        """
        _many.check(max_concurrency, errors, items)
        put = self._putter(attributes, tags, mode, chunk_size)

        def start(item: Any) -> tuple[str, Plan[PutResult]]:
            gift = many.gift_of(item)
            return gift.path, many.put_one(gift, put, bounded=True)

        return ManyStream(items, start, PutItem, max_concurrency=max_concurrency, ordered=ordered, errors=errors)

    def _putter(
        self, attributes: Attributes | None, tags: dict[str, str] | None, mode: PutMode | None, chunk_size: int
    ) -> Callable[[str, Any], Plan[PutResult]]:
        def plan(path: str, content: Any) -> Plan[PutResult]:
            return self._plan_put(
                path, content, attributes=attributes, tags=tags, mode=mode, use_multipart=None,
                chunk_size=chunk_size, max_concurrency=_defaults.PUT_CONCURRENCY,
            )  # fmt: skip

        return plan

    # -- delete, copy, rename

    def delete(self, paths: str | Sequence[str], *, version: str | None = None) -> None:
        """Delete one object or many; many with the provider's bulk requests where it has them.

        A missing object is an error on local disks (`NotFoundError`) and none on S3 and in memory.

        Args:
            paths: one path or several.
            version: delete this version of one object, for good. A delete marker is a version, too: without it the
                object is back.

        Raises:
            NotSupportedError: `version` on a store that keeps none.
        """
        sync.run(self._delete_plan(paths, version))

    def delete_async(self, paths: str | Sequence[str], *, version: str | None = None) -> CallFuture[None]:
        """`delete`, awaited."""
        return run_async(self._delete_plan(paths, version))

    def _delete_plan(self, paths: str | Sequence[str], version: str | None) -> Plan[None]:
        if version is None:
            return self._plan_delete(paths)
        if not isinstance(paths, str):
            raise TypeError("a version is one object's: give its path as a str")
        return self._plan_delete_version(paths, version)

    def delete_prefix(
        self,
        prefix: str,
        *,
        substring: bool = False,
        everything: bool = False,
        max_concurrency: int = _defaults.DELETE_CONCURRENCY,
        errors: OnError = "raise",
    ) -> DeletedPrefix:
        """Delete all objects below a prefix: listed a page at a time, deleted with bulk requests where there are any.

        What is written meanwhile may be deleted or not. Where the bucket keeps versions, they are left alone: the
        objects get delete markers. Directories of local disks and WebDAV collections stay.

        Args:
            prefix: whole path segments, as for `list`.
            substring: the prefix may end anywhere.
            everything: has to be True for an empty prefix, which is all of the store, and only for that.
            max_concurrency: how many requests that delete are under way at a time (where they are requests).
            errors: objects that can't be deleted don't keep the rest from it. Then "raise" raises the first error;
                "return" leaves them to `DeletedPrefix.errors`. A listing or a whole bulk request that fails is raised
                at once in any case.

        Raises:
            ValueError: `everything` is missing, or wrong.
        """
        return sync.run(self._delete_prefix_plan(prefix, substring, everything, max_concurrency, errors))

    def delete_prefix_async(
        self,
        prefix: str,
        *,
        substring: bool = False,
        everything: bool = False,
        max_concurrency: int = _defaults.DELETE_CONCURRENCY,
        errors: OnError = "raise",
    ) -> CallFuture[DeletedPrefix]:
        """`delete_prefix`, awaited."""
        return run_async(self._delete_prefix_plan(prefix, substring, everything, max_concurrency, errors))

    def _delete_prefix_plan(
        self, prefix: str, substring: bool, everything: bool, max_concurrency: int, errors: OnError
    ) -> Plan[DeletedPrefix]:
        from cumulo._operations import delete_prefix

        delete_prefix.check_prefix(prefix, raw=self._raw_keys, everything=everything)
        if errors not in ("raise", "return"):
            raise ValueError(f"errors must be 'raise' or 'return', not {errors!r}")
        most = check_max_concurrency(max_concurrency)
        plan = self._plan_delete_prefix(self._pages(Scope(prefix, substring=substring)), most)
        return delete_prefix.told(plan, prefix, errors)

    def copy(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy inside the store, without the content passing through here.

        Raises:
            AlreadyExistsError: `to` exists and `overwrite` is False.
            NotFoundError: there is no `from_`.
        """
        sync.run(self._plan_copy(from_, to, overwrite))

    def copy_async(self, from_: str, to: str, *, overwrite: bool = True) -> CallFuture[None]:
        """`copy`, awaited."""
        return run_async(self._plan_copy(from_, to, overwrite))

    def rename(self, from_: str, to: str, *, overwrite: bool = True) -> None:
        """Copy, then delete the source. Renaming to the same path changes nothing."""
        sync.run(self._plan_rename(from_, to, overwrite))

    def rename_async(self, from_: str, to: str, *, overwrite: bool = True) -> CallFuture[None]:
        """`rename`, awaited."""
        return run_async(self._plan_rename(from_, to, overwrite))

    # -- list

    @overload
    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = _defaults.LIST_CHUNK,
        return_arrow: Literal[False] = False,
        substring: bool = False,
        max_concurrency: int = 1,
    ) -> ListStream[list[ObjectMeta]]: ...
    @overload
    def list(
        self,
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
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = _defaults.LIST_CHUNK,
        return_arrow: bool,
        substring: bool = False,
        max_concurrency: int = 1,
    ) -> ListStream[RecordBatch] | ListStream[list[ObjectMeta]]: ...
    def list(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = _defaults.LIST_CHUNK,
        return_arrow: bool = False,
        substring: bool = False,
        max_concurrency: int = 1,
    ) -> Any:
        """The objects below a prefix, recursively, in the provider's order, as a stream of lists or of Arrow batches.

        Args:
            prefix: whole path segments: `"a/b"` finds `a/b/c` and not `a/bc`. With `raw_keys`, any beginning of a key.
            offset: only paths behind this one.
            chunk_size: how many objects a chunk has (the last may have fewer).
            return_arrow: chunks are `arro3.core.RecordBatch`es in place of lists, with the columns `path` (utf8),
                `last_modified` (timestamp in microseconds, UTC), `size` (uint64, bytes), `e_tag` and `version` (utf8,
                nullable). Their memory is what the page was read into: nothing that takes Arrow data copies it.
            substring: the prefix may end anywhere: `"a/b"` finds `a/bc` too.
            max_concurrency: how many requests may be under way at a time. With more than one, S3 and Cloud Storage are
                listed in ranges of keys side by side, split where small requests of one key each have found that there
                is something; results and their order are the same, pages are asked for ahead (32 pages for each, at
                most, are held while nobody reads them). Other stores, and S3's directory buckets, are listed page by
                page.

        Raises:
            MissingExtraError: `return_arrow` without arro3-core: `pip install 'cumulo[arrow]'`.
            GenericError: with `return_arrow`, a key that is not UTF-8, or an object whose size is not known.
        """
        if return_arrow:
            _arrow.check()
        size = check_chunk_size(chunk_size)
        scope = Scope(
            prefix, offset, arrow=return_arrow, substring=substring,
            max_concurrency=check_max_concurrency(max_concurrency),
        )  # fmt: skip
        pages = self._pages(scope)
        return ListStream[Any](pages, size, arrow=return_arrow)

    @overload
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = _defaults.LIST_CHUNK,
        return_arrow: Literal[False] = False,
        substring: bool = False,
        max_concurrency: int = 1,
    ) -> ListStream[list[ObjectMeta]]: ...
    @overload
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = _defaults.LIST_CHUNK,
        return_arrow: Literal[True],
        substring: bool = False,
        max_concurrency: int = 1,
    ) -> ListStream[RecordBatch]: ...
    def list_async(
        self,
        prefix: str | None = None,
        *,
        offset: str | None = None,
        chunk_size: int = _defaults.LIST_CHUNK,
        return_arrow: bool = False,
        substring: bool = False,
        max_concurrency: int = 1,
    ) -> Any:
        """The same as `list`: its stream can be read with `async for`."""
        return self.list(
            prefix,
            offset=offset,
            chunk_size=chunk_size,
            return_arrow=return_arrow,
            substring=substring,
            max_concurrency=max_concurrency,
        )

    @overload
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: Literal[False] = False, substring: bool = False
    ) -> ListResult[Sequence[ObjectMeta]]: ...
    @overload
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: Literal[True], substring: bool = False
    ) -> ListResult[Table]: ...
    def list_with_delimiter(
        self, prefix: str | None = None, *, return_arrow: bool = False, substring: bool = False
    ) -> Any:
        """The objects and "directories" just below a prefix.

        Args:
            prefix: as for `list`.
            substring: as for `list`.
            return_arrow: the objects are an `arro3.core.Table`, with the columns that `list` says.

        Raises:
            MissingExtraError, GenericError: with `return_arrow`, as for `list`.
        """
        return sync.run(self._delimiter_plan(prefix, return_arrow, substring))

    @overload
    def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: Literal[False] = False, substring: bool = False
    ) -> CallFuture[ListResult[Sequence[ObjectMeta]]]: ...
    @overload
    def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: Literal[True], substring: bool = False
    ) -> CallFuture[ListResult[Table]]: ...
    def list_with_delimiter_async(
        self, prefix: str | None = None, *, return_arrow: bool = False, substring: bool = False
    ) -> Any:
        """`list_with_delimiter`, awaited."""
        return run_async(self._delimiter_plan(prefix, return_arrow, substring))

    def _delimiter_plan(self, prefix: str | None, return_arrow: bool, substring: bool) -> Plan[ListResult[Any]]:
        if return_arrow:
            _arrow.check()
        scope = Scope(prefix, delimiter=True, arrow=return_arrow, substring=substring)
        return list_with_delimiter(self._pages(scope), arrow=return_arrow)

    def list_versions(
        self, prefix: str | None = None, *, substring: bool = False, chunk_size: int = _defaults.LIST_CHUNK
    ) -> ListStream[list[ObjectVersion]]:
        """All versions of the objects below a prefix, as a stream of lists, for `for` and `async for`.

        S3 gives the newest version of a key first, and delete markers; Cloud Storage and Azure the oldest first, and no
        markers: there, an object whose versions are none of them the latest was deleted.

        Args:
            prefix: as for `list`.
            substring: as for `list`.
            chunk_size: how many versions a chunk has (the last may have fewer).

        Raises:
            NotSupportedError: the store keeps no versions.
        """
        size = check_chunk_size(chunk_size)
        return ListStream(self._version_pages(Scope(prefix, substring=substring)), size)

    # -- the third way

    @property
    def futures(self) -> StoreFutures:
        """The same verbs as `concurrent.futures.Future`s."""
        return StoreFutures(self)

    def stats(self) -> dict[str, int]:
        """Counters of this store's requests in this process; empty where there are none."""
        return {}


def _checked_coalesce(coalesce: Any) -> int:
    if not isinstance(coalesce, int) or isinstance(coalesce, bool) or coalesce < 0:
        raise ValueError(f"coalesce must be 0 or a positive integer, not {coalesce!r}")
    return coalesce
