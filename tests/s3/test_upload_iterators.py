"""Uploads from iterators: no more is pulled than can be sent, and one that is not read to its end is closed."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from cumulo.exceptions import PermissionDeniedError
from cumulo.store import LocalStore, MemoryStore, S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Faulty, Request, Response, Stall, Upload
from tests.servers import S3Server

from .support import MIB, PATH, server_store

PART = 5 * MIB


class Source:
    """Generators of pieces, and what became of them."""

    def __init__(self, pieces: int = 1000, then: Callable[[], Any] | None = None, piece: Any = bytes(MIB)) -> None:
        self.pulled = 0
        self.ended: list[BaseException | None] = []
        self._pieces = pieces
        self._then = then
        self._piece = piece

    def _noted(self) -> None:
        self.ended.append(sys.exc_info()[1])

    def sync(self) -> Iterator[bytes]:
        """For any call."""
        try:
            for _ in range(self._pieces):
                self.pulled += MIB
                yield self._piece
            if self._then is not None:
                self._then()
        finally:
            self._noted()

    async def on_loop(self) -> AsyncIterator[bytes]:
        """For async calls."""
        try:
            for _ in range(self._pieces):
                self.pulled += MIB
                yield self._piece
            if self._then is not None:
                await self._then()
        finally:
            await asyncio.sleep(0)  # as whoever gives back a connection does
            self._noted()


async def _awaited(store: Any, content: Any, **options: Any) -> None:
    await store.put_async("key", content, **options)


CALLS: dict[str, Callable[..., Any]] = {
    "sync": lambda store, source, **options: store.put("key", source.sync(), **options),
    "thread": lambda store, source, **options: asyncio.run(_awaited(store, source.sync(), **options)),
    "async": lambda store, source, **options: asyncio.run(_awaited(store, source.on_loop(), **options)),
    "futures": lambda store, source, **options: store.futures.put("key", source.sync(), **options).result(60),
}
calls = pytest.mark.parametrize("call", CALLS)


@pytest.mark.parametrize("most", [1, 3])
def test_no_part_is_pulled_before_there_is_room(fault_server: FaultServer, faulty: S3Store, most: int) -> None:
    upload, source = Upload(), Source(pieces=45)
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber", Faulty(upload, Stall()), method="PUT")
    future = faulty.futures.put("key", source.sync(), max_concurrency=most)
    for turn in range(1, 4):
        fault_server.wait_for(lambda: fault_server.stalled == most)
        threading.Event().wait(0.1)  # more would have been pulled by now
        assert source.pulled == turn * most * PART
        fault_server.release()
        fault_server.wait_for(lambda turn=turn: source.pulled > turn * most * PART or future.done())
    fault_server.wait_for(lambda: fault_server.release() or future.done())
    assert future.result()["e_tag"] == upload.object.etag
    assert upload.object.data == bytes(45 * MIB)


PROGRAM = """
import resource, sys
from cumulo.store import S3Store

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

store = S3Store("bucket", endpoint=sys.argv[1], region="us-east-1", skip_signature=True,
                client_options={"allow_http": True})
store.put("key", (bytes(1 << 20) for _ in range(24)), max_concurrency=4)
before = peak()
store.put("key", (bytes(1 << 20) for _ in range(1024)), max_concurrency=4)
print(peak() - before)
"""


def test_a_gibibyte_takes_the_memory_of_a_few_parts(fault_server: FaultServer) -> None:
    fault_server.keep_body = 0
    fault_server.script(PATH, Upload())
    fault_server.script(PATH + "?partNumber", Response(headers=(("ETag", '"e"'),)), method="PUT")
    try:
        out = subprocess.run(
            [sys.executable, "-c", PROGRAM, fault_server.url], check=True, capture_output=True, text=True, timeout=120
        ).stdout
    finally:
        fault_server.keep_body = 64 * MIB
    assert int(out) < 6 * PART // MIB, "four in flight; one before it, and its pieces"


SMALL_PIECES = (
    PROGRAM[: PROGRAM.index("store.put")]
    + """
