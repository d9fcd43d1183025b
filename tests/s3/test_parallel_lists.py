"""list(max_concurrency=): what the sequential listing gives, whatever the keys and wherever they are split."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cumulo._operations.list import ListStream, Scope
from cumulo._operations.list_points import directory_ends, points_between
from cumulo.exceptions import GenericError, PermissionDeniedError
from cumulo.store import S3Store
from tests.faults import FaultServer, Request, Response, error_document
from tests.servers import S3Server

from .support import list_page, server_store

AWKWARD = [
    "+", "a", "a b", "a+b", "a%20b", "a%2Fb", "a//b", "a/b", "a/b/", "a.txt", "a0", "A", "Z/z", "e\u0301", "é", "é/é/é",
    "ö/1", "\U0001f600/😀", "\uffee", "日本/語", "~", "~~/x", "%", "%%/1", "'q'", '"', "<&>", "x" * 900,
    "n\u200b/1", "\ud7ff",
]  # fmt: skip
DEEP = [f"deep/a/b/c/d/e/f/{number:05}" for number in range(0, 3000, 23)]
HEX = [f"hex/{number * 2654435761 % 2**32:08x}/part" for number in range(60)]
FEW = [f"years/{year}/{month:02}.nc" for year in range(1999, 2004) for month in range(1, 13)]
KEYS = sorted({*AWKWARD, *DEEP, *HEX, *FEW}, key=str.encode)


@pytest.fixture(scope="module")
def buckets(ministack: S3Server, moto: S3Server) -> dict[str, S3Store]:
    """The same keys on two servers."""
    return {server.name: _filled(server_store(server)) for server in (ministack, moto)}


def _filled(store: S3Store) -> S3Store:
    raw = S3Store(**{**store.__getnewargs_ex__()[1], "raw_keys": True})
    results = list(raw.put_many([(key, b"") for key in KEYS], errors="return"))
    assert [result.error for result in results if result.error is not None] == []
    return raw


def in_parallel(store: S3Store, page_size: int | None = None, *, chunk_size: int = 7, **scope: Any) -> ListStream[Any]:
    """`store.list`, with pages of few objects."""
    pages = store._pages(Scope(**{"prefix": None, **scope}))
    pages._page_size = page_size
    return ListStream(pages, chunk_size, arrow=scope.get("arrow", False))


def paths(objects: Any) -> list[str]:
    return [meta["path"] for meta in objects]


PREFIXES = [None, "", "a", "a/", "deep/", "deep/a/b/c/d/e/f/01", "hex/", "years/200", "é", "nowhere", "日本/"]


@pytest.mark.parametrize("name", ["ministack", "moto"])
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(PREFIXES),
    st.none() | st.sampled_from([key for key in KEYS if len(key) < 100]) | st.sampled_from(["b", "deep/", "zz"]),
    st.integers(1, 40),
    st.integers(2, 20),
    st.booleans(),
)
def test_as_one_after_the_other(
    buckets: dict[str, S3Store], name: str, prefix: str | None, offset: str | None, size: int, most: int, arrow: bool
) -> None:
    store = buckets[name]
    expected = store.list(prefix, offset=offset).collect()
    wanted = [
        key for key in KEYS if key.startswith(prefix or "") and (offset is None or key.encode() > offset.encode())
    ]
    assert paths(expected) == wanted
    stream = in_parallel(store, size, prefix=prefix, offset=offset, max_concurrency=most, arrow=arrow)
    if arrow:
        assert pa.table(stream.collect()).to_pylist() == expected
    else:
        assert [meta for chunk in stream for meta in chunk] == expected


def test_several_segments_are_listed_at_a_time(buckets: dict[str, S3Store]) -> None:
    stream = in_parallel(buckets["moto"], 10, max_concurrency=8)
    pages = stream._pages
    most = 0
    for _ in stream:
        most = max(most, len(pages._segments))
    assert most > 3


def test_from_asyncio_and_with_a_stores_prefix(buckets: dict[str, S3Store]) -> None:
    arguments = buckets["ministack"].__getnewargs_ex__()[1]
    store = S3Store(**{**arguments, "prefix": "deep/a/b", "raw_keys": False})

    async def run() -> list[str]:
        stream = in_parallel(store, 9, prefix="c", max_concurrency=5)
        return [meta["path"] async for chunk in stream for meta in chunk]

    assert asyncio.run(run()) == [key.removeprefix("deep/a/b/") for key in DEEP]
    assert paths(store.list("c/d", max_concurrency=3).collect()) == paths(store.list("c/d").collect())


def test_a_stream_begun_here_and_read_on_there(buckets: dict[str, S3Store]) -> None:
    stream = in_parallel(buckets["moto"], 9, chunk_size=50, max_concurrency=5)
    first = paths(next(stream))

    async def rest() -> Any:
        return await stream.collect_async()

    assert first + paths(asyncio.run(rest())) == KEYS


def test_a_stream_that_is_dropped_stops_what_is_under_way(buckets: dict[str, S3Store]) -> None:
    for size in (1, 5, 20):
        stream = in_parallel(buckets["moto"], size, max_concurrency=8)
        next(stream)
        del stream
    gc.collect()  # the suite looks for requests that are left


# --- what a server may do


class Numbers:
    """A bucket of `count` keys, in pages of 10."""

    def __init__(self, count: int) -> None:
        self.keys = [f"k/{number:06}" for number in range(count)]

    def __call__(self, request: Request, *, knows_start_after: bool = True) -> Response:
        asked = request.query
        start = asked.get("start-after", "") if knows_start_after else ""
        after = asked.get("continuation-token") or start
        size = min(10, int(asked.get("max-keys", 10)))
        left = [key for key in self.keys if key > after]
        found = left[:size]
        return list_page(*found, token=found[-1] if len(left) > size else None)


def test_pages_ahead_are_bounded(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket", Numbers(5000))
    stream = in_parallel(faulty, max_concurrency=2)
    pages = stream._pages
    pages.most_ahead = 6
    held = 0
    found: list[str] = []
    for chunk in stream:
        found += paths(chunk)
        held = max(held, sum(len(segment.pages) for segment in pages._segments))
    assert found == Numbers(5000).keys
    assert held <= 8


def test_an_error_ends_it_and_it_can_go_on(fault_server: FaultServer, faulty: S3Store) -> None:
    numbers = Numbers(500)
    denied = 0

    def answer(request: Request) -> Response:
        nonlocal denied
        if denied == 0 and "k/0001" in request.query.get("start-after", "") + request.query.get(
            "continuation-token", ""
        ):
            denied += 1
            return Response(403, body=error_document("AccessDenied").encode())
        return numbers(request)

    fault_server.script("/bucket", answer)
    stream = in_parallel(faulty, chunk_size=10, max_concurrency=4)
    found: list[str] = []
    with pytest.raises(PermissionDeniedError):
        _read_into(found, stream)
    assert found + paths(stream.collect()) == numbers.keys


def _read_into(found: list[str], stream: ListStream[Any]) -> None:
    for chunk in stream:
        found += paths(chunk)


def test_a_server_without_start_after(fault_server: FaultServer, faulty: S3Store) -> None:
    numbers = Numbers(200)

    fault_server.script("/bucket", lambda request: numbers(request, knows_start_after=False))
    assert paths(in_parallel(faulty, max_concurrency=4).collect()) == numbers.keys


def test_the_same_token_twice(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket", lambda request: list_page("a", token="t"))
    with pytest.raises(GenericError, match="same continuation token"):
        faulty.list(max_concurrency=2).collect()


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_wrong_concurrency(faulty: S3Store, wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_concurrency"):
        faulty.list(max_concurrency=wrong)


# --- where to split


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.none() | st.text(), st.integers(1, 20))
def test_points_are_between(keys: Sequence[str], end: str | None, most: int) -> None:
    first, last = min(keys), max(keys)
    points = points_between(first, last, end, "", {char for key in keys for char in key}, most)
    assert len(points) <= most
    for some in (points, directory_ends(first, last, end, "")):
        assert len(some) == len(set(some))
        assert all(point > last and (end is None or point < end) for point in some)
        assert all(point.encode() for point in some)


def test_points_leave_directories_and_count_up() -> None:
    first, last = "data/v1/0100", "data/v1/0123"
    assert directory_ends(first, last, None, "data/") == ["data/v10"]  # behind all of data/v1/
    points = points_between(first, last, "data/v10", "data/", set("0123456789"), 100)
    assert {"data/v1/1", "data/v1/02", "data/v1/013"} <= set(points)
    assert directory_ends("a/b/c/1", "a/b/d/1", None, "") == ["a0", "a/b0"]
