"""`MemoryStore`: objects in this process's memory. For tests, caches and small data."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

from cumulo._drivers.effects import END, Call, Plan
from cumulo._keys import Keys
from cumulo._native import Bytes, after_fork
from cumulo._operations import delete, put, sources
from cumulo._operations.parts import check_parts
from cumulo._operations.resume import keep_of
from cumulo._providers.base import Listing
from cumulo._records import record
from cumulo._result import GetResult, HeldBody
from cumulo.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

from ._base import ObjectStoreMethods
from ._local_conditions import Checks, check_sizes, cut, failed

if TYPE_CHECKING:
    from cumulo._operations.delete_prefix import DeletedPrefix
    from cumulo._operations.list import Scope
    from cumulo._providers.base import PutPlan
    from cumulo._types import Attributes, GetOptions, ObjectMeta, PutResult

_PAGE = 1000
_COPY_AT_ONCE_BYTES = 1 << 20
"""More than this is not copied on an event loop's thread."""
_STREAM_PART_BYTES = 8 << 20
_READ_STEP_BYTES = 1 << 30
_STANDARD = {
    name.lower(): name
    for name in ("Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Cache-Control",
                 "Storage-Class")
}  # fmt: skip

# One lock for all stores, so that a forked child, whose parent's other threads may have held it, can begin with a new
# one. It is held for a few dictionary operations at most.
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


after_fork(_after_fork)


@record(frozen=True)
class _Entry:
    """One version of an object. Never changes: who has it may read it for as long as it likes."""

    content: Bytes
    attributes: Attributes
    etag: str
    modified: datetime

    def meta(self, path: str) -> ObjectMeta:
        return {
            "path": path,
            "last_modified": self.modified,
            "size": len(self.content),
            "e_tag": self.etag,
            "version": None,
        }


_Snapshot = Callable[[str, "str | None"], "list[tuple[str, _Entry]]"]


