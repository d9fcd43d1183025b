"""get_many and put_many, on every store and in each of the three ways to call them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import AlreadyExistsError, BaseError, NotFoundError

COUNT = 150
PATHS = [f"many/{number:03d}" for number in range(COUNT)]
Way = Callable[..., list[Any]]


def content_of(path: str) -> bytes:
    """What the object of this path holds: of another length each, the first one empty."""
    number = int(path[-3:])
    return bytes([number]) * number * 7


def _sync(store: Any, verb: str, items: Iterable[Any], **options: Any) -> list[Any]:
    return list(getattr(store, verb)(items, **options))


def _asyncio(store: Any, verb: str, items: Iterable[Any], **options: Any) -> list[Any]:
    async def run() -> list[Any]:
        return [item async for item in getattr(store, verb)(items, **options)]

    return asyncio.run(run())


def _async_items(store: Any, verb: str, items: Iterable[Any], **options: Any) -> list[Any]:
    async def pulled() -> AsyncIterator[Any]:
        for item in items:
            await asyncio.sleep(0)
            yield item

    async def run() -> list[Any]:
        return [item async for item in getattr(store, verb)(pulled(), **options)]

    return asyncio.run(run())


def _futures(store: Any, verb: str, items: Iterable[Any], **options: Any) -> list[Any]:
    return [future.result(timeout=60) for future in getattr(store.futures, verb)(items, **options)]


@pytest.fixture(params=[_sync, _asyncio, _async_items, _futures], ids=["sync", "asyncio", "async items", "futures"])
def way(request: pytest.FixtureRequest) -> Way:
    """`way(store, verb, items, ...)`: all results, by one of the ways to call."""
    return request.param


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with `PATHS`, written by `put_many`."""
    for item in store.put_many((path, content_of(path)) for path in PATHS):
        assert item.result["e_tag"] or item.error is None
    return store


def test_every_object_comes_once_whatever_its_size(filled: Any, way: Way) -> None:
    items = way(filled, "get_many", iter(PATHS))
    assert sorted(item.index for item in items) == list(range(COUNT))
    for item in items:
        expected = content_of(item.path)
        assert item.path == PATHS[item.index]
        assert item.bytes == expected
        assert item.range == (0, len(expected))
        assert item.meta["size"] == len(expected)
        assert item.meta["path"] == item.path
        assert item.error is None


def test_ranges_and_objects_together(filled: Any, way: Way) -> None:
    wanted = [("many/100", 0, 10), "many/007", ("many/100", 699, 10), ("many/050", 3, 1)]
    items = sorted(way(filled, "get_many", wanted), key=lambda item: item.index)
    assert [bytes(item.bytes) for item in items] == [b"\x64" * 10, b"\x07" * 49, b"\x64", b"\x32"]
    assert [item.range for item in items] == [(0, 10), (0, 49), (699, 700), (3, 4)]
    assert [item.meta is None for item in items] == [True, False, True, True]


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_in_order(filled: Any, most: int) -> None:
    for run in (_sync, _asyncio):
        items = run(filled, "get_many", PATHS, ordered=True, max_concurrency=most)
        assert [item.index for item in items] == list(range(COUNT))


def test_nothing_to_get(store: Any, way: Way) -> None:
    assert way(store, "get_many", []) == []


def test_put_many_takes_bytes_buffers_and_files(store: Any, way: Way, tmp_path: Path) -> None:
    file = tmp_path / "source"
    file.write_bytes(b"from a file")
    contents = [b"bytes", bytearray(b"a buffer"), memoryview(b"a view"), file, b""]
    items = way(store, "put_many", [(f"put/{index}", content) for index, content in enumerate(contents)])
    assert sorted(item.path for item in items) == [f"put/{index}" for index in range(5)]
    assert all("e_tag" in item.result for item in items)
    found = [store.get(f"put/{index}").bytes() for index in range(5)]
    assert found == [b"bytes", b"a buffer", b"a view", b"from a file", b""]


def test_create_only(store: Any) -> None:
    store.put("one", b"")
    items = list(store.put_many([("one", b"1"), ("two", b"2")], mode="create", errors="return", ordered=True))
    assert isinstance(items[0].error, AlreadyExistsError)
    with pytest.raises(AlreadyExistsError):
        _ = items[0].result
    assert items[1].error is None


def test_errors_as_results(filled: Any) -> None:
    for run in (_sync, _asyncio):
        wanted = ["many/001", "missing", ("many/001", 1000, 5), ("many/001", 5, 0), "many/002"]
        items = run(filled, "get_many", wanted, errors="return", ordered=True)
        assert [type(item.error) for item in items[:2]] == [type(None), NotFoundError]
        assert isinstance(items[2].error, BaseError)
        assert isinstance(items[3].error, ValueError)
        assert items[4].bytes == content_of("many/002")
        with pytest.raises(NotFoundError):
            _ = items[1].bytes
        assert items[1].range is None
        assert items[1].meta is None
        assert "missing" in repr(items[1])


def test_the_first_error_ends_it(filled: Any) -> None:
    stream = filled.get_many([*PATHS[:5], "missing", *PATHS[5:]], ordered=True)
    seen: list[Any] = []
    with pytest.raises(NotFoundError, match="missing"):
        seen.extend(item.index for item in stream)
    assert list(stream) == []


async def test_the_first_error_ends_it_in_asyncio_too(filled: Any) -> None:
    stream = filled.get_many([*PATHS[:5], "missing", *PATHS[5:]], ordered=True)
    assert [(await anext(stream)).index for _ in range(5)] == list(range(5))
    with pytest.raises(NotFoundError, match="missing"):
        await anext(stream)
    assert [item async for item in stream] == []


def test_a_future_has_its_own_error(filled: Any) -> None:
    futures = list(filled.futures.get_many(["many/001", "missing", "many/002"]))
    assert isinstance(futures[1].exception(timeout=60), NotFoundError)
    assert futures[2].result(timeout=60).index == 2
