"""`ObjectStore`: any store of cumulo's as a store of zarr 3 (extra `cumulo[zarr]`).

zarr's own `zarr.storage.ObjectStore` accepts obstore's classes only; this one has its name and arguments. It holds no
state but the store: what zarr asks for is asked of the store, now. Chunks and the parts of shards are received into the
memory that zarr's buffers then are. zarr calls it on the event loop of its own thread.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from cumulo.exceptions import AlreadyExistsError, MissingExtraError, NotSupportedError, RangeNotSatisfiableError
from cumulo.store import ObjectStoreMethods

try:
    from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    from zarr.core.buffer import default_buffer_prototype
except ImportError as error:
    raise MissingExtraError("cumulo.zarr needs zarr 3: pip install 'cumulo[zarr]'") from error

if TYPE_CHECKING:
    from typing_extensions import Self
    from zarr.core.buffer import Buffer, BufferPrototype

    from cumulo import Bytes, GetOptions

__all__ = ["ObjectStore"]

StoreT = TypeVar("StoreT", bound=ObjectStoreMethods)
_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class ObjectStore(Store, Generic[StoreT]):
    """The objects of a store as zarr's keys. Equal where the stores are; pickles where the store does.

    Args:
        store: any of cumulo's.
        read_only: refuse to write and delete.

    Raises:
        TypeError: `store` is not one of cumulo's.
    """

    store: StoreT
    """The store that is asked."""

    def __init__(self, store: StoreT, *, read_only: bool = False) -> None:
        if not isinstance(store, ObjectStoreMethods):
            raise TypeError(f"expected a store of cumulo's, not {store!r}")
        super().__init__(read_only=read_only)
        self.store = store

    def with_read_only(self, read_only: bool = False) -> Self:
        """The same store, to be read only or to be written too."""
        return type(self)(self.store, read_only=read_only)

    def __eq__(self, value: object) -> bool:
        if not isinstance(value, ObjectStore):
            return False
        other = cast("ObjectStore[Any]", value)
        return self.read_only == other.read_only and self.store == other.store

    def __hash__(self) -> int:
        return hash((self.read_only, self.store))

    def __str__(self) -> str:
        return f"object_store://{self.store!r}"

    def __repr__(self) -> str:
        return f"ObjectStore({self})"

    @property
    def supports_writes(self) -> bool:
        """True: whether the server lets this client write is seen when it does."""
        return True

    @property
    def supports_deletes(self) -> bool:
        """True."""
        return True

    @property
    def supports_listing(self) -> bool:
        """True."""
        return True

    # -- reading

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """A value or a part of it: empty where that begins at the value's end or behind it. None where there is no such
        key.
        """
        try:
            content = await self._get(key, byte_range)
        except _ABSENT:
            return None
        except RangeNotSatisfiableError:
            content = b""
        return _buffer(prototype, content)

    async def _get(self, key: str, byte_range: ByteRequest | None) -> Bytes | bytes:
        if _is_empty(byte_range):
            await self.store.head_async(key)
            return b""
        if isinstance(byte_range, RangeByteRequest):
            return await self.store.get_range_async(key, start=byte_range.start, end=byte_range.end)
        options = _range_option(byte_range)
        try:
            result = await self.store.get_async(key, options=options)
        except NotSupportedError:  # Azure serves no suffix ranges
            if "range" not in options:
                raise
            meta = await self.store.head_async(key)
            result = await self.store.get_async(key, options=_end_of(meta, options))
        return await result.bytes_async()

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """`get`, on the calling thread."""
        try:
            content = self._get_sync(key, byte_range)
        except _ABSENT:
            return None
        except RangeNotSatisfiableError:
            content = b""
        return _buffer(prototype or default_buffer_prototype(), content)

    def _get_sync(self, key: str, byte_range: ByteRequest | None) -> Bytes | bytes:
        if _is_empty(byte_range):
            self.store.head(key)
            return b""
        if isinstance(byte_range, RangeByteRequest):
            return self.store.get_range(key, start=byte_range.start, end=byte_range.end)
        options = _range_option(byte_range)
        try:
            return self.store.get(key, options=options).bytes()
        except NotSupportedError:
            if "range" not in options:
                raise
            return self.store.get(key, options=_end_of(self.store.head(key), options)).bytes()

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Many values and parts at once; the ranges of one key in as few requests as they need. In their order."""
        wanted = list(key_ranges)
        found: list[Buffer | None] = [None] * len(wanted)
        spans: dict[str, list[int]] = defaultdict(list)
        calls: list[Any] = []
        for index, (key, byte_range) in enumerate(wanted):
            if isinstance(byte_range, RangeByteRequest) and not _is_empty(byte_range):
                spans[key].append(index)
            else:
                calls.append(self._fill(found, index, key, prototype, byte_range))
        for key, indices in spans.items():
            ranges = [byte_range for _, byte_range in (wanted[index] for index in indices)]
            calls.append(self._fill_ranges(found, indices, key, prototype, ranges))
        await asyncio.gather(*calls)
        return found

    async def _fill(
        self, found: list[Any], index: int, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> None:
        found[index] = await self.get(key, prototype, byte_range)

    async def _fill_ranges(
        self, found: list[Any], indices: list[int], key: str, prototype: BufferPrototype, ranges: list[Any]
    ) -> None:
        with suppress(*_ABSENT):
            starts, ends = [each.start for each in ranges], [each.end for each in ranges]
            try:
                contents = await self.store.get_ranges_async(key, starts=starts, ends=ends)
            except RangeNotSatisfiableError:  # one of them begins behind the end
                each = zip(indices, ranges, strict=True)
                await asyncio.gather(*(self._fill(found, index, key, prototype, span) for index, span in each))
                return
            for index, content in zip(indices, contents, strict=True):
                found[index] = _buffer(prototype, content)

    async def exists(self, key: str) -> bool:
        """Whether there is such a key."""
        try:
            await self.store.head_async(key)
        except _ABSENT:
            return False
        return True

    async def getsize(self, key: str) -> int:
        """A value's size in bytes. Raises `FileNotFoundError` where there is no such key."""
        return (await self.store.head_async(key))["size"]

    async def getsize_prefix(self, prefix: str) -> int:
        """The size in bytes of all that is below a prefix, from its listing."""
        return sum([meta["size"] async for chunk in self.store.list(prefix or None) for meta in chunk])

    # -- writing

    async def set(self, key: str, value: Buffer) -> None:
        """Write a value, whole or not at all."""
        self._check_writable()
        await self.store.put_async(key, _sendable(value))

    def set_sync(self, key: str, value: Buffer) -> None:
        """`set`, on the calling thread."""
        self._check_writable()
        self.store.put(key, _sendable(value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a value unless there is one; of several that do so at once, one wins."""
        self._check_writable()
        with suppress(AlreadyExistsError):
            await self.store.put_async(key, _sendable(value), mode="create")

    async def delete(self, key: str) -> None:
        """Delete a value, if there is one."""
        self._check_writable()
        with suppress(*_ABSENT):
            await self.store.delete_async(key)

    def delete_sync(self, key: str) -> None:
        """`delete`, on the calling thread."""
        self._check_writable()
        with suppress(*_ABSENT):
            self.store.delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all that is below a prefix, with the provider's bulk requests where it has them."""
        self._check_writable()
        below = prefix.strip("/")
        await self.store.delete_prefix_async(below, everything=not below)

    # -- listing

    async def _keys(self, prefix: str) -> AsyncGenerator[str, None]:
        async for chunk in self.store.list(prefix, substring=True):
            for meta in chunk:
                yield meta["path"]

    def list(self) -> AsyncGenerator[str, None]:
        """All keys."""
        return self._keys("")

    def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """The keys that begin with `prefix`, which may end within a segment."""
        return self._keys(prefix)

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """The names just below a prefix: keys, and the beginnings of longer ones."""
        below = prefix.strip("/")
        listed = await self.store.list_with_delimiter_async(below or None)
        skip = len(below) + 1 if below else 0
        for path in (*listed["common_prefixes"], *(meta["path"] for meta in listed["objects"])):
            if name := path[skip:].rstrip("/"):  # an empty object that stands for the directory has none
                yield name


def _is_empty(byte_range: ByteRequest | None) -> bool:
    """Whether nothing is wanted: no server can be asked for that."""
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start == byte_range.end
    return isinstance(byte_range, SuffixByteRequest) and byte_range.suffix == 0


def _range_option(byte_range: ByteRequest | None) -> GetOptions:
    if byte_range is None:
        return {}
    if isinstance(byte_range, OffsetByteRequest):
        return {"range": {"offset": byte_range.offset}}
    if isinstance(byte_range, SuffixByteRequest):
        return {"range": {"suffix": byte_range.suffix}}
    raise TypeError(f"Unexpected byte_range, got {byte_range!r}")


def _end_of(meta: Any, options: Any) -> GetOptions:
    """A suffix range as an ordinary one of the object that `head` has seen."""
    start = max(0, meta["size"] - options["range"]["suffix"])
    return {"range": {"offset": start}, "if_match": meta["e_tag"]}


def _buffer(prototype: BufferPrototype, content: Any) -> Buffer:
    """A view of the memory that was received into; zarr's annotations know no memory but `bytes` and the like."""
    kind: Any = prototype.buffer
    made: Buffer = kind.from_bytes(content)
    return made


def _sendable(value: Buffer) -> Any:
    return value.as_buffer_like()
