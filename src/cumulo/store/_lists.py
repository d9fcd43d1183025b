"""The verbs that list, in two of their three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from cumulo import _arrow, _defaults
from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Plan
from cumulo._given import flag
from cumulo._operations.list import ListStream, Scope, check_chunk_size, check_max_concurrency, list_with_delimiter

from ._plans import Plans

if TYPE_CHECKING:
    from arro3.core import RecordBatch, Table

    from cumulo._types import (
        CallFuture,
        ListResult,
        ObjectMeta,
        ObjectVersion,
    )


class Lists(Plans):
    """What is below a prefix: all of it, one level, or every version."""

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
        if flag("return_arrow", return_arrow):
            _arrow.check()
        size = check_chunk_size(chunk_size)
        scope = Scope(
            prefix, offset, arrow=return_arrow, substring=flag("substring", substring),
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
        if flag("return_arrow", return_arrow):
            _arrow.check()
        scope = Scope(prefix, delimiter=True, arrow=return_arrow, substring=flag("substring", substring))
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
        return ListStream(self._version_pages(Scope(prefix, substring=flag("substring", substring))), size)
