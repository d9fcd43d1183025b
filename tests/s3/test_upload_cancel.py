"""A cancel while an upload is being created: what the server has made is taken back, and only its answer names it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import uvloop

from cumulo._drivers import pool, sync
from cumulo._native import live_objects
from cumulo.exceptions import PermissionDeniedError, RequestTimeoutError
from cumulo.store import MemoryStore, S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import Delay, FaultServer, Faulty, Object, Response, Stall, Upload

from .support import MIB, PATH, fault_store, with_query

DATA = bytes(12 * MIB)


@pytest.fixture(params=["engine", "crt"])
def faulty(fault_server: FaultServer, request: pytest.FixtureRequest) -> S3Store:
    """A store on the fault server, with each bulk client in turn."""
    return fault_store(fault_server, bulk_client=request.param)


@pytest.fixture
def upload(fault_server: FaultServer) -> Upload:
    """At `key`: created at once, but answered only when released."""
    made = Upload()
    fault_server.script(PATH, made)
    fault_server.script(PATH + "?uploads", Faulty(made, Stall()), method="POST")
    fault_server.script("/bucket/from", Object(DATA))
    return made


VERBS: dict[str, Callable[[Any, str], Any]] = {
    "put": lambda store, suffix: getattr(store, "put" + suffix)("key", DATA),
    "copy": lambda store, suffix: getattr(store, "copy" + suffix)("from", "key", overwrite=False),
}
verbs = pytest.mark.parametrize("verb", VERBS)


def _assert_taken_back(server: FaultServer, upload: Upload) -> None:
    server.wait_for(lambda: upload.aborted)
    assert (upload.parts, upload.completed) == ({}, [])
    assert not with_query(server, "partNumber")


def _cancel(future: Any) -> None:
    assert future.cancel()
    _wait_for_the_background()


def _look_for_ended_loops() -> None:
    live_objects()  # which does, as any use does now and then
    _wait_for_the_background()


def _wait_for_the_background() -> None:
    MemoryStore().futures.put("x", b"").result(10)  # handled after what there is, by the same thread


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_file_that_is_still_being_opened(faulty: S3Store, tmp_path: Path, run: Any) -> None:
    """Is closed by who has opened it, since nobody else is left: a file that is collected open warns."""
    (tmp_path / "file").write_bytes(DATA)
    gate, threads = threading.Event(), 16

    async def main() -> None:
        busy = [pool.submit(gate.wait) for _ in range(threads)]
        waiting = faulty.put_async("key", tmp_path / "file")
        waiting.cancel()
        gate.set()
        await asyncio.gather(waiting, *map(asyncio.wrap_future, busy), return_exceptions=True)

    run(main())
    for done in [pool.submit(bool) for _ in range(threads)]:
        done.result(10)
    gc.collect()
    assert str(tmp_path / "file") not in [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]


@verbs
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_cancelled_task(fault_server: FaultServer, faulty: S3Store, upload: Upload, verb: str, run: Any) -> None:
    async def cancelled() -> None:
        task = asyncio.ensure_future(VERBS[verb](faulty, "_async"))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert upload.parts, "not cut short"
        await asyncio.to_thread(fault_server.release)
        await fault_server.wait_for_async(lambda: upload.aborted)

    run(cancelled())
    _assert_taken_back(fault_server, upload)


@verbs
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_loop_that_is_closed(fault_server: FaultServer, faulty: S3Store, upload: Upload, verb: str, run: Any) -> None:
    tasks: list[Any] = []

    async def leave() -> None:
        async def call() -> None:
            await VERBS[verb](faulty, "_async")

        tasks.append(asyncio.create_task(call()))
        await fault_server.wait_for_async(lambda: fault_server.stalled)

    run(leave())
    assert tasks[0].cancelled()
    assert not upload.aborted
    fault_server.release()
    _assert_taken_back(fault_server, upload)


LEFT = pytest.mark.parametrize("where", ["?uploads", "?partNumber=2"], ids=["creating", "sending"])


@LEFT
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_loop_that_ends_before_a_call(fault_server: FaultServer, faulty: S3Store, where: str, run: Any) -> None:
    """Which is no task, that a loop would cancel: as when another one of those in `asyncio.gather` fails."""
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + where, Faulty(upload, Stall()))
    fault_server.script("/bucket/refused", Response.error(403))

    async def leave() -> None:
        call = faulty.put_async("key", DATA)
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        await asyncio.gather(call, faulty.put_async("refused", b""))

    with pytest.raises(PermissionDeniedError):
        run(leave())
    _look_for_ended_loops()
    fault_server.release()
    fault_server.wait_for(lambda: upload.aborted)
    assert (upload.parts, upload.completed) == ({}, [])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_source_of_a_loop_that_ends_before_a_call(fault_server: FaultServer, faulty: S3Store, kind: str) -> None:
    upload, gate, ended = Upload(), threading.Event(), list[str]()
    fault_server.script(PATH, upload)

    def pieces() -> Iterator[bytes]:
        try:
            yield DATA
            gate.wait()
            yield DATA
        finally:
            ended.append("sync")

    async def async_pieces() -> AsyncIterator[bytes]:
        try:
            yield DATA
            await asyncio.sleep(60)
        finally:
            ended.append("async")

    async def leave() -> None:
        call = faulty.put_async("key", pieces() if kind == "sync" else async_pieces())
        await fault_server.wait_for_async(lambda: any(len(parts) > 1 for parts in upload.parts.values()))
        assert not call.done()

    asyncio.run(leave())
    _look_for_ended_loops()
    gate.set()
    fault_server.wait_for(lambda: upload.aborted and ended)
    assert (upload.parts, upload.completed, ended) == ({}, [], [kind])


@verbs
def test_a_cancelled_future(fault_server: FaultServer, faulty: S3Store, upload: Upload, verb: str) -> None:
    future = VERBS[verb](faulty.futures, "")
    fault_server.wait_for(lambda: fault_server.stalled)
    _cancel(future)
    fault_server.release()
    _assert_taken_back(fault_server, upload)
    fault_server.wait_for(future.done)
    assert future.cancelled()


@pytest.mark.parametrize("answered", [True, False], ids=["late", "never"])
@verbs
def test_a_timeout(fault_server: FaultServer, verb: str, answered: bool) -> None:
    """Passes while the upload is created: who is to take it back has to hear of it, so there is a little more time."""
    made = Upload()
    late = Delay(0.8) if answered else Stall()
    fault_server.script(PATH, made)
    fault_server.script(PATH + "?uploads", Faulty(made, late), method="POST")
    fault_server.script("/bucket/from", Object(b"content"))
    store = fault_store(fault_server, client_options={"timeout": 0.4})
    call = VERBS[verb] if verb == "copy" else lambda store, _: store.put("key", b"content", use_multipart=True)
    try:
        call(store, "")
    except RequestTimeoutError:
        assert not answered or made.aborted
    else:
        assert made.completed
    assert bool(made.parts) is not answered


@verbs
def test_ctrl_c(fault_server: FaultServer, faulty: S3Store, upload: Upload, verb: str) -> None:
    with ctrl_c_when(lambda: fault_server.stalled, afterwards=fault_server.release):
        VERBS[verb](faulty, "")
    assert upload.aborted, "before the call has ended"
    _assert_taken_back(fault_server, upload)


@pytest.mark.parametrize("skipped", range(24))
def test_ctrl_c_between_any_two_lines_of_the_driver(fault_server: FaultServer, faulty: S3Store, skipped: int) -> None:
    """Once the server has an upload; a signal's handler runs between two instructions, whichever they are."""
    upload, left = Upload(), skipped
    fault_server.script(PATH, upload)

    def on_event(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != sync.__file__:
            return None
        if event == "line" and upload.parts:
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return on_event

    before = sys.gettrace()
    sys.settrace(on_event)
    try:
        with pytest.raises(KeyboardInterrupt):
            faulty.put("key", (bytes(MIB) for _ in range(30)))
    finally:
        sys.settrace(before)
    assert upload.parts == {}
    assert len(upload.aborted) == 1


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_ctrl_c_and_a_server_that_does_not_answer(
    fault_server: FaultServer, faulty: S3Store, upload: Upload, again: bool
) -> None:
    """It ends nonetheless; what the server has made can't be known."""
    with ctrl_c_when(lambda: fault_server.stalled, again_after_s=0.3 if again else None):
        faulty.put("key", DATA)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)
    assert not with_query(fault_server, "uploadId")