class MemoryStore(ObjectStoreMethods):
    """Objects in memory, gone with the store.

    Any thread may use it. What is read stays what it was when the object is replaced meanwhile. `bytes` are kept
    without a copy; other content is copied once. Attributes are kept; tags are accepted and not kept. Two stores are
    never equal, and a store can't be pickled. A forked child has a copy of its own.
    """

    def __init__(self) -> None:
        self._keys = Keys()
        self._entries: dict[str, _Entry] = {}
        self._written = 0

    # -- reading

    def _entry(self, operation: str, path: str) -> _Entry:
        entry = self._entries.get(self._keys.key(path))
        if entry is None:
            raise failed(NotFoundError, self, operation, path, "there is no such object")
        return entry

    def _plan_get(
        self, path: str, options: GetOptions | None, part_size: int | None = None, max_concurrency: int | None = None
    ) -> Plan[GetResult]:
        check_parts(part_size, max_concurrency)  # nothing here is fetched in parts
        yield from ()
        checks = Checks(self, options)
        entry = self._entry("get", path)
        meta = entry.meta(self._keys.key(path))
        checks.check(path, meta)
        start, end = checks.span(path, meta["size"])
        body = HeldBody(Bytes(b"") if checks.head else entry.content[start:end])
        return GetResult(body, meta, (start, end), dict(entry.attributes))

    def _plan_get_range(self, path: str, start: int, end: int) -> Plan[Bytes]:
        yield from ()
        content = self._entry("get_range", path).content
        first, last = cut(self, "get_range", path, (start, end), len(content))
        return content[first:last]

    def _plan_get_ranges(self, path: str, wanted: Sequence[tuple[int, int]], coalesce: int) -> Plan[list[Bytes]]:
        yield from ()
        content = self._entry("get_ranges", path).content
        spans = [cut(self, "get_ranges", path, span, len(content)) for span in wanted]
        return [content[first:last] for first, last in spans]

    def _plan_head(self, path: str) -> Plan[ObjectMeta]:
        yield from ()
        return self._entry("head", path).meta(self._keys.key(path))

    # -- writing

    def _plan_put(
        self,
        path: str,
        file: Any,
        *,
        attributes: Any,
        tags: Any,
        mode: Any,
        use_multipart: bool | None,
        chunk_size: int,
        max_concurrency: int,
        resume: bool | str | os.PathLike[str] = False,
    ) -> Plan[PutResult]:
        keep_of(resume, file, path)  # a copy is not worth going on with
        key = self._keys.key(path)
        plan = put.checked(attributes, tags, mode)
        check_sizes(chunk_size, max_concurrency)
        content = yield from _content_of(file)
        etag = self._write(path, key, content, plan)
        return {"e_tag": etag, "version": None}

    def _write(self, path: str, key: str, content: Bytes, plan: PutPlan) -> str:
        attributes: Attributes = {_STANDARD.get(name.lower(), name): value for name, value in plan.attributes.items()}
        with _lock:
            present = self._entries.get(key)
            if plan.create and present is not None:
                raise failed(AlreadyExistsError, self, "put", path, "there is such an object")
            if plan.if_match is not None and (present is None or present.etag != plan.if_match):
                found = "there is no such object" if present is None else f"its ETag is {present.etag}"
                raise failed(PreconditionError, self, "put", path, f"{found}, not {plan.if_match}")
            return self._store(key, content, attributes)

    def _store(self, key: str, content: Bytes, attributes: Attributes) -> str:
        etag = f'"{self._written}"'
        self._written += 1
        self._entries[key] = _Entry(content, attributes, etag, datetime.now(timezone.utc))
        return etag

    def _check_path(self, path: str, *, written: bool = False) -> None:
        self._keys.key(path)

    def _plan_delete(self, paths: str | Sequence[str]) -> Plan[None]:
        yield from ()
        self._drop([self._keys.key(path) for path in delete.paths_of(paths)])

    def _drop(self, keys: Sequence[str]) -> None:
        with _lock:
            for key in keys:
                self._entries.pop(key, None)

    def _plan_delete_prefix(self, pages: Any, most: int) -> Plan[DeletedPrefix]:
        from cumulo._operations.delete_prefix import one_by_one

        def delete_listed(paths: Sequence[str]) -> Plan[None]:
            yield from ()
            self._drop(paths)  # what a listing gives are keys

        return one_by_one(pages, delete_listed)

    def _plan_copy(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        yield from ()
        self._transfer("copy", from_, to, overwrite)

    def _plan_rename(self, from_: str, to: str, overwrite: bool) -> Plan[None]:
        yield from ()
        self._transfer("rename", from_, to, overwrite)

    def _transfer(self, operation: str, from_: str, to: str, overwrite: bool) -> None:
        source, target = self._keys.key(from_), self._keys.key(to)
        with _lock:
            entry = self._entry(operation, from_)
            if not overwrite and target in self._entries:
                raise failed(AlreadyExistsError, self, operation, to, "there is such an object")
            if operation == "rename" and source == target:
                return
            self._store(target, entry.content, entry.attributes)
            if operation == "rename":
                del self._entries[source]

    # -- listing

    def _pages(self, scope: Scope) -> Any:
        start = self._keys.offset(scope.offset) if scope.offset is not None else None
        prefix = self._keys.list_prefix(scope.prefix, substring=scope.substring)
        return _Pages(self._snapshot, prefix, start, delimiter=scope.delimiter)

    def _snapshot(self, prefix: str, offset: str | None) -> list[tuple[str, _Entry]]:
        with _lock:
            everything = list(self._entries.items())
        return sorted(
            (key, entry) for key, entry in everything if key.startswith(prefix) and (offset is None or key > offset)
        )

    # -- what a store is

    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot pickle 'MemoryStore' object: its content is in this process only")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    def __repr__(self) -> str:
        return "MemoryStore()"


class _Pages:
    """The pages of one listing: what there was when the first was asked for."""

    def __init__(self, snapshot: _Snapshot, prefix: str, offset: str | None, *, delimiter: bool) -> None:
        self._snapshot = snapshot
        self._prefix = prefix
        self._offset = offset
        self._delimiter = delimiter
        self._found: list[tuple[str, _Entry]] | None = None
        self._at = 0

    def next_page(self) -> Plan[Any]:
        everything = self._found
        if everything is None:
            everything = self._found = yield Call(self._snapshot, self._prefix, self._offset)
        found: list[tuple[str, _Entry]] = everything[self._at : self._at + _PAGE]
        if not found:
            return END
        self._at += len(found)
        if self._delimiter:
            return self._one_level(found)
        return Listing([entry.meta(key) for key, entry in found], [], None)

    def _one_level(self, found: Sequence[tuple[str, _Entry]]) -> Listing:
        objects: list[ObjectMeta] = []
        prefixes: dict[str, None] = {}
        skip = len(self._prefix)
        for key, entry in found:
            slash = key.find("/", skip)
            if slash < 0:
                objects.append(entry.meta(key))
            else:
                prefixes[key[:slash]] = None
        return Listing(objects, list(prefixes), None)


def _content_of(file: Any) -> Plan[Bytes]:
    """All of what `put` was given; `bytes` as they are."""
    if isinstance(file, Bytes):
        # Memory of the buffer pool is for transfers, which wait when it is used up: what stays is kept outside.
        return Bytes(file.to_bytes())
    if type(file) is bytes:
        return Bytes(file)
    return (yield from sources.with_source(file, _source_content))


def _source_content(source: sources.Source) -> Plan[Bytes]:
    if source.size is None:
        return (yield from _stream_content(source))
    part: Mapping[str, Any] = yield from source.part(0, source.size)
    if "file" in part:
        return (yield Call(_file_content, *part["file"]))
    if source.size > _COPY_AT_ONCE_BYTES:
        return (yield Call(Bytes, part["body"]))
    return Bytes(part["body"])


def _stream_content(source: sources.Source) -> Plan[Bytes]:
    pieces: list[Any] = []
    while True:
        part = yield from source.part(0, _STREAM_PART_BYTES)
        if len(part["body"]) == 0:
            return Bytes((yield Call(b"".join, pieces)))
        pieces.append(part["body"])


def _file_content(file: Any, start: int, length: int) -> Bytes:
    pieces: list[bytes] = []
    got = 0
    while got < length:
        piece = os.pread(file.fileno(), min(length - got, _READ_STEP_BYTES), start + got)
        if not piece:
            raise OSError(f"{file.name} became shorter while it was read: {got} bytes of {length}")
        pieces.append(piece)
        got += len(piece)
    return Bytes(pieces[0] if len(pieces) == 1 else b"".join(pieces))
