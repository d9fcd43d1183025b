"""`Plans`: what a store class supplies to the verbs.

`_plan_<verb>` are generators that know no I/O; arguments are checked when one is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan
from cumulo._operations import download, into, passing
from cumulo._operations.list import Scope
from cumulo._operations.parts import check_parts
from cumulo._result import GetResult
from cumulo.exceptions import NotSupportedError, PreconditionError

if TYPE_CHECKING:
    import os

    from cumulo._native import Bytes, PinnedRanges
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._types import (
        Attributes,
        Buffer,
        GetOptions,
        ObjectMeta,
        PutMode,
        PutResult,
        PutSource,
    )

    from ._base import ObjectStoreMethods


class Plans:
    """What the verbs run. Raises `NotImplementedError` where a store class has to say how."""

    _keeps_tags = False
    """Whether objects here can have tags."""
    _keeps_versions = False
    """Whether objects here can have versions."""
    _raw_keys = False
    """Whether a prefix is taken as it stands."""

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
        target = download.target_of(self, path, file, resume=resume, fsync=fsync)
        target.forget_partial()  # a copy is not worth going on with
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
        found = result.meta["e_tag"]
        if found not in (None, etag):  # a web server that takes no notice of If-Match
            raise PreconditionError(f"get {path!r} in {self!r}: its ETag is {found}, not {etag}", path=path)
        content = yield from result._consume().next_chunk(end - start)
        return b"" if content is END else content

    def _pinned_ranges(self, path: str, etag: bytes) -> PinnedRanges | None:
        """The same on the calling thread, where there is a shorter way than by a plan."""
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

    def _check_path(self, path: str, *, written: bool = False) -> None:
        """Raises `InvalidPathError` for what can't be the path of an object here, or of one that is `written`."""
        raise NotImplementedError

    def _pages(self, scope: Scope) -> Any:
        """An object with `next_page() -> Plan[Listing | END]`."""
        raise NotImplementedError