@verbs
def test_a_create_that_fails_after_a_cancel(
    fault_server: FaultServer, faulty: S3Store, upload: Upload, verb: str
) -> None:
    fault_server.script(PATH + "?uploads", Response.error(403).having(Stall()), method="POST")
    future = VERBS[verb](faulty.futures, "")
    fault_server.wait_for(lambda: fault_server.stalled)
    _cancel(future)
    fault_server.release()
    fault_server.wait_for(future.done)
    assert future.cancelled()
    assert not with_query(fault_server, "uploadId")


PROGRAM = """
import asyncio, sys
from cumulo.store import S3Store

async def main():
    store = S3Store("bucket", endpoint=sys.argv[1], region="us-east-1", skip_signature=True,
                    client_options={"allow_http": True})
    await store.put_async("key", bytes(12 << 20))

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_in_a_program_of_one_coroutine(fault_server: FaultServer, upload: Upload) -> None:
    """Its exit waits a moment for the abort, which no event loop is left for."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, fault_server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        fault_server.wait_for(lambda: fault_server.stalled)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted\n"
        fault_server.release()
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0
    _assert_taken_back(fault_server, upload)


@pytest.mark.parametrize("how", ["sync", "async", "futures", "many"])
def test_a_cancel_of_what_is_taken_back_already(fault_server: FaultServer, how: str) -> None:
    """Does not cut that short."""
    upload, store = Upload(), fault_store(fault_server)
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber=1", Response.error(403))
    fault_server.script(PATH + "?uploadId", [Response.error(503).having(Stall()), upload], method="DELETE")

    def stalled() -> bool:
        return fault_server.stalled > 0

    async def cancelled() -> None:
        task = asyncio.create_task(store.put_async("key", DATA))
        await fault_server.wait_for_async(stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def press_and_release(press: Callable[[threading.Event], None]) -> None:
        fault_server.wait_for(stalled)
        press(threading.Event())
        time.sleep(0.1)
        fault_server.release()

    if how == "async":
        asyncio.run(cancelled())
    elif how == "futures":
        future = store.futures.put("key", DATA)
        fault_server.wait_for(stalled)
        _cancel(future)
    elif how == "many":
        futures = store.futures.put_many([("key", DATA)])
        waiting = next(iter(futures))
        fault_server.wait_for(stalled)
        _cancel(waiting)
    else:
        with ctrl_c_when(lambda: False) as press:
            releasing = threading.Thread(target=press_and_release, args=(press,))
            releasing.start()
            store.put("key", DATA)
        releasing.join()
    fault_server.release()
    fault_server.wait_for(lambda: upload.aborted)
    assert (upload.parts, upload.completed) == ({}, [])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_source_is_ended_too(fault_server: FaultServer, faulty: S3Store, upload: Upload, kind: str) -> None:
    ended: list[str] = []

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(MIB)
        finally:
            ended.append("sync")

    async def async_pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(MIB)
        finally:
            ended.append("async")

    async def cancelled() -> None:
        task = asyncio.create_task(faulty.put_async("key", pieces() if kind == "sync" else async_pieces()))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(fault_server.release)
        await fault_server.wait_for_async(lambda: upload.aborted and ended)

    asyncio.run(cancelled())
    assert ended == [kind]
    _assert_taken_back(fault_server, upload)
