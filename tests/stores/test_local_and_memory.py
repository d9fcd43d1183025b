"""What `LocalStore` and `MemoryStore` have in common, in the three ways to call."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cumulo.exceptions import (
    AlreadyExistsError,
    GenericError,
    InvalidPathError,
    NotFoundError,
    NotModifiedError,
    NotSupportedError,
    PreconditionError,
    RangeNotSatisfiableError,
)
from cumulo.store import LocalStore, MemoryStore

Store = LocalStore | MemoryStore
MIB = 1 << 20
FAR = datetime(2101, 1, 1, tzinfo=timezone.utc)
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    (tmp_path / "root").mkdir()
    return LocalStore(tmp_path / "root")


def paths(store: Store, *args: Any, **kwargs: Any) -> list[str]:
    return [meta["path"] for meta in store.list(*args, **kwargs).collect()]


# --- get -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 128 << 10, (128 << 10) + 1, 3 * MIB + 7])
def test_whole_and_in_chunks(store: Store, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    put = store.put("a/b", content)
    result = store.get("a/b")
    assert result.meta["size"] == size
    assert result.meta["e_tag"] == put["e_tag"]
    assert result.meta["path"] == "a/b"
    assert result.range == (0, size)
    assert result.bytes() == content
    with pytest.raises(ValueError, match="consumed"):
        result.bytes()
    chunks = list(store.get("a/b").stream(100_000))
    assert all(type(chunk) is bytes for chunk in chunks)
    assert b"".join(chunks) == content
    assert {len(chunk) for chunk in chunks[:-1]} <= {100_000}


@pytest.mark.parametrize(
    ("wanted", "span"),
    [((2, 4), (2, 4)), ((2, 99), (2, 6)), ({"offset": 3}, (3, 6)), ({"suffix": 2}, (4, 6)), ({"suffix": 99}, (0, 6))],
)
def test_range_options(store: Store, wanted: Any, span: tuple[int, int]) -> None:
    store.put("x", b"012345")
    result = store.get("x", options={"range": wanted})
    assert result.range == span
    assert result.meta["size"] == 6
    assert result.bytes() == b"012345"[slice(*span)]


@pytest.mark.parametrize("wanted", [(6, 7), (100, 200), {"offset": 6}])
def test_ranges_behind_the_end(store: Store, wanted: Any) -> None:
    store.put("x", b"012345")
    with pytest.raises(RangeNotSatisfiableError) as caught:
        store.get("x", options={"range": wanted})
    assert isinstance(caught.value, GenericError)
    assert (caught.value.operation, caught.value.path, caught.value.store) == ("get", "x", repr(store))


def test_a_suffix_of_nothing(store: Store) -> None:
    store.put("x", b"")
    assert store.get("x", options={"range": {"suffix": 5}}).bytes() == b""
    with pytest.raises(RangeNotSatisfiableError):
        store.get_range("x", start=0, end=1)


def test_get_range_and_ranges(store: Store) -> None:
    store.put("x", b"0123456789")
    assert store.get_range("x", start=2, end=5) == b"234"
    assert store.get_range("x", start=8, length=50) == b"89"
    with pytest.raises(RangeNotSatisfiableError):
        store.get_range("x", start=10, end=11)
    for coalesce in (0, 1000):
        assert store.get_ranges("x", starts=[5, 0, 8], ends=[7, 1, 99], coalesce=coalesce) == [b"56", b"0", b"89"]
    assert store.get_ranges("x", starts=[], ends=[]) == []
    with pytest.raises(RangeNotSatisfiableError):
        store.get_ranges("x", starts=[0, 100], ends=[2, 110])
    with pytest.raises(ValueError, match="as many"):
        store.get_ranges("x", starts=[0, 1], ends=[2])


def test_head(store: Store) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    store.put("a/b", b"12345")
    meta = store.head("/a/b/")
    assert list(meta) == ["path", "last_modified", "size", "e_tag", "version"]
    assert before < meta["last_modified"] < before + timedelta(seconds=60)
    assert (meta["path"], meta["size"], meta["version"]) == ("a/b", 5, None)
    result = store.get("a/b", options={"head": True})
    assert result.meta == meta
    assert result.bytes() == b""


def test_missing(store: Store) -> None:
    for call in (
        lambda: store.get("no/thing"),
        lambda: store.head("no/thing"),
        lambda: store.get_range("no/thing", start=0, end=1),
        lambda: store.get_ranges("no/thing", starts=[0], ends=[1]),
        lambda: store.copy("no/thing", "x"),
        lambda: store.rename("no/thing", "x"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert isinstance(caught.value, NotFoundError)
        assert caught.value.path == "no/thing"
        assert caught.value.store == repr(store)
    assert paths(store) == []


def test_conditions(store: Store) -> None:
    store.put("x", b"1")
    meta = store.head("x")
    etag, modified = meta["e_tag"], meta["last_modified"]
    for good in (
        {"if_match": etag},
        {"if_match": "*"},
        {"if_match": f'"other", {etag}'},
        {"if_none_match": '"other"'},
        {"if_unmodified_since": modified},
        {"if_unmodified_since": FAR},
        {"if_modified_since": LONG_AGO},
        {"if_match": etag, "if_unmodified_since": LONG_AGO},
        {"if_none_match": '"other"', "if_modified_since": FAR},
    ):
        assert store.get("x", options=good).bytes() == b"1"
    for bad in ({"if_match": '"other"'}, {"if_unmodified_since": LONG_AGO}):
        with pytest.raises(PreconditionError):
            store.get("x", options=bad)
    for bad in (
        {"if_none_match": etag},
        {"if_none_match": "*"},
        {"if_none_match": f"W/{etag}"},
        {"if_modified_since": modified},
        {"if_modified_since": FAR},
    ):
        with pytest.raises(NotModifiedError):
            store.get("x", options=bad)
    with pytest.raises(ValueError, match="time zone"):
        store.get("x", options={"if_modified_since": datetime(2001, 1, 1)})
    with pytest.raises(NotSupportedError, match="versions"):
        store.get("x", options={"version": "1"})


def test_a_result_outlives_its_object(store: Store) -> None:
    store.put("x", b"1" * MIB)
    whole, chunks, kept = store.get("x"), store.get("x").stream(1000), store.get("x")
    next(chunks)
    store.put("x", b"2" * MIB)
    assert whole.bytes() == b"1" * MIB
    assert set(b"".join(chunks)) == {ord("1")}
    store.delete("x")
    assert kept.bytes() == b"1" * MIB


# --- put -------------------------------------------------------------------------------------------------------------


class OnlyRead:
    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000))


def sources(content: bytes, directory: Path) -> Iterator[Any]:
    yield content
    yield bytearray(content)
    yield memoryview(content)
    yield np.frombuffer(content, np.uint8).reshape(2, -1)
    file = directory / "source"
    file.write_bytes(content)
    yield file
    yield io.BytesIO(content)
    yield OnlyRead(content)
    yield iter([content[:10], memoryview(content)[10:20], b"", bytearray(content[20:])])
    yield [content[i : i + 999] for i in range(0, len(content), 999)]
    with file.open("rb") as opened:
        yield opened
    with file.open("rb", buffering=0) as opened:
        yield opened


@pytest.mark.parametrize("size", [0, 2000, 3 * MIB])
def test_every_source(store: Store, size: int, tmp_path: Path) -> None:
    content = bytes(range(250)) * (size // 250) + bytes(size % 250)
    for number, source in enumerate(sources(content, tmp_path)):
        result = store.put(f"put/{number}", source, chunk_size=1234, max_concurrency=1)
        meta = store.head(f"put/{number}")
        assert (meta["size"], meta["e_tag"]) == (size, result["e_tag"])
        assert store.get(f"put/{number}").bytes() == content


def test_a_file_is_read_from_where_it_is(store: Store, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    with (tmp_path / "source").open("rb") as file:
        file.seek(4)
        store.put("x", file)
    assert store.get("x").bytes() == b"456789"


def test_what_is_given_may_change_afterwards(store: Store) -> None:
    content = bytearray(b"before")
    store.put("x", content)
    content[:] = b"after!"
    assert store.get("x").bytes() == b"before"


@pytest.mark.parametrize("wrong", ["a str", 3, None, {"a": 1}, io.StringIO("text"), [1, 2], ["text"]])
def test_wrong_sources(store: Store, wrong: Any) -> None:
    with pytest.raises(TypeError):
        store.put("x", wrong)
    assert paths(store) == []


def test_wrong_arguments(store: Store) -> None:
    for options in ({"mode": "other"}, {"chunk_size": 0}, {"max_concurrency": 0}, {"mode": {"version": "1"}}):
        with pytest.raises(ValueError):
            store.put("x", b"", **options)
    for path in ("", "/", "//"[:1]):
        with pytest.raises(InvalidPathError):
            store.put(path, b"")
    with pytest.raises(TypeError):
        store.put(Path("x"), b"")  # type: ignore[arg-type]
    assert paths(store) == []


def test_create(store: Store) -> None:
    store.put("x", b"1", mode="create")
    with pytest.raises(FileExistsError) as caught:
        store.put("x", iter([b"2"]), mode="create")
    assert isinstance(caught.value, AlreadyExistsError)
    assert store.get("x").bytes() == b"1"
    store.put("x", b"3", mode="overwrite")
    assert store.get("x").bytes() == b"3"


def test_one_of_many_creates_wins(store: Store) -> None:
    for turn in range(5):
        barrier, won = threading.Barrier(32), []

        def create(number: int, turn: int = turn, barrier: Any = barrier, won: list[int] = won) -> None:
            barrier.wait()
            try:
                store.put(f"d/{turn}", b"%d" % number * 1000, mode="create")
            except AlreadyExistsError:
                return
            won.append(number)

        threads = [threading.Thread(target=create, args=(n,)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.get(f"d/{turn}").bytes() == b"%d" % won[0] * 1000
    assert paths(store) == [f"d/{turn}" for turn in range(5)]


def test_readers_see_whole_objects(store: Store) -> None:
    size, until = 300_000, threading.Event()
    store.put("x", b"0" * size)
    wrong: list[Any] = []

    def write(digit: bytes) -> None:
        while not until.is_set():
            store.put("x", digit * size if digit < b"2" else iter([digit * 1000] * (size // 1000)))

    def read() -> None:
        for _ in range(60):
            whole = bytes(store.get("x").bytes())
            parts = store.get_ranges("x", starts=[0, size - 10], ends=[10, size])
            chunks = b"".join(store.get("x").stream(70_000))
            wrong.extend(set(seen) for seen in (whole, b"".join(parts), chunks) if len(set(seen)) != 1)
            if len(whole) != size or len(chunks) != size:
                wrong.append(len(whole))

    writers = [threading.Thread(target=write, args=(b"%d" % n,)) for n in range(4)]
    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in writers + readers:
        thread.start()
    for thread in readers:
        thread.join()
    until.set()
    for thread in writers:
        thread.join()
    assert wrong == []


def test_a_failing_source_leaves_what_was(store: Store) -> None:
    store.put("x", b"old")

    def broken() -> Iterator[bytes]:
        yield b"1" * (3 * MIB)
        raise OSError("the source broke")

    for path in ("x", "new/deep/y"):
        with pytest.raises(OSError, match="the source broke"):
            store.put(path, broken())
    assert paths(store) == ["x"]
    assert store.get("x").bytes() == b"old"
    assert store.list_with_delimiter()["common_prefixes"] == []


# --- delete, copy, rename --------------------------------------------------------------------------------------------


def test_delete(store: Store) -> None:
    for name in ("a/1", "a/2", "a/3", "b"):
        store.put(name, b"")
    store.delete("b")
    store.delete(["a/1", "/a/2/"])
    store.delete([])
    assert paths(store) == ["a/3"]
    with pytest.raises(TypeError):
        store.delete([1])  # type: ignore[list-item]
    with pytest.raises(InvalidPathError):
        store.delete(["a/3", ""])
    assert paths(store) == ["a/3"]


def test_copy(store: Store) -> None:
    store.put("a", b"content")
    store.copy("a", "deep/er/b")
    assert store.get("deep/er/b").bytes() == b"content"
    store.put("a", b"other")
    assert store.get("deep/er/b").bytes() == b"content"
    with pytest.raises(AlreadyExistsError) as caught:
        store.copy("a", "deep/er/b", overwrite=False)
    assert (caught.value.operation, caught.value.path) == ("copy", "deep/er/b")
    store.copy("a", "deep/er/b")
    assert store.get("deep/er/b").bytes() == b"other"
    store.copy("a", "new", overwrite=False)
    store.copy("a", "a")
    assert paths(store) == ["a", "deep/er/b", "new"]


def test_rename(store: Store) -> None:
    store.put("a", b"content")
    store.rename("a", "deep/er/b")
    assert paths(store) == ["deep/er/b"]
    store.put("c", b"other")
    with pytest.raises(AlreadyExistsError) as caught:
        store.rename("c", "deep/er/b", overwrite=False)
    assert (caught.value.operation, caught.value.path) == ("rename", "deep/er/b")
    assert paths(store) == ["c", "deep/er/b"]
    store.rename("c", "deep/er/b")
    store.rename("deep/er/b", "deep/er/b")
    store.rename("deep/er/b", "d", overwrite=False)
    assert paths(store) == ["d"]
    assert store.get("d").bytes() == b"other"


# --- list ------------------------------------------------------------------------------------------------------------

NAMES = ["A", "a-", "a/b", "a/b-c/d", "a/b.c", "a/bb/d", "a/c", "a0", "b/x", "b/x y", "é/ü", "日本"]


def test_list_is_sorted_by_path(store: Store) -> None:
    for name in reversed(NAMES):
        store.put(name, b"")
    assert sorted(NAMES) == NAMES
    assert paths(store) == NAMES
    for prefix in ("a", "a/", "/a", "/a/"):
        assert paths(store, prefix) == [name for name in NAMES if name.startswith("a/")]
    for prefix in (None, "", "/"):
        assert paths(store, prefix) == NAMES
    assert paths(store, "a/b") == []
    assert paths(store, "nope") == []
    assert paths(store, "a/b/c") == []


def test_list_behind_an_offset(store: Store) -> None:
    for name in NAMES:
        store.put(name, b"")
    for offset in [*NAMES, "", "a", "a/", "a/b/", "a/b-c", "zzz", "b/x!"]:
        assert paths(store, offset=offset) == [name for name in NAMES if name > offset], offset
        assert paths(store, "a", offset=offset) == [n for n in NAMES if n.startswith("a/") and n > offset], offset


def test_list_with_delimiter(store: Store) -> None:
    for name in NAMES:
        store.put(name, b"1")
    top = store.list_with_delimiter()
    assert top["common_prefixes"] == ["a", "b", "é"]
    assert [meta["path"] for meta in top["objects"]] == ["A", "a-", "a0", "日本"]
    level = store.list_with_delimiter("a")
    assert level["common_prefixes"] == ["a/b-c", "a/bb"]
    assert level["objects"] == [store.head(path) for path in ("a/b", "a/b.c", "a/c")]
    assert store.list_with_delimiter("nope") == {"common_prefixes": [], "objects": []}


def test_long_listings_in_chunks(store: Store) -> None:
    names = sorted(f"{n % 7}/{n % 3}/{n}" for n in range(2300))
    for name in names:
        store.put(name, b"")
    chunks = list(store.list(chunk_size=300))
    assert [len(chunk) for chunk in chunks] == [300] * 7 + [200]
    assert [meta["path"] for chunk in chunks for meta in chunk] == names
    assert paths(store, offset=names[1234]) == names[1235:]


# --- the three ways --------------------------------------------------------------------------------------------------


async def test_asyncio(store: Store) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    assert (await store.put_async("a/big", content()))["e_tag"]
    await store.put_async("a/small", b"small")
    assert len(await (await store.get_async("a/big")).bytes_async()) == 3_000_000
    stream = (await store.get_async("a/big")).stream(700_000)
    assert [len(chunk) async for chunk in stream] == [700_000] * 4 + [200_000]
    assert await store.get_range_async("a/small", start=1, end=3) == b"ma"
    assert await store.get_ranges_async("a/small", starts=[0], lengths=[2]) == [b"sm"]
    assert (await store.head_async("a/small"))["size"] == 5
    await store.copy_async("a/small", "b")
    await store.rename_async("b", "c")
    assert [m["path"] async for chunk in store.list_async(chunk_size=2) for m in chunk] == ["a/big", "a/small", "c"]
    assert (await store.list_with_delimiter_async())["common_prefixes"] == ["a"]
    await store.delete_async(["a/big", "a/small"])
    with pytest.raises(NotFoundError):
        await store.get_async("a/big")
    with pytest.raises(AlreadyExistsError):
        await store.put_async("c", b"", mode="create")


async def test_many_at_once(store: Store) -> None:
    await asyncio.gather(*(store.put_async(f"{n}", b"%d" % n) for n in range(500)))
    results = await asyncio.gather(*(store.get_async(f"{n}") for n in range(500)))
    assert [bytes(result.bytes()) for result in results] == [b"%d" % n for n in range(500)]


def test_futures(store: Store, tmp_path: Path) -> None:
    futures = store.futures
    assert futures.put("a", b"0123").result()["e_tag"] == futures.head("a").result()["e_tag"]
    assert futures.put("b", iter([b"1", b"2"])).result()["e_tag"]
    assert futures.get("b").result().bytes_future().result() == b"12"
    assert futures.get_range("a", start=1, end=2).result() == b"1"
    assert futures.get_ranges("a", starts=[0, 2], ends=[1, 9]).result() == [b"0", b"23"]
    futures.copy("a", "c").result()
    futures.rename("c", "d").result()
    futures.delete("b").result()
    assert [m["path"] for m in futures.list_with_delimiter().result()["objects"]] == ["a", "d"]
    with pytest.raises(NotFoundError):
        futures.get("b").result()


async def test_an_event_loop_goes_on_meanwhile(store: Store) -> None:
    ticks, longest = 0, 0.0

    async def tick() -> None:
        nonlocal ticks, longest
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0.001)
            now = loop.time()
            ticks, longest, last = ticks + 1, max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    await store.put_async("x", bytearray(64 * MIB))
    await store.get_ranges_async("x", starts=[0], ends=[64 * MIB])
    await store.copy_async("x", "y")
    ticking.cancel()
    assert longest < 0.5
