"""Objects as files for event loops: `AsyncReadableFile`, `AsyncWritableFile`. See `_files.py`."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, TypeVar

from ._drivers import run_async
from ._files import Closed, abandon, closed_error, length_of, open_reader, open_writer, place_of
from ._operations.reading import Reader
from ._operations.writing import Writer
from ._redirected import Redirected
from .exceptions import PreconditionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

    from typing_extensions import Buffer, Self

    from ._drivers.effects import Plan
    from ._native import Request
    from ._types import PutResult
    from .store import ObjectStoreMethods

T = TypeVar("T")


class ClosedAsync(Closed):
    """The same, called with `await`."""

    __slots__ = ()

    async def __call__(self) -> bool:  # type: ignore[override]
        return bool(self)


class Done:
    """What can be awaited, and is done already."""

    __slots__ = ()

    def __await__(self) -> Iterator[None]:
        return iter(())


class AsyncReadableFile:
    """`ReadableFile`, awaited: `read`, `readall`, `readinto`, `readline`, `readlines`, `seek`, `tell`; lines come by
    `async for`. One call at a time, others wait for it.
    """

    mode = "rb"

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader = reader
        self._lock = asyncio.Lock()
        self._over = False
        self.name = name
        """The object's path."""

    def _open(self) -> Reader:
        if self._over:
            raise closed_error()
        return self._reader

    async def _run(self, plan: Plan[T]) -> T:
        """Run a plan of the reader's, with the lock held. What a cancelled call has read is read again by the next."""
        reader = self._reader
        at = reader.at
        try:
            return await run_async(plan)
        except asyncio.CancelledError:  # it may come when the plan has ended and its result is on the way
            reader.at = at
            raise
        finally:
            self._close_if_over()

    def _close_if_over(self) -> None:
        if self._over:
            self._reader.close()

    async def read(self, size: int | None = None, /) -> bytes:
        """`ReadableFile.read`."""
        length = length_of(size)
        async with self._lock:
            reader = self._open()
            found = None if length is None else reader.read_here_async(length)
            if isinstance(found, asyncio.Future):
                found = await self._brought(reader, found)
            return await self._run(reader.read(length)) if found is None else found

    async def _brought(self, reader: Reader, coming: asyncio.Future[Request]) -> bytes | None:
        """What a short read has brought, which the position follows; None where a plan has to say what came instead."""
        try:
            return reader.end_here(await coming)
        except (PreconditionError, Redirected):
            return None
        finally:
            self._close_if_over()

    async def readall(self) -> bytes:
        """`ReadableFile.readall`."""
        return await self.read()

    async def readinto(self, buffer: Buffer, /) -> int:
        """`ReadableFile.readinto`."""
        async with self._lock:
            with memoryview(buffer) as view, view.cast("B") as target:
                return await self._run(self._open().read_into(target))

    async def readline(self, size: int | None = None, /) -> bytes:
        """`ReadableFile.readline`."""
        limit = length_of(size)
        async with self._lock:
            return await self._line(limit)

    async def _line(self, limit: int | None = None) -> bytes:
        reader = self._open()
        if limit is None and (line := reader.line_here()) is not None:
            return line
        return await self._run(reader.line(-1 if limit is None else limit))

    async def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """`ReadableFile.readlines`."""
        most = hint if hint is not None and hint > 0 else None
        lines: list[bytes] = []
        found = 0
        async with self._lock:
            while (most is None or found < most) and (line := await self._line()):
                lines.append(line)
                found += len(line)
        return lines

    def __aiter__(self) -> Self:
        self._open()
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if len(line) == 0:
            raise StopAsyncIteration
        return line

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """`ReadableFile.seek`."""
        async with self._lock:
            reader = self._open()
            reader.at = place_of(reader, offset, whence)
            return reader.at

    async def tell(self) -> int:
        """The position, in bytes from the beginning."""
        return self._open().at

    @property
    def size(self) -> int:
        """How many bytes the object has."""
        return self._reader.size

    def seekable(self) -> bool:
        """True."""
        self._open()
        return True

    @property
    def closed(self) -> Closed:
        """Whether it is closed."""
        return Closed(closed=self._over)

    def close(self) -> Done:
        """Let go of what was kept, and of what is fetched ahead; a read that is under way ends first. It need not be
        awaited, but can.
        """
        self._over = True
        if not self._lock.locked():  # else the call that holds it does so
            self._reader.close()
        return Done()

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AsyncReadableFile {self.name!r} of {self._reader.size} bytes>"


class AsyncWritableFile:
    """`WritableFile`, awaited: `write`, `flush`, `close`, `closed`, `discard`. One call at a time, others wait for it.

    A call that is cancelled discards what was written.
    """

    mode = "wb"

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self._lock = asyncio.Lock()
        self.name = name
        """The object's path."""

    @property
    def result(self) -> PutResult | None:
        """The ETag and version of what was written, once it is closed."""
        return self._writer.result

    async def write(self, buffer: Buffer, /) -> int:
        """`WritableFile.write`."""
        async with self._lock:
            writer = self._writer
            if writer.over:
                raise closed_error()
            size = writer.take(buffer)
            if writer.has_work:
                try:
                    await run_async(writer.advance())
                except asyncio.CancelledError as error:  # it may come when the plan has ended already
                    await run_async(writer.discard(error))
                    raise
            return size

    async def flush(self) -> None:
        """Nothing, as in `WritableFile.flush`."""
        if self._writer.over:
            raise closed_error()

    async def tell(self) -> int:
        """How many bytes have been written."""
        return self._writer.written

    async def close(self) -> None:
        """`WritableFile.close`."""
        async with self._lock:
            await run_async(self._writer.close())

    async def discard(self) -> None:
        """`WritableFile.discard`."""
        async with self._lock:
            await run_async(self._writer.discard())

    @property
    def closed(self) -> ClosedAsync:
        """Whether it is closed: to be read, and to be called with `await`."""
        return ClosedAsync(closed=self._writer.over)

    async def __aenter__(self) -> Self:
        if self._writer.over:
            raise closed_error()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        elif not issubclass(kind, GeneratorExit):  # a dropped coroutine may await nothing; the file goes with it
            await self.discard()

    def __del__(self) -> None:
        abandon(self)

    def __repr__(self) -> str:
        return f"<AsyncWritableFile {self.name!r}, {self._writer.written} bytes written>"


async def opened_reader(store: ObjectStoreMethods, path: str, buffer_size: int, size: int | None) -> AsyncReadableFile:
    """What `cumulo.open_reader_async` gives."""
    return AsyncReadableFile(await run_async(open_reader(store, path, buffer_size, size)), path)


def opened_writer(store: ObjectStoreMethods, path: str, **options: Any) -> AsyncWritableFile:
    """What `cumulo.open_writer_async` gives."""
    return AsyncWritableFile(open_writer(store, path, **options), path)
