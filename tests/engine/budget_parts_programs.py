"""Programs that ask for more large objects than the budget holds, in parts, by each of the three ways to call.

`python -m tests.engine.budget_parts_programs <function> <url> <way>`, way being "sync", "asyncio" or "futures". What
they print is as in `budget_programs`.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cumulo as obs
from cumulo.store import S3Store

from .budget_programs import MIB, Watch

CONNECTIONS = 8
MEMORY_MIB = 16
PART = MIB // 2
SIZE = 5 * MIB
"""More than is fetched before anybody asks: ten parts."""
OBJECTS = 100
PIPES = 12
UPLOAD_PARTS = 5


class Sync:
    """Calls that block, each in a thread of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(32)

    def store(self, store: S3Store, verb: str, calls: Iterable[tuple[Any, ...]], **options: Any) -> list[Any]:
        """The results of many calls of a verb at once."""
        return list(self._threads.map(lambda call: getattr(store, verb)(*call, **options), calls))

    def contents(self, results: Iterable[Any]) -> list[Any]:
        """All bytes of many results at once."""
        return list(self._threads.map(lambda result: result.bytes(), results))

    def chunks(self, streams: Sequence[Any]) -> list[Any]:
        """The next chunk of many streams at once, None at an end."""
        return list(self._threads.map(lambda stream: next(stream, None), streams))


class Futures(Sync):
    """`concurrent.futures.Future`s. Streams have none: their chunks are as in `Sync`."""

    def store(self, store: S3Store, verb: str, calls: Iterable[tuple[Any, ...]], **options: Any) -> list[Any]:
        return [future.result() for future in [getattr(store.futures, verb)(*call, **options) for call in calls]]

    def contents(self, results: Iterable[Any]) -> list[Any]:
        return [future.result() for future in [result.bytes_future() for result in results]]


class Asyncio:
    """One event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def _all(self, calls: Callable[[], Iterable[Any]]) -> list[Any]:
        async def run() -> list[Any]:
            return await asyncio.gather(*calls())

        return self._loop.run_until_complete(run())

    def store(self, store: S3Store, verb: str, calls: Iterable[tuple[Any, ...]], **options: Any) -> list[Any]:
        """As in `Sync`."""
        return self._all(lambda: [getattr(store, f"{verb}_async")(*call, **options) for call in calls])

    def contents(self, results: Iterable[Any]) -> list[Any]:
        """As in `Sync`."""
        return self._all(lambda: [result.bytes_async() for result in results])

    def chunks(self, streams: Sequence[Any]) -> list[Any]:
        """As in `Sync`."""

        async def following(stream: Any) -> Any:
            return await anext(stream, None)

        return self._all(lambda: [following(stream) for stream in streams])


WAYS: dict[str, type[Sync | Asyncio]] = {"sync": Sync, "futures": Futures, "asyncio": Asyncio}


def _run(url: str, way: str, work: Callable[[S3Store, Any], None]) -> None:
    obs.runtime.configure(threads=2, connections=CONNECTIONS, memory_bytes=MEMORY_MIB * MIB)
    options: Any = {"allow_http": True, "read_timeout": 60}
    store = S3Store("bucket", endpoint=url, skip_signature=True, client_options=options)
    watch = Watch()
    try:
        work(store, WAYS[way]())
        assert obs.runtime.stats()["buffer_bytes"] == 0, obs.runtime.stats()
    finally:
        watch.report()


def _gathered(store: S3Store, by: Any) -> list[Any]:
    return by.store(store, "get", [(f"{i}",) for i in range(OBJECTS)], part_size=PART)


def results_unconsumed(url: str, way: str) -> None:
    """Gathered first; other calls go on meanwhile; then read, the last first, eight at a time."""

    def work(store: S3Store, by: Any) -> None:
        results = _gathered(store, by)
        by.store(store, "put", [("other", b"goes on meanwhile")])
        assert len(by.store(store, "get_range", [("other",)], start=0, end=100)[0]) == 100
        while results:
            some = [results.pop() for _ in range(min(8, len(results)))]
            assert {len(content) for content in by.contents(some)} == {SIZE}

    _run(url, way, work)


def chunks_held(url: str, way: str) -> None:
    """Each stream has given a chunk, which is held; then all go on, in an order that nobody foresaw."""

    def work(store: S3Store, by: Any) -> None:
        streams = [result.stream(PART) for result in _gathered(store, by)]
        held = by.chunks(streams)
        assert {len(chunk) for chunk in held} == {PART}
        by.store(store, "put", [("other", held[0])])
        sizes = {id(stream): len(chunk) for stream, chunk in zip(streams, held, strict=True)}
        order = random.Random(7)
        left = list(streams)
        while left:
            order.shuffle(left)
            some = left[:16]
            for stream, chunk in zip(some, by.chunks(some), strict=True):
                if chunk is None:
                    left.remove(stream)
                else:
                    sizes[id(stream)] += len(chunk)
        assert set(sizes.values()) == {SIZE}

    _run(url, way, work)


def buffers_held(url: str, way: str) -> None:
    """Far more than the budget is held by the caller, who asks for more, and lets slices of it live on."""

    def work(store: S3Store, by: Any) -> None:
        held = by.contents(_gathered(store, by)[: 4 * MEMORY_MIB * MIB // SIZE])
        assert obs.runtime.stats()["buffer_bytes"] > 3 * MEMORY_MIB * MIB
        held = [content[:10] for content in held]
        target = [bytearray(SIZE) for _ in range(4)]
        assert by.store(store, "get_into", [("x", each) for each in target], part_size=PART) == [SIZE] * 4
        (stream,) = [each.stream(PART) for each in by.store(store, "get", [("x",)], part_size=PART)]
        digest = hashlib.sha256()
        while (chunk := by.chunks([stream])[0]) is not None:
            digest.update(chunk)
        assert digest.digest() == hashlib.sha256(target[0]).digest()
        by.store(store, "put", [("x", target[0])], chunk_size=5 * MIB // 2)
        del held

    _run(url, way, work)


def pipes(url: str, way: str) -> None:
    """Gets piped into puts, both in parts; more of them than connections, and each needs two."""

    def work(store: S3Store, by: Any) -> None:
        results = by.store(store, "get", [(f"large/{i}",) for i in range(PIPES)], part_size=PART)
        streams = [result.stream(PART) for result in results]
        by.store(store, "put", [(f"to/{i}", stream) for i, stream in enumerate(streams)], chunk_size=5 * MIB)

    _run(url, way, work)


def uploads(url: str, way: str) -> None:
    """From iterators, of which each could have all of its parts in memory at a time."""
    piece = b"p" * MIB

    def work(store: S3Store, by: Any) -> None:
        contents = [(f"to/{i}", (piece for _ in range(UPLOAD_PARTS * 5))) for i in range(PIPES)]
        by.store(store, "put", contents, chunk_size=5 * MIB, max_concurrency=UPLOAD_PARTS)

    _run(url, way, work)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
