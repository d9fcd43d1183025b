"""Copies one object. Memory is bounded whatever its size: content passes through in chunks, or not at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cumulo.transfer import copy_future

from .local import NewFile
from .plan import Move, content_type

if TYPE_CHECKING:
    from cumulo import Attributes, GetOptions

    from .connect import Connection
    from .urls import Location

T = TypeVar("T")
CHUNK_BYTES = 1024 * 1024
PART_BYTES = 5 * 1024 * 1024
PARTS_AT_ONCE = 4
CLEAN_UP_S = 3.0
LARGE_AT_ONCE = 4
"""Objects between two stores that are held in parts at a time, whatever the concurrency."""


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """`asyncio.to_thread`, but a cancel waits until the thread is done with the file."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def settled(put: asyncio.Future[Any], stop: Callable[[], object]) -> None:
    """Await a put. A cancel stops it, and waits a little until it has taken back what it had begun on the server."""
    try:
        await asyncio.shield(put)
    except asyncio.CancelledError:
        stop()
        ended = asyncio.Event()  # asyncio.wait takes no futures that are coroutines too
        put.add_done_callback(lambda _: ended.set())
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), CLEAN_UP_S)
        if not put.cancel() and not put.cancelled():
            put.exception()  # looked at, or asyncio would print it
        raise


class Transfers:
    """Copies objects over one connection; `moved` hears of every byte that has arrived."""

    def __init__(
        self, connection: Connection, kind: str | None, moved: Callable[[int], None], *, resume: bool = False
    ) -> None:
        self._connection = connection
        self._content_type = kind
        self._moved = moved
        self._resume = resume
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def run(self, move: Move) -> None:
        """Copy it."""
        if move.source.remote:
            await (self._download(move) if move.target.kind == "local" else self._copy(move))
        elif move.target.remote:
            await self._upload(move)
        else:
            await in_thread(_copy_file, move)
            self._moved(move.size)

    async def _upload(self, move: Move) -> None:
        store = self._connection.store(move.target)
        attributes = self._attributes(move.source.path)
        # As a future of the background's: it is done only when an upload that was cancelled has been aborted.
        put = store.futures.put(move.target.path, Path(move.source.path), attributes=attributes, resume=self._resume)
        await settled(asyncio.wrap_future(put), put.cancel)
        self._moved(move.size)

    def _attributes(self, name: str) -> Attributes:
        kind = self._content_type or content_type(name)
        return {"Content-Type": kind} if kind else {}

    async def _download(self, move: Move) -> None:
        store = self._connection.store(move.source)
        if await in_thread(_prepared, move.target.path):
            download = store.futures.download(move.source.path, move.target.path, resume=self._resume)
            await settled(asyncio.wrap_future(download), download.cancel)
            self._moved(move.size)
            return
        result = await store.get_async(move.source.path)  # to a device or a pipe, in order
        size = result.meta["size"]
        file = NewFile(move.target.path)
        try:
            await in_thread(file.open)
            async for chunk in result.stream(CHUNK_BYTES):
                await in_thread(file.write, chunk)
                self._moved(len(chunk))
            await in_thread(file.commit, size if size >= 0 else None)
        finally:
            file.discard()

    async def _copy(self, move: Move) -> None:
        source, target = self._connection.store(move.source), self._connection.store(move.target)
        attributes: Attributes | None = {"Content-Type": self._content_type} if self._content_type else None
        large = move.size > PART_BYTES or move.size < 0
        async with self._large if large else nullcontext():
            copy = copy_future(
                source, move.source.path, target, move.target.path,
                attributes=attributes, part_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE,
            )  # fmt: skip
            await settled(asyncio.wrap_future(copy), copy.cancel)
        self._moved(move.size)


def _prepared(path: str) -> bool:
    """Make the directories above a file; False for a device or a pipe, which can't be replaced."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return False
    os.makedirs(os.path.dirname(os.path.realpath(path)), exist_ok=True)
    return True


def _copy_file(move: Move) -> None:
    with open(move.source.path, "rb") as source, NewFile(move.target.path) as file:
        while content := source.read(CHUNK_BYTES):
            file.write(content)
        file.commit()


# -- stdin and stdout: one object, on the calling thread, where Ctrl-C finds it whatever it waits for


def from_stdin(connection: Connection, target: Location, kind: str | None) -> None:
    """Write what comes on stdin, until it ends."""
    if target.remote:
        kind = kind or content_type(target.path)
        attributes: Attributes = {"Content-Type": kind} if kind else {}
        connection.store(target).put(target.path, sys.stdin.buffer, attributes=attributes)
        return
    with NewFile(target.path) as file:
        while content := os.read(sys.stdin.fileno(), CHUNK_BYTES):
            file.write(content)
        file.commit()


def to_stdout(connection: Connection, source: Location, span: tuple[int, int | None] | int | None = None) -> None:
    """Write an object, or a range of it, to stdout."""
    output = sys.stdout.buffer
    if source.kind == "stream":
        shutil.copyfileobj(sys.stdin.buffer, output)
    elif source.kind == "local":
        for content in _file_chunks(source.path, span):
            output.write(content)
    else:
        result = connection.store(source).get(source.path, options=_options(span))
        for content in result.stream(CHUNK_BYTES):
            output.write(content)
    output.flush()


def _options(span: tuple[int, int | None] | int | None) -> GetOptions | None:
    if span is None:
        return None
    if isinstance(span, int):
        return {"range": {"suffix": span}}
    start, end = span
    return {"range": {"offset": start} if end is None else (start, end)}


def _file_chunks(path: str, span: tuple[int, int | None] | int | None) -> Iterator[bytes]:
    with open(path, "rb") as file:
        left: int | None = None
        if isinstance(span, int):
            file.seek(max(0, file.seek(0, 2) - span))
        elif span is not None:
            start, end = span
            file.seek(start)
            left = None if end is None else end - start
        while content := file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)):
            yield content
            left = None if left is None else left - len(content)
