"""open_reader and open_writer, for threads and for event loops, on every store."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
import os
import random
import tarfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pandas as pd
import pytest

import cumulo as obs
from cumulo.exceptions import BaseError, GenericError, ObjectChangedError
from cumulo.store import HTTPStore, LocalStore, MemoryStore

MIB = 1 << 20
DATA = random.Random(5).randbytes(7 * MIB + 12_345)
TEXT = "".join(f"{number},é{number}\n" for number in range(30_000)).encode()


class Awaited:
    """The files of event loops, called as those of threads."""

    def __init__(self, file: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._file, self._loop = file, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        if not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            result = found(*arguments)
            return self._loop.run_until_complete(result) if asyncio.iscoroutine(result) else result

        return call


@pytest.fixture(params=["sync", "asyncio"])
def opened(request: pytest.FixtureRequest) -> Any:
    """`opened.reader(...)` and `opened.writer(...)`."""
    loop = asyncio.new_event_loop()

    class Opened:
        def reader(self, *arguments: Any, **options: Any) -> Any:
            if request.param == "sync":
                return obs.open_reader(*arguments, **options)
            return Awaited(loop.run_until_complete(obs.open_reader_async(*arguments, **options)), loop)

        def writer(self, *arguments: Any, **options: Any) -> Any:
            if request.param == "sync":
                return obs.open_writer(*arguments, **options)
            return Awaited(obs.open_writer_async(*arguments, **options), loop)

    yield Opened()
    gc.collect()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with two objects."""
    store.put("data", DATA)
    store.put("text", TEXT)
    return store


# -- readers


@pytest.mark.parametrize("size", [7_000, 100_001, MIB, 3 * MIB + 1])
def test_reading_in_order(filled: Any, opened: Any, size: int) -> None:
    reader = opened.reader(filled, "data")
    found = bytearray()
    while piece := reader.read(size):
        assert type(piece) is bytes
        found += piece
        assert reader.tell() == len(found)
    assert found == DATA
    reader.close()


