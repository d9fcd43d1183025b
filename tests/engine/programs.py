"""What the suite runs in interpreters of its own: `python -m tests.engine.programs <function> <argument> ...`.

Interrupts, exits and limits concern a whole process. Each function is one program; the fault server stays
in the suite's process.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cumulo import _native as native

from .support import (
    Dispatcher,
    EngineError,
    error_of,
    get,
    make_client,
    make_signing_client,
    open_stream,
    read_piece,
    request,
)

SIZE = 1 << 20

# -- interrupted


def interrupted_get(url: str) -> None:
    """Waits in a get until it is interrupted, says when it knew, and goes on to work."""
    _interrupted(url, lambda client: native.get_range(client, "stalls", 0, SIZE, None))


def interrupted_stream(url: str) -> None:
    """The same between two pieces of a stream."""

    def read(client: native.Client) -> None:
        stream = open_stream(client, "/bucket/stalls")
        while True:
            read_piece(stream)

    _interrupted(url, read)


def interrupted_put(url: str) -> None:
    """The same in an upload that the server does not read."""
    body = bytearray(64 << 20)
    _interrupted(url, lambda client: request(client, "PUT", "/bucket/stalls", body=body).perform())
    body.extend(b"the engine has let go of it")


def interrupted_loop(url: str) -> None:
    """The same in a coroutine."""

    async def wait(client: native.Client) -> None:
        await native.get_range_async(client, "stalls", 0, SIZE, None)

    _interrupted(url, lambda client: asyncio.run(wait(client)))


def _interrupted(url: str, work: Callable[[native.Client], object]) -> None:
    client = make_client(url)
    try:
        work(client)
    except KeyboardInterrupt:
        sys.stdout.write(f"{time.monotonic()}\n")
    else:
        raise AssertionError("not interrupted")
    assert get(client) == b"data"


# -- signals


def upload_from_a_file(url: str, path: str, attempts: str) -> None:
    """To a server that hangs up, in a program that SIGPIPE ends."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    client = make_signing_client(url, max_retries=int(attempts) - 1)
    with Path(path).open("rb") as file:
        error = error_of(request(client, "PUT", file=(file, 0, os.fstat(file.fileno()).st_size)).perform)
    sys.stdout.write(f"{error.error} {error.attempts}\n")


# -- exits


def exit_with_futures(url: str) -> None:
    """The loop ends with futures nobody waits for."""
    client = make_client(url)

    async def main() -> None:
        main.kept = [native.get_range_async(client, "key", 0, SIZE, None) for _ in range(64)]  # type: ignore[attr-defined]
        await asyncio.sleep(_moment())

    asyncio.run(main())
    sys.exit(3)


def exit_with_tasks(url: str) -> None:
    """The loop ends with tasks under way: asyncio cancels them."""
    client = make_client(url)

    async def one() -> None:
        while True:
            await native.get_range_async(client, "key", 0, SIZE, None)

    async def main() -> None:
        tasks = [asyncio.create_task(one()) for _ in range(32)]
        await asyncio.sleep(_moment())
        assert not all(task.done() for task in tasks)

    asyncio.run(main())
    sys.exit(3)


def exit_with_threads(url: str) -> None:
    """Daemon threads are in the middle of synchronous gets."""
    client = make_client(url)

    def work() -> None:
        while True:
            native.get_range(client, "key", 0, SIZE, None)

    _in_daemon_threads(work, 8)
    time.sleep(_moment())
    sys.exit(3)


def exit_with_loops(url: str) -> None:
    """Event loops of daemon threads are in the middle of gets."""
    client = make_client(url)

    async def one() -> None:
        while True:
            await native.get_range_async(client, "key", 0, SIZE, None)

    async def many() -> None:
        await asyncio.gather(*[one() for _ in range(8)])

    _in_daemon_threads(lambda: asyncio.run(many()), 4)
    time.sleep(_moment())
    sys.exit(3)


def exit_with_streams(url: str) -> None:
    """Streams are half read, some with room for more."""
    client = make_client(url)
    streams = [open_stream(client) for _ in range(16)]
    for number, stream in enumerate(streams):
        read_piece(stream)
        for _ in range(number % 3):
            stream.feed_piece(4 << 20)
    time.sleep(_moment())
    sys.exit(3)


def exit_with_uploads(url: str) -> None:
    """Uploads are under way from memory that goes away with the interpreter."""
    client = make_client(url)
    uploads = [request(client, "PUT", f"/bucket/slow{number}", body=bytes(8 << 20)) for number in range(8)]
    dispatcher = Dispatcher()
    dispatcher.__enter__()
    for upload in uploads:
        dispatcher.submit(upload)
    time.sleep(_moment())
    sys.exit(3)


def exit_with_undrained_news(url: str) -> None:
    """Everything has ended, but nobody has looked at it."""
    client = make_client(url)

    async def main() -> None:
        main.kept = [native.get_range_async(client, "key", 0, 100, None) for _ in range(64)]  # type: ignore[attr-defined]
        time.sleep(0.05 + _moment())  # noqa: ASYNC251 - the loop is to see nothing

    asyncio.run(main())
    sys.exit(3)


def exit_in_an_open_loop(url: str) -> None:
    """The loop is neither run to its end nor closed."""
    client = make_client(url)
    loop = asyncio.new_event_loop()

    async def start() -> None:
        start.kept = [native.get_range_async(client, "key", 0, SIZE, None) for _ in range(16)]  # type: ignore[attr-defined]
        await asyncio.sleep(_moment())

    loop.run_until_complete(start())
    exit_in_an_open_loop.loop = loop  # type: ignore[attr-defined]
    sys.exit(3)


def exit_over_tls(url: str, ca_file: str) -> None:
    """Handshakes and records are under way."""
    client = make_client(url, ca_pem=Path(ca_file).read_bytes())
    _in_daemon_threads(lambda: native.get_range(client, "key", 0, SIZE, None), 8)
    time.sleep(_moment())
    sys.exit(3)


def exit_of_a_forked_child(url: str) -> None:
    """A child that inherited transfers, and has its own, exits as an interpreter does; then its parent."""
    client = make_client(url)
    with Dispatcher() as dispatcher:
        inherited = [request(client, path="/bucket/key") for _ in range(8)]
        for each in inherited:
            dispatcher.submit(each)
        time.sleep(_moment())
    pid = os.fork()
    if pid == 0:
        exit_with_threads(url)
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


def _in_daemon_threads(work: Callable[[], object], count: int) -> None:
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()


def _moment() -> float:
    """Some time within a transfer's first steps."""
    return random.random() * 0.03


if __name__ == "__main__":
    native.set_error_factory(EngineError)
    globals()[sys.argv[1]](*sys.argv[2:])
