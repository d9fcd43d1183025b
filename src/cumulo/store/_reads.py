"""The verbs that read objects, in two of their three ways."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cumulo import _defaults, _many
from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Plan
from cumulo._many import GetItem, ManyStream, OnError
from cumulo._operations import many, ranges
from cumulo._result import GetResult

from ._plans import Plans

if TYPE_CHECKING:
    import os

    from cumulo._native import Bytes
    from cumulo._types import (
        Buffer,
        CallFuture,
        GetOptions,
        ObjectMeta,
    )


class Reads(Plans):
    """Whole objects, ranges, many at once, to files, into memory of the caller's."""

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

        A checksum of the whole that the server sends is verified: CRC64NVME, CRC32C, CRC32, SHA-256, SHA-1 or MD5,
        the first of these that there is.

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
            TypeError: `buffer` is no buffer, read-only, or holds references to Python objects; a tensor elsewhere.
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
            RangeNotSatisfiableError: a range begins behind the object's end.
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
            RangeNotSatisfiableError: a range begins behind the object's end.
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
        _many.check(max_concurrency, errors, items, ordered)
        return ManyStream(
            items, self._get_start, GetItem, max_concurrency=max_concurrency, ordered=ordered, errors=errors
        )

    def _get_start(self, item: Any) -> tuple[str, Plan[many.Got]]:
        wish = many.wish_of(item)
        return wish.path, many.get_one(wish, self._plan_whole, self._plan_get_range, bounded=True)

    def _plan_whole(self, path: str) -> Plan[GetResult]:
        return self._plan_get(path, None)


def _checked_coalesce(coalesce: Any) -> int:
    if not isinstance(coalesce, int) or isinstance(coalesce, bool) or coalesce < 0:
        raise ValueError(f"coalesce must be 0 or a positive integer, not {coalesce!r}")
    return coalesce
