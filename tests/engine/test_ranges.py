"""A range request gets just the bytes it asked for, or an error: servers send others, more, or fewer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Object, Response

from .support import PATH, EngineError, ended, error_of, get, request

DATA = bytes(range(256)) * 1000
Connect = Callable[..., native.Client]
Ranges = tuple[str, int, int]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("bounded", 0, 1), DATA[:1]),
        (("bounded", 1000, 70_000), DATA[1000:70_000]),
        (("bounded", 0, len(DATA)), DATA),
        (("bounded", len(DATA) - 10, len(DATA) + 500), DATA[-10:]),
        (("offset", 250_000, 0), DATA[250_000:]),
        (("suffix", 0, 100), DATA[-100:]),
        (("suffix", 0, len(DATA) + 1), DATA),
    ],
    ids=lambda each: "-".join(map(str, each)) if isinstance(each, tuple) else "",
)
def test_the_bytes_asked_for(fault_server: FaultServer, client: native.Client, asked: Ranges, expected: bytes) -> None:
    fault_server.script(PATH, Object(DATA))
    assert get(client, range=asked) == expected


def test_sync_and_async_shortcuts(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script("/bucket/a%20b", Object(DATA))
    assert bytes(native.get_range(client, "a b", 5, 105, None)) == DATA[5:105]
    assert bytes(asyncio.run(_get_range(client, "a b", 200_000, 300_000))) == DATA[200_000:]
    assert [each.header("range") for each in fault_server.requests] == ["bytes=5-104", "bytes=200000-299999"]


async def _get_range(client: native.Client, key: str, start: int, end: int) -> native.Bytes:
    return await native.get_range_async(client, key, start, end, None)


async def test_many_at_once_each_in_its_place(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA))
    starts = [number * 997 % 200_000 for number in range(500)]
    parts = await asyncio.gather(*[_get_range(client, "key", start, start + 1000 + start % 777) for start in starts])
    assert all(part == DATA[start : start + 1000 + start % 777] for start, part in zip(starts, parts, strict=True))


def test_the_response_says_what_came(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA, headers=(("x-amz-meta-colour", "blue"),)))
    done = request(client, range=("bounded", 10, 20)).perform()
    status, headers, length, span = done.response
    assert (status, length, span) == (206, 10, (10, 20, len(DATA)))
    assert headers["x-amz-meta-colour"] == "blue"
    assert headers["content-range"] == f"bytes 10-19/{len(DATA)}"


@pytest.mark.parametrize("ranges", ["half", "shifted", "ignored"])
def test_other_bytes_than_those_asked_for(fault_server: FaultServer, connect: Connect, ranges: str) -> None:
    client = connect(max_retries=2)
    fault_server.script(PATH, Object(DATA, ranges=ranges))  # type: ignore[arg-type]
    error = error_of(lambda: native.get_range(client, "key", 100, 1100, None))
    assert error.error in ("wrong_range", "truncated")
    attempts = 3 if ranges == "half" else 2  # said twice, it is how that server is
    assert (error.attempts, len(fault_server.requests)) == (attempts, attempts)


@pytest.mark.parametrize("ranges", ["half", "shifted", "ignored"])
def test_a_server_that_errs_once(fault_server: FaultServer, client: native.Client, ranges: str) -> None:
    fault_server.script(PATH, [Object(DATA, ranges=ranges), Object(DATA)])  # type: ignore[arg-type]
    assert bytes(native.get_range(client, "key", 100, 1100, None)) == DATA[100:1100]


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        "",
        "bytes",
        "bytes 0-9",
        "bytes 0-9/",
        "bytes 0-9/*",
        "bytes */100",
        "bytes 9-0/100",
        "bytes 0-9/5",
        "bytes 1-10/100",
        "bytes 0-8/100",
        "bytes 0-10/100",
        "bytes -1-9/100",
        "bytes 0-18446744073709551625/18446744073709551626",
        "items 0-9/100",
        "0-9/100",
    ],
)
def test_a_content_range_that_does_not_fit(
    fault_server: FaultServer, connect: Connect, content_range: str | None
) -> None:
    lying = Response.of(b"0123456789", status=206).header("Content-Range", content_range)
    fault_server.script(PATH, lying)
    assert error_of(lambda: native.get_range(connect(max_retries=1), "key", 0, 10, None)).error == "wrong_range"


def test_more_body_than_the_range_says(fault_server: FaultServer, connect: Connect) -> None:
    long = Response.of(b"0123456789abc", status=206).header("Content-Range", "bytes 0-9/100")
    fault_server.script(PATH, long)
    for size in (10, 20):
        error = error_of(lambda size=size: native.get_range(connect(max_retries=1), "key", 0, size, None))
        assert error.error in ("too_large", "protocol", "wrong_range")


@pytest.mark.parametrize("size", [1_000, 1_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("wanted", [100, 70_000, 5_000_000])
def test_a_stream_of_a_range_with_more_behind_it(
    fault_server: FaultServer, connect: Connect, wanted: int, framing: Any, size: int
) -> None:
    """There is no room for what is too much, so its end would never be seen."""
    data = bytes(wanted)
    long = Response.of(data + bytes(size), status=206).but(framing=framing)
    fault_server.script(PATH, long.header("Content-Range", f"bytes 0-{wanted - 1}/{wanted}"))

    def read() -> None:
        asked = request(connect(max_retries=1), range=("offset", 0, 0), sink="stream")
        asked.submit(native.thread_queue())
        asked.wait(True)
        if asked.prefetched is None and asked.error is None:
            asked.feed_target(wanted)
        asked.wait()
        asked.raise_if_failed()

    assert error_of(read).error in ("wrong_range", "too_large")


def test_the_end_of_a_shorter_object(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b"0123456789"))
    assert bytes(native.get_range(client, "key", 4, 4_000_000, None)) == b"456789"


def test_beyond_the_end(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b"0123456789"))
    error = error_of(lambda: native.get_range(client, "key", 10, 20, None))
    assert (error.error, error.status, error.attempts) == ("status", 416, 1)
    assert b"InvalidRange" in error.body
    assert error.headers["content-range"] == "bytes */10"


def test_a_part_that_nobody_asked_for(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.of(b"0123456789", status=206).header("Content-Range", "bytes 0-9/100"))
    assert error_of(lambda: get(connect(max_retries=1))).error == "wrong_range"


@pytest.mark.parametrize("content_range", [None, "bytes 0-9/100"])
def test_no_content_where_a_range_was_asked_for(
    fault_server: FaultServer, connect: Connect, content_range: str | None
) -> None:
    """Not an empty range: an object that had none would say 416."""
    fault_server.script(PATH, Response(204).header("Content-Range", content_range))
    assert error_of(lambda: native.get_range(connect(max_retries=1), "key", 0, 10, None)).error == "wrong_range"


async def test_errors_of_futures(fault_server: FaultServer, client: native.Client) -> None:
    with pytest.raises(EngineError) as caught:
        await native.get_range_async(client, "key", 0, 10, None)
    assert (caught.value.error, caught.value.status) == ("status", 404)
    assert (await ended(request(client))).error == "status"
