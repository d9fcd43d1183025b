"""Iterators and files of callers that wait for calls of ours: more of them than there are threads for our calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo.store import LocalStore, MemoryStore

COUNT = 40
"""More than a pool of threads for short calls has."""
CONTENT = b"".join(bytes([i]) * 1000 for i in range(4))


class Reading:
    """A file in whose `read` calls of ours are waited for."""

    def __init__(self, store: LocalStore) -> None:
        self._pieces = pieces(store)

    def read(self, _: int = -1) -> bytes:
        """The next piece."""
        return next(self._pieces, b"")


def pieces(store: LocalStore) -> Iterator[bytes]:
    """The content, by calls that take threads for each piece."""
    for result in store.get_many([f"{i}" for i in range(4)], ordered=True):
        yield bytes(result.bytes)


def by_futures(target: MemoryStore, contents: list[Any]) -> None:
    """All at once."""
    for future in [target.futures.put(f"to/{i}", content) for i, content in enumerate(contents)]:
        future.result(60)


def by_asyncio(target: MemoryStore, contents: list[Any]) -> None:
    """All at once."""

    async def run() -> None:
        puts = asyncio.gather(*(target.put_async(f"to/{i}", content) for i, content in enumerate(contents)))
        await asyncio.wait_for(puts, 60)

    asyncio.run(run())


@pytest.mark.parametrize("put", [by_futures, by_asyncio])
@pytest.mark.parametrize("make", [pieces, Reading])
def test_they_can_wait_for_other_calls(
    tmp_path: Path, make: Callable[[LocalStore], Any], put: Callable[[MemoryStore, list[Any]], None]
) -> None:
    store, target = LocalStore(tmp_path), MemoryStore()
    for i in range(4):
        store.put(f"{i}", CONTENT[i * 1000 : (i + 1) * 1000])
    put(target, [make(store) for _ in range(COUNT)])
    assert {bytes(target.get(f"to/{i}").bytes()) for i in range(COUNT)} == {CONTENT}


def test_a_file_that_raises_stop_iteration_has_not_ended() -> None:
    class File:
        def read(self, _: int = -1) -> bytes:
            raise StopIteration

    store = MemoryStore()
    with pytest.raises(RuntimeError, match="StopIteration"):
        store.put("key", File())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert store.list().collect() == []


@pytest.mark.parametrize("put", [by_futures, by_asyncio])
def test_any_number_can_wait_for_each_other(put: Callable[[MemoryStore, list[Any]], None]) -> None:
    """More than there are threads for them at first."""
    count = 330
    met = threading.Barrier(count)

    def content() -> Iterator[bytes]:
        yield b"before"
        met.wait(50)
        yield b"after"

    target = MemoryStore()
    put(target, [content() for _ in range(count)])
    assert len(target.list().collect()) == count
