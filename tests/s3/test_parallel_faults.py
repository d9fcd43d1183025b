"""Large gets from servers that break off, lie about lengths, or send checksums: the content is right, or an error."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cumulo
from cumulo.exceptions import BaseError, ChecksumError, ObjectChangedError
from cumulo.store import S3Store
from tests.faults import Cut, Delay, FaultServer, Faulty, Flip, Object, Request, Response

from .support import MIB, PATH, fault_store

KIB = 1024
DATA = os.urandom(5 * MIB + 12_345)


def _whole(store: S3Store, **options: Any) -> bytes:
    return bytes(store.get("key", **options).bytes())


def _streamed(store: S3Store, **options: Any) -> bytes:
    return b"".join(store.get("key", **options).stream(min_chunk_size=300_000))


def _into(store: S3Store, **options: Any) -> bytes:
    buffer = bytearray(len(DATA))
    assert store.get_into("key", buffer, **options) == len(DATA)
    return bytes(buffer)


consume = pytest.mark.parametrize("consume", [_whole, _streamed, _into])
Consume = Callable[..., bytes]


def _at(start: int, fault: Flip, obj: Object) -> Callable[[Request], Response]:
    """The object, with a fault in the part that begins there."""

    def step(request: Request) -> Response:
        response = obj(request)
        return response.having(fault) if f"={start}-" in (request.header("range") or "") else response

    return step


@consume
@pytest.mark.parametrize("part", [64 * KIB, 256 * KIB + 1, MIB])
def test_the_checksum_of_the_whole_holds_for_parts_of_any_size(
    fault_server: FaultServer, faulty: S3Store, consume: Consume, part: int
) -> None:
    obj = Object(DATA, checksums=["crc64nvme"])
    fault_server.script(PATH, obj)
    assert consume(faulty, part_size=part) == DATA
    fault_server.script(PATH, _at(3 * part, Flip(77), obj))
    with pytest.raises(ChecksumError):
        consume(faulty, part_size=part)


def _downloaded(store: S3Store, **options: Any) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        target = os.path.join(directory, "file")
        store.download("key", target, **options)
        return Path(target).read_bytes()


@pytest.mark.parametrize("consume", [_whole, _streamed, _downloaded])
@pytest.mark.parametrize("more", [1, 100_000])
def test_a_first_response_that_promises_more_than_there_is(
    fault_server: FaultServer, faulty: S3Store, consume: Consume, more: int
) -> None:
    """The parts at the end are shorter than they should be, and say so."""
    obj = Object(DATA)
    fault_server.script(PATH, [Faulty(obj, content_length=len(DATA) + more), obj])
    with pytest.raises(ObjectChangedError, match="its size was"):
        consume(faulty, part_size=MIB)


@consume
@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5"])
@pytest.mark.parametrize("at", [0, 3 * MIB, len(DATA) - 1])
def test_a_checksum_that_parts_cannot_have(
    fault_server: FaultServer, faulty: S3Store, consume: Consume, algorithm: str, at: int
) -> None:
    """It does not follow from those of the parts, and is made of the whole in order."""
    obj = Object(DATA, checksums=[algorithm])
    fault_server.script(PATH, obj)
    for options in ({"part_size": MIB}, {"part_size": 64 * KIB, "max_concurrency": 3}, {"max_concurrency": 1}):
        assert consume(faulty, **options) == DATA
    start = at // MIB * MIB
    flip = Faulty(obj, Flip(0)) if start == 0 else _at(start, Flip(at - start), obj)
    fault_server.script(PATH, flip)
    with pytest.raises(ChecksumError, match=algorithm.upper()):
        consume(faulty, part_size=MIB)
    assert fault_server.requests[-1].header("range") is not None


@consume
def test_parts_that_come_last_first(fault_server: FaultServer, faulty: S3Store, consume: Consume) -> None:
    obj = Object(DATA, checksums=["sha256"])

    def step(request: Request) -> Response:
        first = int((request.header("range") or "bytes=0-")[6:].split("-")[0])
        return obj(request).having(Delay((len(DATA) - first) / len(DATA) / 2))

    fault_server.script(PATH, step)
    assert consume(faulty, part_size=MIB) == DATA


@consume
@pytest.mark.parametrize("also", ["same", "other"])
def test_a_server_that_stops_serving_ranges(
    fault_server: FaultServer, faulty: S3Store, consume: Consume, also: str
) -> None:
    """It has shown that it does, and the first request is gone: all of the object in place of a part is an error."""
    obj = Object(DATA)
    whole = Object(DATA, ranges="ignored") if also == "same" else Object(DATA[::-1], ranges="ignored")

    def step(request: Request) -> Response:
        wanted = request.header("range") or ""
        return whole(request).but(status=200) if f"={4 * MIB}-" in wanted else obj(request)

    fault_server.script(PATH, step)
    with pytest.raises(BaseError, match="key"):
        consume(faulty, part_size=MIB, max_concurrency=2)


@pytest.mark.parametrize("most", [1, 4])
@pytest.mark.parametrize("consume", [_whole, _streamed])
def test_a_range_without_a_length_that_ends_early(
    fault_server: FaultServer, faulty: S3Store, consume: Consume, most: int
) -> None:
    """Chunked, and well so, but with fewer bytes than its Content-Range says."""
    half = Object(DATA, ranges="half")

    def step(request: Request) -> Response:
        response = half(request)
        return response.but(framing="chunked") if request.header("range") else response.having(Cut(len(DATA) - 2))

    fault_server.script(PATH, step)
    with pytest.raises(BaseError):
        consume(faulty, part_size=MIB, max_concurrency=most)


@pytest.mark.parametrize("consume", [_whole, _streamed])
@pytest.mark.parametrize("part", [64 * KIB, MIB, 4 * MIB])
def test_a_short_body_that_breaks_off_while_the_budget_is_used_up(
    fault_server: FaultServer, part: int, consume: Any
) -> None:
    """It is fetched without being asked for only if it was so before its consumer heard of it."""
    data = DATA[: 3 * MIB + 7]
    fault_server.script(PATH, [Faulty(Object(data), Cut(30_000)), Object(data)])
    fault_server.script("/bucket/held", Object(DATA))
    again = {"init_backoff": 0.5, "max_backoff": 0.5}
    store = fault_store(fault_server, retry_config={"max_retries": 3, "retry_timeout": 60, "backoff": again})
    cumulo.runtime.configure(memory_bytes=4 * MIB)
    try:
        held = store.get_range("held", start=0, end=4 * MIB)
        result = store.get("key", part_size=part)
        del held
        deadline = time.monotonic() + 30
        while len(fault_server.seen(PATH)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        got = bytes(result.bytes()) if consume is _whole else b"".join(result.stream(300_000))
    finally:
        cumulo.runtime.configure(memory_bytes=1 << 30)
    assert got == data
