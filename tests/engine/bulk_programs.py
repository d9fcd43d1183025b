"""Interpreters that end while aws-c-s3 is at work: `python -m tests.engine.bulk_programs <function> <url>`."""

from __future__ import annotations

import asyncio
import random
import sys
import time

from cumulo import _native as native

from .support import Dispatcher, EngineError, make_client, request

MIB = 1 << 20
SIZE = 16 * MIB


def bulk_get(client: native.Client, *, foreign: bool = False) -> native.Request:
    """A download of `key` in four parts, with its room."""
    got = request(client, range=("bounded", 0, SIZE), sink="buffer")
    native.make_bulk(got, "get", part_bytes=5 * MIB, max_concurrency=4, foreign_memory=foreign)
    if foreign:
        got.feed_piece(SIZE)
    else:
        got.feed_target(SIZE)
    return got


def bulk_put(client: native.Client, body: bytes) -> native.Request:
    """An upload to `upload` in parts."""
    put = request(client, "PUT", "/bucket/upload", body=body)
    return native.make_bulk(put, "put", part_bytes=5 * MIB, max_concurrency=4)


def exit_in_gets(url: str) -> None:
    """Downloads are under way that nobody waits for."""
    client = make_client(url)
    with_dispatcher = Dispatcher().__enter__()
    for _ in range(4):
        with_dispatcher.submit(bulk_get(client))
    _end()


def exit_in_puts(url: str) -> None:
    """Uploads are, from memory that goes away."""
    client = make_client(url)
    with_dispatcher = Dispatcher().__enter__()
    for _ in range(4):
        with_dispatcher.submit(bulk_put(client, bytes(SIZE)))
    _end()


def exit_in_a_loop(url: str) -> None:
    """The loop is closed before the download has ended."""
    client = make_client(url)

    async def main() -> None:
        got = bulk_get(client)
        got.submit(native.loop_queue(asyncio.get_running_loop()))
        await asyncio.sleep(random.random() * 0.05)

    asyncio.run(main())
    sys.exit(3)


def exit_after_work(url: str) -> None:
    """All has ended, but the client's threads are there."""
    client = make_client(url)
    got = bulk_get(client).perform()
    assert len(got.take_target()) == SIZE
    sys.exit(3)


def _end() -> None:
    time.sleep(random.random() * 0.05)
    sys.exit(3)


if __name__ == "__main__":
    native.set_error_factory(EngineError)
    globals()[sys.argv[1]](*sys.argv[2:])
