"""Programs that end in the midst of calls, run as `python -m tests.s3.exit_programs <function> <url>`."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from cumulo.store import S3Store

from .support import MIB

BODY = bytes(MIB)
"""Large enough for its sum to be made in a thread."""


def _store(url: str) -> S3Store:
    options = {"endpoint": url, "region": "us-east-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
    return S3Store("bucket", client_options={"allow_http": True}, **options)  # type: ignore[arg-type]


# -- puts after the main thread has ended


def _puts(url: str, used: bool) -> dict[str, Callable[[], object]]:
    store = _store(url)
    if used:
        store.futures.put("key", BODY).result()

    async def put() -> None:
        await store.put_async("key", BODY)

    return {
        "put_many": lambda: list(store.put_many([("key", BODY)])),
        "futures": lambda: store.futures.put("key", BODY).result(),
        "async": lambda: asyncio.run(put()),
    }


def in_exit_handler(url: str, call: str, used: str) -> None:
    """A handler puts an object."""
    atexit.register(_puts(url, used == "used")[call])


def in_thread(url: str, call: str, used: str) -> None:
    """A thread that the interpreter waits for puts an object when the main one has ended."""
    put = _puts(url, used == "used")[call]

    def work() -> None:
        threading.main_thread().join()
        put()

    threading.Thread(target=work).start()


# -- event loops that end in the midst of an upload


def with_an_iterator(url: str) -> None:
    """A thread is in the iterator when the loop is closed."""
    inside = threading.Event()

    def pieces() -> Iterator[bytes]:
        inside.set()
        time.sleep(0.3)
        yield BODY

    async def main() -> None:
        task = asyncio.create_task(_awaited(_store(url).put_async("key", pieces())))
        await asyncio.to_thread(inside.wait)
        assert not task.done()

    asyncio.run(main())


def with_an_async_iterator(url: str) -> None:
    """The iterator's task is cancelled, and nobody awaits the upload."""

    async def main() -> None:
        inside = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            inside.set()
            await asyncio.Event().wait()
            yield BODY

        upload = _store(url).put_async("key", pieces())
        await inside.wait()
        assert not upload.done()

    asyncio.run(main())


def with_a_download(url: str, file: str) -> None:
    """Half of the content has come, and nobody awaits the rest; nor the parts of an upload."""

    async def main() -> None:
        calls = [_store(url).download_async("from", file), _store(url).put_async("key", bytes(12 * MIB))]
        while not os.listdir(os.path.dirname(file)) or _store(url).list().collect():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        assert not any(call.done() for call in calls)

    asyncio.run(main())


async def _awaited(future: Awaitable[object]) -> None:
    await future


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