def test_reading_all_from_anywhere(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data")
    assert reader.size == len(DATA)
    assert reader.seekable()
    assert reader.seek(-1000, os.SEEK_END) == len(DATA) - 1000
    assert reader.read() == DATA[-1000:]
    assert reader.read(10) == b""
    assert reader.seek(5) == 5
    assert reader.seek(10, os.SEEK_CUR) == 15
    assert reader.readall() == DATA[15:]
    assert reader.seek(len(DATA) + 5) == len(DATA) + 5
    assert reader.read(-1) == b""
    reader.seek(0)
    assert reader.read(None) == DATA


def test_reading_here_and_there(filled: Any, opened: Any) -> None:
    chance = random.Random(11)
    reader = opened.reader(filled, "data", buffer_size=64 << 10)
    for _ in range(60):
        start = chance.randrange(len(DATA))
        reader.seek(start)
        for _ in range(chance.randrange(1, 4)):
            length = chance.choice([1, 500, 16 << 10, 300_000])
            assert reader.read(length) == DATA[start : start + length]
            start = min(start + length, len(DATA))


def test_reading_into_a_buffer(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data")
    buffer = bytearray(2 * MIB)
    found = bytearray()
    while count := reader.readinto(buffer):
        found += buffer[:count]
    assert found == DATA


def test_lines(filled: Any, opened: Any) -> None:
    expected = TEXT.splitlines(keepends=True)
    reader = opened.reader(filled, "text")
    assert reader.readline() == expected[0]
    assert reader.readline(3) == expected[1][:3]
    assert reader.tell() == len(expected[0]) + 3
    reader.seek(0)
    assert reader.readlines() == expected
    reader.seek(0)
    assert len(b"".join(reader.readlines(100))) >= 100
    assert reader.readlines()[-1] == expected[-1]
    assert reader.readline() == b""


def test_an_empty_object(store: Any, opened: Any) -> None:
    store.put("empty", b"")
    reader = opened.reader(store, "empty")
    assert (reader.read(), reader.readline(), reader.readlines(), reader.size) == (b"", b"", [], 0)


def test_a_closed_reader(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data")
    assert not reader._file.closed if isinstance(reader, Awaited) else not reader.closed
    reader.close()
    reader.close()
    assert reader.closed()
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)
    with pytest.raises(ValueError, match="closed"):
        reader.seek(1)


def test_arguments_that_make_no_sense(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data")
    for wrong in (lambda: reader.read(-2), lambda: reader.seek(-5), lambda: reader.seek(0, 7),
                  lambda: opened.reader(filled, "data", buffer_size=0), lambda: opened.reader(filled, "data", size=-1),
                  lambda: opened.reader(filled, "data", size=1 << 63),
                  lambda: opened.writer(filled, "x", buffer_size=0),
                  lambda: opened.writer(filled, "x", max_concurrency=0),
                  lambda: opened.writer(filled, "")):  # fmt: skip
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(TypeError):
        reader.read("all")
    with pytest.raises(FileNotFoundError):
        opened.reader(filled, "missing")


def test_numbers_that_are_larger_than_any_object(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data", buffer_size=1 << 80)
    reader.seek(len(DATA) - 10)
    assert reader.read(1 << 80) == DATA[-10:]
    reader.seek(1 << 80)
    assert reader.read(1) == b""
    assert reader.tell() == 1 << 80


def test_a_size_that_is_known(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data", size=len(DATA))
    reader.seek(1000)
    assert reader.read(100) == DATA[1000:1100]
    assert reader.read() == DATA[1100:]


@pytest.mark.parametrize("size", [1000, 2 * len(DATA)])
def test_a_size_that_is_wrong(filled: Any, opened: Any, size: int) -> None:
    with pytest.raises(BaseError, match=f"size given was {size} bytes, but the object has {len(DATA)}"):
        opened.reader(filled, "data", size=size).read(100)


def test_an_object_that_is_replaced(filled: Any, opened: Any) -> None:
    reader = opened.reader(filled, "data")
    known = opened.reader(filled, "data", size=len(DATA))
    for each in (reader, known):
        each.seek(100)
        assert each.read(50) == DATA[100:150]
    filled.put("data", bytes(len(DATA) + 1))  # of another size: WebDAV's ETag has seconds and the size
    for each in (reader, known):
        assert each.seek(100) == 100
        assert each.read(50) == DATA[100:150]  # kept
        each.seek(5 * MIB)
        with pytest.raises(ObjectChangedError, match="replaced"):
            each.read(50)


# -- what takes files


def test_text(filled: Any) -> None:
    with io.TextIOWrapper(obs.open_reader(filled, "text"), encoding="utf-8") as text:
        assert text.readline() == "0,é0\n"
        assert len(text.read()) == len(TEXT.decode()) - 5
        assert text.seek(0) == 0
        assert sum(1 for _ in text) == 30_000
    assert text.closed


def test_a_buffered_reader(filled: Any) -> None:
    with io.BufferedReader(obs.open_reader(filled, "data"), 50_000) as reader:
        assert reader.peek(3)[:3] == DATA[:3]
        assert reader.read() == DATA
        reader.seek(-7, os.SEEK_END)
        assert reader.read(3) == DATA[-7:-4]


def test_archives_and_compression(store: Any) -> None:
    with obs.open_writer(store, "x.zip") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("text", TEXT)
    with zipfile.ZipFile(obs.open_reader(store, "x.zip")) as archive:
        assert archive.testzip() is None
        assert archive.read("text") == TEXT
    with obs.open_writer(store, "x.tar.gz") as file, tarfile.open(fileobj=file, mode="w|gz") as archive:
        info = tarfile.TarInfo("text")
        info.size = len(TEXT)
        archive.addfile(info, io.BytesIO(TEXT))
    with tarfile.open(fileobj=obs.open_reader(store, "x.tar.gz")) as archive:
        member = archive.extractfile("text")
        assert member is not None
        assert member.read() == TEXT
    with obs.open_writer(store, "x.gz") as file, gzip.open(file, "wb") as packed:
        packed.write(TEXT)
    with gzip.open(obs.open_reader(store, "x.gz")) as packed:
        assert packed.read() == TEXT


def test_tables_and_json(filled: Any) -> None:
    frame = pd.read_csv(obs.open_reader(filled, "text"), header=None)
    assert frame.shape == (30_000, 2)
    with obs.open_writer(filled, "x.csv") as file:
        frame.to_csv(file, header=False, index=False, lineterminator="\n")
    assert filled.get("x.csv").bytes() == TEXT
    with obs.open_writer(filled, "x.parquet") as file:
        frame.rename(columns=str).to_parquet(file)
    assert pd.read_parquet(obs.open_reader(filled, "x.parquet")).shape == frame.shape
    filled.put("x.json", b'{"a": [1, 2]}')
    assert json.load(obs.open_reader(filled, "x.json")) == {"a": [1, 2]}


def test_closing_while_another_thread_reads(store: Any) -> None:
    """The read under way ends, with its bytes; the next one is told."""
    content = DATA * 6
    store.put("data", content)
    for wait_s in (0, 0.001, 0.005, 0.01, 0.02, 0.04):
        file = obs.open_reader(store, "data")
        pieces: list[bytes] = []
        with ThreadPoolExecutor(1) as threads:
            ended = threads.submit(_read_on, file, pieces)
            time.sleep(wait_s)
            file.close()
            assert ended.result(timeout=60) in ("end", "I/O operation on closed file")
        assert content.startswith(b"".join(pieces))


def _read_on(file: Any, pieces: list[bytes]) -> str:
    try:
        while piece := file.read(300_000):
            pieces.append(piece)
    except ValueError as error:
        return str(error)
    return "end"


def test_closing_while_another_task_reads(filled: Any) -> None:
    async def main() -> None:
        for waits in range(12):
            file = await obs.open_reader_async(filled, "data")
            reading = asyncio.create_task(file.read(5 * MIB))
            for _ in range(waits + 1):
                await asyncio.sleep(0)
            file.close()
            assert await asyncio.wait_for(reading, 60) == DATA[: 5 * MIB]
            with pytest.raises(ValueError, match="closed"):
                await file.read(1)

    asyncio.run(main())


def test_a_read_that_is_cancelled_is_no_read(filled: Any) -> None:
    """The position stays, also where the bytes had come already."""

    async def main() -> None:
        file = await obs.open_reader_async(filled, "data")
        random_ = random.Random(3)
        at = 0
        while at < len(DATA):
            reading = asyncio.create_task(file.read(70_000))
            for _ in range(random_.randrange(40)):
                await asyncio.sleep(0.0001)
            reading.cancel()
            got = (await asyncio.gather(reading, return_exceptions=True))[0]
            if isinstance(got, asyncio.CancelledError):
                assert await file.tell() == at
                got = await file.read(200_000)
            assert not isinstance(got, BaseException)
            assert got == DATA[at : at + len(got)]
            at += len(got)

    asyncio.run(main())


def test_what_a_file_is_not_open_for(filled: Any) -> None:
    with pytest.raises(io.UnsupportedOperation, match="open for reading"):
        obs.open_reader(filled, "data").write(b"x")
    with obs.open_writer(filled, "new") as file, pytest.raises(io.UnsupportedOperation, match="open for writing"):
        file.read(1)


# -- writers


@pytest.mark.parametrize("size", [333, 100_001, 6 * MIB])
def test_writing(store: Any, opened: Any, size: int) -> None:
    content = DATA[: 100 * size] if size < 1000 else DATA
    writer = opened.writer(store, "a/b", buffer_size=5 * MIB, max_concurrency=2)
    for start in range(0, len(content), size):
        piece = content[start : start + size]
        assert writer.write(piece) == len(piece)
    assert writer.tell() == len(content)
    writer.flush()
    assert not writer.closed()
    writer.close()
    writer.close()
    assert writer.closed()
    assert store.get("a/b").bytes() == content
    assert writer.result["e_tag"] == store.head("a/b")["e_tag"]
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")


def test_what_can_be_written(store: Any, opened: Any) -> None:
    writer = opened.writer(store, "x")
    reused = bytearray(b"abc")
    assert writer.write(reused) == 3
    reused[:] = b"xxx"
    assert writer.write(memoryview(b"defgh")[::2]) == 3
    assert writer.write(memoryview(b"12345678").cast("I")) == 8
    with pytest.raises(TypeError):
        writer.write("text")
    writer.close()
    assert store.get("x").bytes() == b"abcdfh12345678"


def test_nothing_written(store: Any, opened: Any) -> None:
    opened.writer(store, "x").close()
    assert store.get("x").bytes() == b""


@pytest.mark.parametrize("size", [100, len(DATA)])
def test_discarding(store: Any, opened: Any, size: int) -> None:
    writer = opened.writer(store, "x", buffer_size=5 * MIB)
    writer.write(DATA[:size])
    writer.discard()
    writer.discard()
    writer.close()
    assert writer.closed()
    assert list(store.list()) == []


@pytest.mark.parametrize("size", [0, 100, len(DATA)])
def test_an_error_in_the_with_block(store: Any, size: int) -> None:
    class OurError(Exception):
        pass

    def called() -> None:
        with obs.open_writer(store, "x", buffer_size=5 * MIB) as writer:
            writer.write(DATA[:size])
            raise OurError

    async def awaited() -> None:
        async with obs.open_writer_async(store, "x", buffer_size=5 * MIB) as writer:
            await writer.write(DATA[:size])
            raise OurError

    with pytest.raises(OurError):
        called()
    with pytest.raises(OurError):
        asyncio.run(awaited())
    assert list(store.list()) == []


def test_a_with_block_in_a_coroutine_that_is_dropped(store: Any) -> None:
    """It may await nothing any more (PEP 492)."""

    async def awaited() -> None:
        async with obs.open_writer_async(store, "x", buffer_size=5 * MIB) as writer:
            await writer.write(b"abc")
            await asyncio.sleep(3600)

    async def main() -> None:
        coroutine = awaited()
        coroutine.send(None)
        with pytest.warns(ResourceWarning, match="without close"):
            coroutine.close()

    asyncio.run(main())
    assert list(store.list()) == []


@pytest.mark.parametrize("wrap", [lambda writer: writer, io.BufferedWriter, io.TextIOWrapper],
                         ids=["plain", "buffered", "text"])  # fmt: skip
def test_dropping_a_writer(store: Any, wrap: Callable[[Any], Any]) -> None:
    writer = wrap(obs.open_writer(store, "x"))
    writer.write("abc" if isinstance(writer, io.TextIOBase) else b"abc")
    with pytest.warns(ResourceWarning, match="without close"):  # noqa: PT031 - what is collected is what is dropped
        del writer
        gc.collect()
    assert list(store.list()) == []


def test_attributes(store: Any, opened: Any) -> None:
    if isinstance(store, (HTTPStore, LocalStore)):  # which keep none, and say so
        with pytest.raises(BaseError):
            opened.writer(store, "x", attributes={"my-own": "1"}).write(b"1")
        assert list(store.list()) == []
        return
    writer = opened.writer(store, "x", attributes={"Content-Type": "text/x-own"})
    writer.write(b"1")
    writer.close()
    assert store.get("x").attributes["Content-Type"] == "text/x-own"


def test_many_writers_at_once() -> None:
    """None of them takes a thread."""
    store = MemoryStore()
    writers = [obs.open_writer(store, f"{number:03}") for number in range(200)]
    for writer in writers:
        writer.write(b"1")
    for writer in writers:
        writer.close()
    assert len(list(store.list(chunk_size=1000).collect())) == 200


@pytest.mark.parametrize("end", ["close", "discard", "error", "drop", "write"])
def test_a_writer_is_not_its_childs(store: Any, end: str) -> None:
    """What a forked child does with a file that its parent writes changes nothing of the parent's."""
    file = obs.open_writer(store, "new", buffer_size=5 * MIB, max_concurrency=2)
    file.write(DATA * 2)
    files = [file]
    del file
    child = os.fork()
    if child == 0:
        os._exit(_end_in_child(files, end))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.list().collect() == []
    with files.pop() as file:
        file.write(DATA)
    assert store.get("new").bytes() == DATA * 3


def _end_in_child(files: list[Any], end: str) -> int:
    """0 where all is as it should be; the parent's stack is not to be run on."""
    try:
        if end == "discard":
            files[0].discard()
        elif end == "drop":
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                files.clear()
                gc.collect()
        elif end == "error":
            with suppress(ZeroDivisionError), files[0]:
                raise ZeroDivisionError
        else:
            if end == "write":
                with pytest.raises(GenericError, match="before a fork"):
                    files[0].write(DATA * 2)
            with pytest.raises(GenericError, match="before a fork"):
                files[0].close()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
