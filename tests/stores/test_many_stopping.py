"""How get_many and put_many stop: at once, with nothing left on the wire or at the server."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cumulo.runtime
from cumulo.exceptions import NotFoundError, PermissionDeniedError
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import Delay, FaultServer, Faulty, Object, Response, Upload
from tests.s3.support import MIB, with_query

from .many import closed, store_of


@pytest.fixture
def store(fault_server: FaultServer) -> S3Store:
    """A store as `many.store_of` makes it."""
    return store_of(fault_server)


def _break(stream: Any) -> None:
    for _ in stream:
        break


def _drop(stream: Any) -> None:
    next(stream)
    del stream


def _with(stream: Any) -> None:
    with stream:
        next(stream)


STOPS: dict[str, Callable[[Any], None]] = {"break": _break, "del": _drop, "with": _with}


@pytest.mark.parametrize("stop", STOPS)
def test_stopping_stops_everything_on_the_wire(fault_server: FaultServer, store: S3Store, stop: str) -> None:
    STOPS[stop](store.get_many(["small/1", *(f"stalls/{number}" for number in range(5))]))
    gc.collect()
    _no_requests(fault_server)


def _no_requests(server: FaultServer) -> None:
    """Nothing is under way any more, though responses stall."""
    from cumulo import _native

    server.wait_for(lambda: _native.live_objects()["requests"] == 0)


async def test_breaking_out_of_async_for(fault_server: FaultServer, store: S3Store) -> None:
    async for _ in store.get_many(["small/1", *(f"stalls/{number}" for number in range(5))]):
        break
    await fault_server.wait_for_async(lambda: cumulo.runtime.stats()["requests"] == 0)


async def test_cancelling_the_task_that_waits(fault_server: FaultServer, store: S3Store) -> None:
    async def read() -> None:
        async for _ in store.get_many(f"stalls/{number}" for number in range(5)):
            pass

    task = asyncio.ensure_future(read())
    await fault_server.wait_for_async(lambda: fault_server.stalled == 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fault_server.wait_for_async(lambda: closed(fault_server))


def test_the_first_error_stops_the_others(fault_server: FaultServer, store: S3Store) -> None:
    fault_server.script("/bucket/missing", Faulty(Response.error(404, "NoSuchKey", "gone"), Delay(0.3)))
    stream = store.get_many(["small/1", "stalls/1", "stalls/2", "missing"])
    assert next(stream).path == "small/1"
    with pytest.raises(NotFoundError):
        next(stream)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer >= 2)


def test_ctrl_c(fault_server: FaultServer, store: S3Store) -> None:
    stream = store.get_many(f"stalls/{number}" for number in range(5))
    with ctrl_c_when(lambda: fault_server.stalled == 5):
        next(stream)
    fault_server.wait_for(lambda: closed(fault_server))
    assert list(stream) == []


_PROGRAM = """
import sys, time
from cumulo.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], skip_signature=True, client_options={"allow_http": True})
try:
    for item in store.get_many(f"stalls/{number}" for number in range(5)):
        pass
except KeyboardInterrupt:
    print(time.monotonic())
print(store.get("small/1").bytes().decode())
"""


def test_ctrl_c_in_a_program(fault_server: FaultServer, store: S3Store) -> None:
    command = [sys.executable, "-c", _PROGRAM, fault_server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        fault_server.wait_for(lambda: fault_server.stalled == 5, 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out.split()[1:] == ["small"]


@pytest.mark.parametrize("stop", [*STOPS, "error"])
def test_uploads_that_had_begun_are_aborted(fault_server: FaultServer, store: S3Store, stop: str) -> None:
    fault_server.script("/bucket/large", Upload())
    fault_server.script("/bucket/large?partNumber=2", Response(read_stall=0))
    fault_server.script("/bucket/denied", Faulty(Response.error(403, "AccessDenied", "no"), Delay(0.5)))
    fault_server.script("/bucket/later", Faulty(Object(), Delay(0.5)))

    def begun() -> Iterator[tuple[str, bytes]]:
        yield "large", b"p" * (11 * MIB)
        yield "denied" if stop == "error" else "later", b"x"

    stream = store.put_many(begun())
    if stop == "error":
        with pytest.raises(PermissionDeniedError):
            next(stream)
    else:
        STOPS[stop](stream)
    del stream
    fault_server.wait_for(lambda: with_query(fault_server, "uploadId", "DELETE"))


def test_an_upload_that_was_being_created_is_aborted(fault_server: FaultServer, store: S3Store) -> None:
    upload = Upload()
    fault_server.script("/bucket/large", upload)
    fault_server.script("/bucket/large?uploads", Faulty(upload, Delay(0.3)))
    stream = store.put_many([("small/1", b"x"), ("large", b"p" * (11 * MIB))])
    next(stream)
    fault_server.wait_for(lambda: with_query(fault_server, "uploads"))
    del stream
    fault_server.wait_for(lambda: with_query(fault_server, "uploadId", "DELETE"))
    assert not with_query(fault_server, "partNumber")


async def test_an_upload_that_had_begun_is_aborted_when_its_task_is_cancelled(
    fault_server: FaultServer, store: S3Store
) -> None:
    fault_server.script("/bucket/large", Upload())
    fault_server.script("/bucket/large?partNumber=2", Response(read_stall=0))

    async def write() -> None:
        async for _ in store.put_many([("large", b"p" * (11 * MIB))]):
            pass

    task = asyncio.ensure_future(write())
    await fault_server.wait_for_async(lambda: with_query(fault_server, "partNumber"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fault_server.wait_for_async(lambda: with_query(fault_server, "uploadId", "DELETE"))
