"""The shapes of arguments and results, all importable at run time. Names and keys are obstore's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

ListChunkType = TypeVar("ListChunkType", covariant=True)

if TYPE_CHECKING:
    import asyncio
    from types import CoroutineType

    T = TypeVar("T")

    # At run time it is a future with the methods of a coroutine (extension/core/futures.pxi), or, where no event loop
    # is running, a coroutine.
    class CallFuture(asyncio.Future[T], CoroutineType[Any, Any, T]):  # type: ignore[misc]
        """What async calls return: awaitable, cancellable, and good for `asyncio.create_task` and `asyncio.run`."""


Attribute: TypeAlias = (
    Literal[
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Cache-Control",
        "Storage-Class",
    ]
    | str
)
"""An attribute's name, in any case: one of the standard ones, or the name of user-defined metadata."""

Attributes: TypeAlias = dict[Attribute, str]
"""What is stored with an object besides its content. Listings don't have it."""

Buffer: TypeAlias = Any
"""An object with the buffer protocol (`bytes`, `memoryview`, a NumPy array ...), contiguous."""

PutSource: TypeAlias = (
    IO[bytes]
    | os.PathLike[str]
    | bytes
    | Iterator[Buffer]
    | Iterable[Buffer]
    | AsyncIterator[Buffer]
    | AsyncIterable[Buffer]
    | Buffer
)
"""What `put` takes. Async iterators only in async calls."""


class ObjectMeta(TypedDict):
    """What a store knows of an object without reading it."""

    path: str
    """The path within the store, below its prefix."""
    last_modified: datetime
    """When it was last written, in UTC."""
    size: int
    """In bytes."""
    e_tag: str | None
    """The entity tag (RFC 9110 8.8.3), with its quotes."""
    version: str | None
    """The version, where the bucket keeps versions."""


class ObjectVersion(ObjectMeta):
    """One version of an object, or what marks it as deleted."""

    is_latest: bool
    """Whether a read that names no version finds this one (a delete marker: finds nothing)."""
    is_delete_marker: bool
    """Whether the object was deleted here: such a version has no content. Of S3 only."""


class OffsetRange(TypedDict):
    """All bytes from an offset on."""

    offset: int
    """Where to start, in bytes."""


class SuffixRange(TypedDict):
    """The last bytes of an object."""

    suffix: int
    """How many."""


class GetOptions(TypedDict, total=False):
    """Options of `get`; each may be left out or None. Conditions are RFC 9110 section 13's."""

    if_match: str | None
    """Only if the ETag is one of these (`*` for any), else `PreconditionError`."""
    if_none_match: str | None
    """Only if the ETag is none of these, else `NotModifiedError`."""
    if_unmodified_since: datetime | None
    """Only if not written since, else `PreconditionError`."""
    if_modified_since: datetime | None
    """Only if written since, else `NotModifiedError`."""
    range: tuple[int, int] | Sequence[int] | OffsetRange | SuffixRange
    """`(start, end)` with `end` exclusive, `{"offset": n}` or `{"suffix": n}`. An end behind the object's end is cut;
    a start behind it is an error."""
    version: str | None
    """This version of the object."""
    head: bool
    """Only the metadata: no content is transferred."""


class UpdateVersion(TypedDict, total=False):
    """What an object must still be for `put(mode=...)` to replace it."""

    e_tag: str | None
    version: str | None


PutMode: TypeAlias = Literal["create", "overwrite"] | UpdateVersion
"""`"create"`: only if there is no such object, else `AlreadyExistsError`. `"overwrite"`: the default. A dict: only if
the object is still that version, else `PreconditionError`."""


class PutResult(TypedDict):
    """What was written."""

    e_tag: str | None
    version: str | None


class ListResult(TypedDict, Generic[ListChunkType]):
    """One level of a listing."""

    common_prefixes: Sequence[str]
    """The "directories" of this level."""
    objects: ListChunkType
    """The objects of this level."""