store.put("key", bytes(8 << 20))
before = peak()
store.put("key", (b"x" for _ in range(400_000)))
print(peak() - before)
"""
)


def test_small_pieces_take_no_more_memory_than_they_have_bytes(fault_server: FaultServer) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    out = subprocess.run(
        [sys.executable, "-c", SMALL_PIECES, fault_server.url], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    assert upload.object.data == b"x" * 400_000
    assert int(out) < 10


def _mixed(seed: int, least: int) -> Iterator[bytes]:
    chosen = random.Random(seed)
    done = 0
    while done < least:
        piece = chosen.randbytes(chosen.choice([0, 1, 100, 32_767, 32_768, 40_000, MIB, 6 * MIB + 1]))
        done += len(piece)
        yield piece


@pytest.mark.parametrize("least", [2 * MIB, 13 * MIB])
@pytest.mark.parametrize("algorithm", [None, "SHA256"])
def test_pieces_of_all_sizes_on_real_servers(server: S3Server, least: int, algorithm: str | None) -> None:
    store = server_store(server, checksum_algorithm=algorithm)
    for seed in range(3):
        store.put("key", _mixed(seed, least))
        assert store.get("key").bytes() == b"".join(_mixed(seed, least))


@pytest.mark.parametrize("least", [2 * MIB, 13 * MIB])
@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_all_sizes_sent_again(fault_server: FaultServer, faulty: S3Store, least: int, seed: int) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    refused = Response.error(503, "SlowDown")
    for number in range(1, 6):
        fault_server.script(f"{PATH}?partNumber={number}", [refused, Response.dropped("rst"), upload], method="PUT")
    fault_server.script(PATH, [refused, Response.dropped("rst"), upload], method="PUT")
    faulty.put("key", _mixed(seed, least))
    assert upload.object.data == b"".join(_mixed(seed, least))
    for sent in fault_server.seen(method="PUT"):
        assert sent.header("x-amz-content-sha256") == sent.body_sha256


class _View(Protocol):
    def __call__(self, memory: bytearray, /) -> Any: ...


@pytest.mark.parametrize("view", [lambda m: m, memoryview, lambda m: memoryview(m).toreadonly(), np.frombuffer])
@calls
def test_memory_that_its_owner_fills_anew(fault_server: FaultServer, faulty: S3Store, call: str, view: _View) -> None:
    """What a read-only view shows may change as well."""
    upload, size, count = Upload(), 256 * 1024, 30
    fault_server.script(PATH, upload)
    memory = bytearray(size)

    def fill(number: int) -> Any:
        memory[:] = bytes([number]) * size
        given = view(memory)
        if isinstance(given, np.ndarray):
            given.flags.writeable = False
        return given

    class Filled(Source):
        def sync(self) -> Iterator[Any]:
            yield from map(fill, range(count))

        async def on_loop(self) -> AsyncIterator[Any]:
            for number in range(count):
                yield fill(number)

    CALLS[call](faulty, Filled())
    assert upload.object.data == b"".join(bytes([number]) * size for number in range(count))


@calls
def test_a_part_that_fails_ends_the_iterator(fault_server: FaultServer, faulty: S3Store, call: str) -> None:
    upload, source = Upload(), Source()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber=2", Response.error(403))
    with pytest.raises(PermissionDeniedError):
        CALLS[call](faulty, source, max_concurrency=2)
    assert [type(error) for error in source.ended] == [GeneratorExit], "when the call ends, not some time later"
    assert upload.aborted
    assert source.pulled <= 6 * PART


@calls
def test_an_iterator_that_raises(fault_server: FaultServer, faulty: S3Store, call: str) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)

    def fail() -> None:
        raise LookupError("its own")

    async def fail_async() -> None:
        fail()

    source = Source(12, fail_async if call == "async" else fail)
    with pytest.raises(LookupError, match="its own"):
        CALLS[call](faulty, source)
    assert [type(error) for error in source.ended] == [LookupError]
    assert upload.aborted


@calls
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_other_stores_end_it_too(tmp_path: Path, call: str, kind: str) -> None:
    store = LocalStore(tmp_path) if kind == "local" else MemoryStore()
    source = Source(piece="no buffer")
    with pytest.raises(TypeError, match="bytes-like"):
        CALLS[call](store, source)
    assert [type(error) for error in source.ended] == [GeneratorExit]


def test_a_generator_that_fails_while_it_is_closed_does_not_hide_why(
    fault_server: FaultServer, faulty: S3Store
) -> None:
    fault_server.script(PATH, Upload())
    fault_server.script(PATH + "?partNumber=1", Response.error(403))

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(MIB)
        finally:
            raise LookupError("its own")

    with pytest.raises(PermissionDeniedError):
        faulty.put("key", pieces(), max_concurrency=1)


def test_a_cancel_reaches_an_async_generator_that_waits(fault_server: FaultServer, faulty: S3Store) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    source = Source(12, lambda: asyncio.Event().wait())

    async def run() -> None:
        task = asyncio.create_task(faulty.put_async("key", source.on_loop()))
        await fault_server.wait_for_async(lambda: source.pulled == 12 * MIB and fault_server.seen(method="PUT"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await fault_server.wait_for_async(lambda: upload.aborted and source.ended)
        assert isinstance(source.ended[0], asyncio.CancelledError)
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@pytest.mark.parametrize("call", ["thread", "futures"])
def test_a_cancel_while_a_thread_is_in_the_generator(fault_server: FaultServer, faulty: S3Store, call: str) -> None:
    """The call ends at once; the generator when the thread comes back from it."""
    upload, go_on, inside = Upload(), threading.Event(), threading.Event()
    fault_server.script(PATH, upload)

    def wait() -> None:
        inside.set()
        go_on.wait(20)

    def pieces() -> Iterator[bytes]:
        yield from source.sync()
        yield b"more"

    source = Source(12, wait)
    outer = pieces()
    if call == "futures":
        future = faulty.futures.put("key", outer)
        fault_server.wait_for(inside.is_set)
        assert future.cancel()
        fault_server.wait_for(future.done)
        fault_server.wait_for(lambda: upload.aborted)
        go_on.set()
        fault_server.wait_for(lambda: outer.gi_frame is None)  # type: ignore[attr-defined]
        return

    async def run() -> None:
        task = asyncio.create_task(faulty.put_async("key", outer))
        await fault_server.wait_for_async(inside.is_set)
        task.cancel()
        await asyncio.wait([task])
        await fault_server.wait_for_async(lambda: upload.aborted)
        go_on.set()
        await fault_server.wait_for_async(lambda: outer.gi_frame is None)  # type: ignore[attr-defined]

    asyncio.run(run())


def test_ctrl_c_in_the_generator(fault_server: FaultServer, faulty: S3Store) -> None:
    upload, inside, forever = Upload(), threading.Event(), threading.Event()
    fault_server.script(PATH, upload)

    def wait() -> None:
        inside.set()
        while not forever.wait(0.05):
            pass

    source = Source(12, wait)
    with ctrl_c_when(inside.is_set):
        faulty.put("key", source.sync())
    assert [type(error) for error in source.ended] == [KeyboardInterrupt]
    assert upload.aborted


def test_ctrl_c_while_a_part_is_sent_closes_the_generator(fault_server: FaultServer, faulty: S3Store) -> None:
    upload, source = Upload(), Source()
    fault_server.script(PATH, upload)

    def never(_: Request) -> Response:
        return Response.never()

    fault_server.script(PATH + "?partNumber", never, method="PUT")
    with ctrl_c_when(lambda: fault_server.stalled == 2):
        faulty.put("key", source.sync(), max_concurrency=2)
    assert [type(error) for error in source.ended] == [GeneratorExit]
    assert upload.aborted
