"""list and list_with_delimiter."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timezone
from typing import Any

import pytest

PATHS = ["a.txt", "dir/1", "dir/2", "dir/sub/3", "dir2/4", "dir.x", "z"]


@pytest.fixture
def filled(store: Any) -> Any:
    """A store with a small tree."""
    for path in PATHS:
        store.put(path, path.encode())
    return store


def _paths(objects: Any) -> list[str]:
    return sorted(meta["path"] for meta in objects)


def test_list_everything(filled: Any) -> None:
    objects = filled.list().collect()
    assert _paths(objects) == sorted(PATHS)
    for meta in objects:
        assert meta["size"] == len(meta["path"])
        assert meta["last_modified"].tzinfo == timezone.utc
        assert set(meta) == {"path", "last_modified", "size", "e_tag", "version"}
        assert meta["e_tag"] == filled.head(meta["path"])["e_tag"]


@pytest.mark.parametrize("prefix", ["dir", "/dir", "dir/"])
def test_a_prefix_is_whole_segments(filled: Any, prefix: str) -> None:
    assert _paths(filled.list(prefix).collect()) == ["dir/1", "dir/2", "dir/sub/3"]


def test_a_prefix_that_is_an_object_or_nothing(filled: Any) -> None:
    assert filled.list("a.txt").collect() == []
    assert filled.list("nowhere").collect() == []
    assert list(filled.list("nowhere")) == []


def test_offset(filled: Any) -> None:
    assert _paths(filled.list(offset="dir/2").collect()) == ["dir/sub/3", "dir2/4", "z"]


def test_chunks(filled: Any) -> None:
    assert [len(chunk) for chunk in filled.list(chunk_size=3)] == [3, 3, 1]
    with pytest.raises(ValueError, match="chunk_size"):
        filled.list(chunk_size=0)


def test_chunks_from_asyncio(filled: Any) -> None:
    async def run() -> list[int]:
        return [len(chunk) async for chunk in filled.list(chunk_size=4)]

    assert asyncio.run(run()) == [4, 3]

    async def collect() -> Any:
        return await filled.list().collect_async()

    assert _paths(asyncio.run(collect())) == sorted(PATHS)


def test_list_with_delimiter(filled: Any, call: Callable[..., Any]) -> None:
    top = call(filled, "list_with_delimiter")
    assert sorted(top["common_prefixes"]) == ["dir", "dir2"]
    assert _paths(top["objects"]) == ["a.txt", "dir.x", "z"]
    below = call(filled, "list_with_delimiter", "dir")
    assert list(below["common_prefixes"]) == ["dir/sub"]
    assert _paths(below["objects"]) == ["dir/1", "dir/2"]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("di", ["dir.x", "dir/1", "dir/2", "dir/sub/3", "dir2/4"]),
        ("/dir", ["dir.x", "dir/1", "dir/2", "dir/sub/3", "dir2/4"]),
        ("dir/", ["dir/1", "dir/2", "dir/sub/3"]),
        ("dir/s", ["dir/sub/3"]),
        ("dir/sub/3", ["dir/sub/3"]),
        ("dir2/4/", []),
        ("nowhere/x", []),
        ("", sorted(PATHS)),
        (None, sorted(PATHS)),
    ],
)
def test_a_prefix_that_ends_anywhere(filled: Any, prefix: str | None, found: list[str]) -> None:
    assert _paths(filled.list(prefix, substring=True).collect()) == found
    assert _paths(filled.list(prefix, substring=True, offset="dir/1").collect()) == [p for p in found if p > "dir/1"]


def test_one_level_of_a_prefix_that_ends_anywhere(filled: Any, call: Callable[..., Any]) -> None:
    level = call(filled, "list_with_delimiter", "dir", substring=True)
    assert sorted(level["common_prefixes"]) == ["dir", "dir2"]
    assert _paths(level["objects"]) == ["dir.x"]
    level = call(filled, "list_with_delimiter", "dir/s", substring=True)
    assert (list(level["common_prefixes"]), level["objects"]) == (["dir/sub"], [])


def test_several_requests_at_a_time(filled: Any) -> None:
    assert filled.list(max_concurrency=8).collect() == filled.list().collect()
    assert filled.list("dir", max_concurrency=8).collect() == filled.list("dir").collect()
    with pytest.raises(ValueError, match="max_concurrency"):
        filled.list(max_concurrency=0)


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 8}], ids=["one request", "several requests"])
def test_threads_that_share_a_listing(store: Any, options: dict[str, int]) -> None:
    """Each object goes to one of them, and all of them come to the end."""
    for number in range(40):
        store.put(f"dir/{number:02}", b"")
    shared = store.list(chunk_size=1, **options)
    found: list[str] = []

    def work() -> None:
        for chunk in shared:
            found.extend(meta["path"] for meta in chunk)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(found) == [f"dir/{number:02}" for number in range(40)]


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 8}], ids=["one request", "several requests"])
def test_tasks_that_share_a_listing(filled: Any, options: dict[str, int]) -> None:
    """No object is given twice: a second call that would wait is refused, and the first goes on."""

    async def main() -> None:
        shared = filled.list(chunk_size=1, **options)
        first, second = await asyncio.gather(shared.__anext__(), shared.__anext__(), return_exceptions=True)
        rest = await shared.collect_async()
        if isinstance(second, RuntimeError):
            second = []
        assert _paths([*first, *second, *rest]) == sorted(PATHS)

    asyncio.run(main())


def test_going_on_after_a_cancelled_call(filled: Any) -> None:
    """What a cancelled call would have given, the next one gives."""

    async def main() -> None:
        objects = filled.list()
        waiting = asyncio.ensure_future(objects.__anext__())
        waiting.cancel()
        assert _paths(await objects.collect_async()) == sorted(PATHS)

    asyncio.run(main())
