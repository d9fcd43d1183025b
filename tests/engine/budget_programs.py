"""Programs that ask for far more than the budget: `python -m tests.engine.budget_programs <function> <url>`.

The budget is a process's, and fixed with its first transfer. Each program uses two stores, of two buckets and with
connections of their own kind, and prints what it found as JSON: the most connections that were open at a time, and how
much its memory grew, in MiB.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import cumulo as obs
from cumulo.store import S3Store

MIB = 1 << 20
CONNECTIONS = 20
MEMORY_MIB = 64


class Watch:
    """A thread that looks again and again."""

    def __init__(self) -> None:
        self.connections = 0
        self.start_mib = self.most_mib = _resident_mib()
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            self.connections = max(self.connections, obs.runtime.stats()["connections"])
            self.most_mib = max(self.most_mib, _resident_mib())
            time.sleep(0.003)

    def report(self) -> None:
        """Stop, and print what was seen."""
        self._stop = True
        self._thread.join()
        sys.stdout.write(
            json.dumps({"connections": self.connections, "grown_mib": self.most_mib - self.start_mib}) + "\n"
        )


def _resident_mib() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // MIB


def _run(
    url: str, work: Callable[[list[S3Store]], Awaitable[None]], threads: int = 2, connections: int = CONNECTIONS
) -> None:
    obs.runtime.configure(threads=threads, connections=connections, memory_bytes=MEMORY_MIB * MIB)
    stores = [
        S3Store(f"bucket{i}", endpoint=url, skip_signature=True,
                client_options={"allow_http": True, "connect_timeout": 5 + i, "read_timeout": 60})
        for i in range(2)
    ]  # fmt: skip

    async def run() -> None:
        await work(stores)

    watch = Watch()
    try:
        asyncio.run(run())
    finally:
        watch.report()


def _store(stores: list[S3Store], i: int) -> S3Store:
    return stores[i % len(stores)]


def ten_thousand_gets(url: str) -> None:
    """All at once, each with its body."""

    async def one(stores: list[S3Store], i: int) -> None:
        assert len(await (await _store(stores, i).get_async(f"{i}")).bytes_async()) == MIB

    async def work(stores: list[S3Store]) -> None:
        await asyncio.gather(*(one(stores, i) for i in range(10_000)))

    _run(url, work)


def ten_thousand_ranges(url: str) -> None:
    """All at once."""

    async def one(stores: list[S3Store], i: int) -> None:
        assert len(await _store(stores, i).get_range_async(f"{i}", start=0, end=MIB)) == MIB

    async def work(stores: list[S3Store]) -> None:
        await asyncio.gather(*(one(stores, i) for i in range(10_000)))

    _run(url, work)


def a_thousand_results_unconsumed(url: str) -> None:
    """Gathered first, and read only then, the last first."""

    async def work(stores: list[S3Store]) -> None:
        results = await asyncio.gather(*(_store(stores, i).get_async(f"{i}") for i in range(1000)))
        await stores[0].put_async("other", b"goes on meanwhile")
        while results:
            assert len(await results.pop().bytes_async()) == MIB

    _run(url, work)


def every_buffer_held(url: str) -> None:
    """Three times the budget is held by the caller, who asks for more."""

    async def work(stores: list[S3Store]) -> None:
        held = await asyncio.gather(
            *(_store(stores, i).get_range_async(f"{i}", start=0, end=MIB) for i in range(3 * MEMORY_MIB))
        )
        assert obs.runtime.stats()["buffer_bytes"] >= len(held) * MIB
        assert len(await (await stores[0].get_async("x")).bytes_async()) == MIB
        assert len(await stores[0].get_range_async("x", start=0, end=100)) == 100
        await stores[0].put_async("x", bytes(held[0]))

    _run(url, work)


def gets_into_puts(url: str) -> None:
    """More pipes than connections, each of which needs two."""

    async def one(stores: list[S3Store], i: int) -> None:
        result = await _store(stores, i).get_async(f"{i}")
        await _store(stores, i + 1).put_async(f"to/{i}", result)

    async def work(stores: list[S3Store]) -> None:
        await asyncio.gather(*(one(stores, i) for i in range(200)))

    _run(url, work)


def many_connections(url: str, threads: str, connections: str) -> None:
    """As many as there may be, by small requests, large ones, and paused results, at two endpoints."""

    async def work(stores: list[S3Store]) -> None:
        results = await asyncio.gather(*(_store(stores, i).get_async("x") for i in range(40)))
        await asyncio.gather(
            *(_store(stores, i).get_range_async("x", start=0, end=100) for i in range(400)),
            *(_store(stores, i).get_range_async("x", start=0, end=MIB) for i in range(100)),
            *(_store(stores, i).put_async("x", b"x") for i in range(100)),
        )
        for result in results:
            await result.bytes_async()

    _run(url, work, int(threads), int(connections))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
