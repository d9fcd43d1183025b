"""What readers and writers send: on the fault server, which keeps account of it, and fails where it is told to."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
from typing import Any

import pytest

import cumulo as obs
from cumulo.exceptions import BaseError, ObjectChangedError, PermissionDeniedError
from cumulo.store import MemoryStore, S3Store
from tests.faults import Cut, FaultServer, Faulty, Object, Response, Stall, Upload

from .support import MIB, PATH, with_query

KIB = 1024
DATA = random.Random(3).randbytes(40 * MIB)
PART = 5 * MIB


@pytest.fixture
def stored(fault_server: FaultServer) -> Object:
    """At `key`: 40 MiB."""
    made = Object(DATA)
    fault_server.script(PATH, made)
    return made


def ranges(server: FaultServer) -> list[tuple[int, int]]:
    """(start, length) of the ranges asked for; -1 is to the end."""
    found: list[tuple[int, int]] = []
    for request in server.seen(PATH, "GET"):
        first, _, last = (request.header("range") or "bytes=0-").removeprefix("bytes=").partition("-")
        found.append((int(first), int(last) + 1 - int(first) if last else -1))
    return found


# -- readers


@pytest.mark.parametrize("block", [1, 2000, 50_000, 200_000])
def test_reading_on_with_small_blocks_fetches_nothing_twice(
    fault_server: FaultServer, faulty: S3Store, block: int
) -> None:
    fault_server.script(PATH, Object(DATA[:MIB]))
    reader = obs.open_reader(faulty, "key", buffer_size=block)
    assert b"".join(iter(lambda: reader.read(10_000), b"")) == DATA[:MIB]
    asked = ranges(fault_server)
    assert len(asked) <= 3
    assert [start for start, _ in asked[1:]] == [start + length for start, length in asked[:-1]]


def test_reads_here_and_there_get_what_was_asked_for(
    fault_server: FaultServer, faulty: S3Store, stored: Object
) -> None:
    reader = obs.open_reader(faulty, "key")
    places = [30 * MIB, 5 * MIB + 100, 17 * MIB, 9 * MIB]
    for place in places:
        reader.seek(place)
        assert reader.read(16 * KIB) == DATA[place : place + 16 * KIB]
    assert ranges(fault_server) == [(place, 16 * KIB) for place in places]
    assert len(fault_server.seen(PATH, "HEAD")) == 1
    for place in places:  # kept
        reader.seek(place + 100)
        assert reader.read(1000) == DATA[place + 100 : place + 1100]
    assert len(ranges(fault_server)) == len(places)
    assert all(request.header("if-match") == stored.current_etag for request in fault_server.seen(PATH, "GET"))


def test_a_third_read_in_a_block_gets_the_block(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    reader = obs.open_reader(faulty, "key")
    for place in (3 * MIB + 500_000, 3 * MIB + 100, 3 * MIB + 900_000, 3 * MIB + 200_000, 3 * MIB + 700_000):
        reader.seek(place)
        assert reader.read(16 * KIB) == DATA[place : place + 16 * KIB]
    assert ranges(fault_server)[2:] == [(3 * MIB, MIB)]


def test_reading_on_gets_ever_more_ahead(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    reader = obs.open_reader(faulty, "key")
    for start in range(0, len(DATA), 64 * KIB):
        assert reader.read(64 * KIB) == DATA[start : start + 64 * KIB]
    found = ranges(fault_server)
    assert [length for _, length in found[:2]] == [256 * KIB, MIB]
    assert found[2] == (256 * KIB + MIB, -1)
    assert {length for start, length in found[3:] if start + length < len(DATA)} == {8 * MIB}
    assert len(found) < 12


def test_a_seek_ends_what_is_ahead(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    reader = obs.open_reader(faulty, "key")
    for _ in range(8):
        reader.read(MIB)
    assert any(length == -1 for _, length in ranges(fault_server))
    reader.seek(100)
    assert reader.read(100) == DATA[100:200]  # kept
    reader.seek(39 * MIB + 500)
    assert reader.read(100) == DATA[39 * MIB + 500 : 39 * MIB + 600]
    assert (39 * MIB + 500, 100) in ranges(fault_server)
    reader.close()


def test_a_size_spares_the_head(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    reader = obs.open_reader(faulty, "key", size=len(DATA))
    reader.seek(-100, os.SEEK_END)
    assert reader.read() == DATA[-100:]
    assert [request.method for request in fault_server.seen(PATH)] == ["GET"]


@pytest.mark.parametrize("heeds", [True, False], ids=["if-match", "no-if-match"])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("size", [16 * KIB, 20 * MIB])
def test_a_replaced_object_is_an_error(
    fault_server: FaultServer, faulty: S3Store, stored: Object, heeds: bool, size: int, before: int
) -> None:
    reader = obs.open_reader(faulty, "key")
    old = stored.current_etag
    for place in (5 * MIB, 9 * MIB)[:before]:
        reader.seek(place)
        assert reader.read(100) == DATA[place : place + 100]
    stored.replace(bytes(len(DATA)))
    if not heeds:  # answers for the new object, whatever it is asked for

        def step(request: Any) -> Response:
            request.headers = [(n, v) for n, v in request.headers if n.lower() != "if-match"]
            return stored(request)

        fault_server.script(PATH, step)
    reader.seek(1000)
    with pytest.raises(ObjectChangedError) as caught:
        reader.read(size)
    assert old in str(caught.value)
    assert stored.current_etag in str(caught.value)


def test_a_read_that_fails_can_be_repeated(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    reader = obs.open_reader(faulty, "key")
    assert reader.read(MIB) == DATA[:MIB]
    fault_server.script(PATH, Response.error(403, "AccessDenied"), method="GET")
    for _ in range(2):
        reader.seek(MIB)
        with pytest.raises(PermissionDeniedError):
            reader.read(10 * MIB)
    fault_server.script(PATH, Faulty(stored, Cut(10_000)), method="GET")
    reader.seek(20 * MIB)
    with pytest.raises(BaseError):
        reader.read(5 * MIB)
    fault_server.script(PATH, stored, method="GET")
    reader.seek(MIB)
    assert reader.read() == DATA[MIB:]


def test_a_cancelled_read_can_be_repeated(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    async def run() -> None:
        reader = await obs.open_reader_async(faulty, "key")
        fault_server.script(PATH, Faulty(stored, Stall()), method="GET")
        task = asyncio.ensure_future(reader.read(20 * MIB))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fault_server.script(PATH, stored, method="GET")
        assert await reader.read() == DATA
        reader.close()

    asyncio.run(run())


def test_short_reads_on_an_event_loop(fault_server: FaultServer, faulty: S3Store, stored: Object) -> None:
    """Each is one request, for what was asked for; one that has failed or was cancelled was none."""

    async def run() -> None:
        reader = await obs.open_reader_async(faulty, "key")
        asked = [(place * MIB, 1000 + place) for place in range(5, 15)]
        for start, length in asked:
            await reader.seek(start)
            assert await reader.read(length) == DATA[start : start + length]
            assert await reader.tell() == start + length
        await reader.seek(5 * MIB + 10)
        assert await reader.read(20) == DATA[5 * MIB + 10 : 5 * MIB + 30]  # it is here
        await reader.seek(len(DATA) - 100)
        assert await reader.read(1000) == DATA[-100:]
        assert await reader.read(1000) == b""
        assert ranges(fault_server) == [*asked, (len(DATA) - 100, 100)]
        await reader.seek(20 * MIB)
        refused = Response.error(403, "AccessDenied")
        fault_server.script(PATH, [refused, Faulty(stored, Stall(50)), stored], method="GET")
        with pytest.raises(PermissionDeniedError):
            await reader.read(100)
        task = asyncio.ensure_future(reader.read(100))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer)
        assert await reader.tell() == 20 * MIB
        assert await reader.read(100) == DATA[20 * MIB : 20 * MIB + 100]

    asyncio.run(run())


@pytest.mark.parametrize("ends", ["close", "close and cancel"])
def test_closing_during_a_short_read(fault_server: FaultServer, faulty: S3Store, stored: Object, ends: str) -> None:
    async def run() -> None:
        reader = await obs.open_reader_async(faulty, "key")
        fault_server.script(PATH, Faulty(stored, Stall(50)), method="GET")
        await reader.seek(5 * MIB)
        task = asyncio.ensure_future(reader.read(100))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        reader.close()
        if ends == "close":
            fault_server.release()
            assert await task == DATA[5 * MIB : 5 * MIB + 100]
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(ValueError, match="closed"):
            await reader.read(100)

    asyncio.run(run())


@pytest.mark.parametrize("heeds", [True, False], ids=["if-match", "no-if-match"])
def test_an_object_replaced_between_short_reads_on_an_event_loop(
    fault_server: FaultServer, faulty: S3Store, stored: Object, heeds: bool
) -> None:
    def step(request: Any) -> Response:
        request.headers = [(n, v) for n, v in request.headers if heeds or n.lower() != "if-match"]
        return stored(request)

    async def run() -> str:
        reader = await obs.open_reader_async(faulty, "key")
        await reader.seek(5 * MIB)
        assert await reader.read(100) == DATA[5 * MIB : 5 * MIB + 100]
        stored.replace(bytes(len(DATA)))
        await reader.seek(9 * MIB)
        with pytest.raises(ObjectChangedError) as caught:
            await reader.read(100)
        assert await reader.tell() == 9 * MIB
        return str(caught.value)

    old = stored.current_etag
    fault_server.script(PATH, step)
    told = asyncio.run(run())
    assert old in told
    assert stored.current_etag in told


def test_a_child_reads_on(faulty: S3Store, stored: Object) -> None:
    """By requests of its own, from where its parent was; the parent's reads go on, too."""
    reader = obs.open_reader(faulty, "key")

    def reads_well() -> bool:
        places = [reader.tell(), 7 * MIB, 25 * MIB, 11 * MIB]
        found = [(reader.seek(place), reader.read(100)) for place in places]
        return found == [(place, DATA[place : place + 100]) for place in places]

    reader.seek(30 * MIB)
    reader.read(100)
    child = os.fork()
    if child == 0:
        os._exit(0 if reads_well() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert reads_well()


def test_many_threads_share_a_reader(faulty: S3Store, stored: Object) -> None:
    reader = obs.open_reader(faulty, "key")
    found: list[bytes] = []

    def read() -> None:
        while piece := reader.read(300_000):
            found.append(piece)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(DATA[start : start + 300_000] for start in range(0, len(DATA), 300_000))


# -- writers


@pytest.fixture
def upload(fault_server: FaultServer) -> Upload:
    """At `key`."""
    made = Upload()
    fault_server.script(PATH, made)
    return made


def test_what_is_short_is_one_request(fault_server: FaultServer, faulty: S3Store, upload: Upload) -> None:
    with obs.open_writer(faulty, "key") as writer:
        for start in range(0, MIB, 1000):
            writer.write(DATA[start : min(start + 1000, MIB)])
        assert fault_server.requests == []
    assert upload.object.data == DATA[:MIB]
    assert [request.method for request in fault_server.seen(PATH)] == ["PUT"]


def test_parts_are_sent_while_it_is_written(fault_server: FaultServer, faulty: S3Store, upload: Upload) -> None:
    with obs.open_writer(faulty, "key", buffer_size=PART) as writer:
        writer.write(DATA[: 12 * MIB])
        fault_server.wait_for(lambda: len(with_query(fault_server, "partNumber")) == 2)
        writer.write(memoryview(DATA)[12 * MIB :])
    assert upload.object.data == DATA
    assert upload.parts == {}


def test_writes_wait_for_parts_under_way(fault_server: FaultServer, faulty: S3Store, upload: Upload) -> None:
    fault_server.script(PATH + "?partNumber", Faulty(upload, Stall()), method="PUT")
    written: list[int] = []

    def write() -> None:
        with obs.open_writer(faulty, "key", buffer_size=PART, max_concurrency=2) as writer:
            for start in range(0, len(DATA), MIB):
                writer.write(DATA[start : start + MIB])
                written.append(start)

    thread = threading.Thread(target=write)
    thread.start()
    fault_server.wait_for(lambda: len(with_query(fault_server, "partNumber")) == 2)
    thread.join(0.5)
    assert thread.is_alive()
    assert len(written) <= 3 * PART // MIB  # two parts are under way, and one is gathered
    fault_server.script(PATH + "?partNumber", upload, method="PUT")
    fault_server.release()
    thread.join(60)
    assert upload.object.data == DATA


def test_a_part_that_fails(fault_server: FaultServer, faulty: S3Store, upload: Upload) -> None:
    fault_server.script(PATH + "?partNumber=2", Response.error(403, "AccessDenied"))

    def write() -> None:
        with obs.open_writer(faulty, "key", buffer_size=PART) as writer:
            for start in range(0, len(DATA), MIB):
                writer.write(DATA[start : start + MIB])

    with pytest.raises(PermissionDeniedError):
        write()
    assert (upload.parts, upload.completed, len(upload.aborted)) == ({}, [], 1)


def test_close_raises_what_a_write_has_raised(fault_server: FaultServer, faulty: S3Store, upload: Upload) -> None:
    fault_server.script(PATH + "?partNumber", Response.error(403, "AccessDenied"))
    writer = obs.open_writer(faulty, "key", buffer_size=PART, max_concurrency=1)
    with pytest.raises(PermissionDeniedError):
        writer.write(DATA[: 3 * PART])
    with pytest.raises(PermissionDeniedError):
        writer.close()
    assert writer.closed
    assert (upload.parts, upload.completed, len(upload.aborted)) == ({}, [], 1)


@pytest.mark.parametrize("way", ["discard", "dropped", "dropped on a loop"])
def test_an_upload_that_is_not_wanted_is_taken_back(
    fault_server: FaultServer, faulty: S3Store, upload: Upload, way: str
) -> None:
    async def written() -> None:
        file = obs.open_writer_async(faulty, "key", buffer_size=PART)
        await file.write(DATA[: 12 * MIB])

    if way == "dropped on a loop":
        with pytest.warns(ResourceWarning):  # noqa: PT031 - what is collected is what is dropped
            asyncio.run(written())
            gc.collect()
    else:
        writer = obs.open_writer(faulty, "key", buffer_size=PART)
        writer.write(DATA[: 12 * MIB])
        if way == "discard":
            writer.discard()
        else:
            with pytest.warns(ResourceWarning):  # noqa: PT031
                del writer
                gc.collect()
    fault_server.wait_for(lambda: upload.aborted)
    assert (upload.parts, upload.completed) == ({}, [])


def test_a_cancelled_write_discards(fault_server: FaultServer, faulty: S3Store, upload: Upload) -> None:
    fault_server.script(PATH + "?partNumber", Faulty(upload, Stall()), method="PUT")

    async def run() -> None:
        writer = obs.open_writer_async(faulty, "key", buffer_size=PART, max_concurrency=1)
        task = asyncio.ensure_future(writer.write(DATA))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ValueError, match="closed"):
            await writer.write(b"more")
        with pytest.raises(BaseError, match="cut short"):
            await writer.close()
        await fault_server.wait_for_async(lambda: upload.aborted)

    asyncio.run(run())
    assert (upload.parts, upload.completed) == ({}, [])
    MemoryStore().put("x", b"")


