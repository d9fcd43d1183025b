"""What stores without a server decide themselves: conditions, ranges, typed errors. For memory and local disks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from cumulo._operations.get import Wanted
from cumulo.exceptions import (
    BaseError,
    NotModifiedError,
    NotSupportedError,
    PreconditionError,
    RangeNotSatisfiableError,
)

if TYPE_CHECKING:
    from cumulo._types import ObjectMeta

E = TypeVar("E", bound=BaseError)


def failed(kind: type[E], store: object, operation: str, path: str, message: str, code: str | None = None) -> E:
    """An error that says what was asked of whom."""
    text = f"{operation} {path!r} in {store!r}: {message}"
    return kind(text, operation=operation, store=repr(store), path=path, code=code)


class Checks:
    """Checked `GetOptions`, to be held against an object. Raises at once for options that can't be."""

    def __init__(self, store: object, options: Mapping[str, Any] | None) -> None:
        wanted = Wanted(options)
        self._store = store
        self._given: Mapping[str, Any] = options or {}
        self.range = wanted.range
        self.head = wanted.head
        if wanted.version is not None:
            raise NotSupportedError(f"get in {store!r}: this store keeps no versions; leave out the option version")

    def check(self, path: str, meta: ObjectMeta) -> None:
        """Raises when a condition does not hold, in the order of RFC 9110 13.2.2."""
        etag = meta["e_tag"] or ""
        modified = meta["last_modified"]
        match: str | None = self._given.get("if_match")
        if match is not None:
            if match.strip() != "*" and etag not in _tags(match):
                raise self._error(PreconditionError, path, f"its ETag is {etag}, not {match}")
        else:
            since: datetime | None = self._given.get("if_unmodified_since")
            if since is not None and modified > since:
                raise self._error(PreconditionError, path, f"it was modified {modified}, after {since}")
        self._check_modified(path, etag, modified)

    def _check_modified(self, path: str, etag: str, modified: datetime) -> None:
        match: str | None = self._given.get("if_none_match")
        if match is not None:
            if match.strip() == "*" or etag in [tag.removeprefix("W/") for tag in _tags(match)]:
                raise self._error(NotModifiedError, path, f"its ETag is {etag}")
            return
        since: datetime | None = self._given.get("if_modified_since")
        if since is not None and modified <= since:
            raise self._error(NotModifiedError, path, f"it was modified {modified}, not after {since}")

    def span(self, path: str, size: int) -> tuple[int, int]:
        """(start, end) of the bytes that are asked for."""
        if self.range is None:
            return 0, size
        kind, start, end = self.range
        if kind == "suffix":
            return max(0, size - end), size
        return cut(self._store, "get", path, (start, end if kind == "bounded" else size), size)

    def _error(self, kind: type[E], path: str, message: str) -> E:
        return failed(kind, self._store, "get", path, message)


def cut(store: object, operation: str, path: str, span: tuple[int, int], size: int) -> tuple[int, int]:
    """A range within an object of `size` bytes. Raises `RangeNotSatisfiableError` when it starts behind it."""
    start, end = span
    if start >= size:
        message = f"the range starts at {start}, but the object has {size} bytes"
        raise failed(RangeNotSatisfiableError, store, operation, path, message)
    return start, min(end, size)


def check_sizes(chunk_size: object, max_concurrency: object) -> None:
    """Check what only decides how an upload is cut, which these stores don't do."""
    for name, value in (("chunk_size", chunk_size), ("max_concurrency", max_concurrency)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]