@pytest.mark.parametrize("then", ["nothing", "discard", "dropped"])
def test_a_write_that_is_cancelled_while_the_upload_is_created(
    fault_server: FaultServer, faulty: S3Store, upload: Upload, then: str
) -> None:
    fault_server.script(PATH + "?uploads", Faulty(upload, Stall()), method="POST")

    async def run() -> None:
        writer = obs.open_writer_async(faulty, "key", buffer_size=PART)
        call = writer.write(DATA) if then == "nothing" else _closed(writer)
        task = asyncio.ensure_future(call)
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if then == "discard":
            await writer.discard()
        del writer, call, task

    async def _closed(writer: Any) -> None:
        writer._writer.take(DATA)
        await writer.close()

    if then == "dropped":
        with pytest.warns(ResourceWarning):  # noqa: PT031 - what is collected is what is dropped
            asyncio.run(run())
            gc.collect()
    else:
        asyncio.run(run())
    fault_server.release()
    fault_server.wait_for(lambda: upload.aborted)
    assert (upload.parts, upload.completed, len(upload.aborted)) == ({}, [], 1)


def test_a_writer_of_what_must_be_new(faulty: S3Store, upload: Upload) -> None:
    upload.object.replace(b"old")
    writer = obs.open_writer(faulty, "key", mode="create")
    writer.write(b"new")
    with pytest.raises(FileExistsError):
        writer.close()
    assert upload.object.data == b"old"
