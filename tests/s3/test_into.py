"""What is in flight when a read into the caller's memory ends early: not one byte comes after it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from cumulo import runtime
from cumulo.exceptions import BaseError
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Object, Request, Response, Trickle

from .support import MIB, PATH

DATA = os.urandom(6 * MIB)
SLOW = Trickle(4096, 0.001)


def _slow(obj: Object) -> Callable[[Request], Response]:
    return lambda request: obj(request).having(SLOW)


async def _cancelled(start: Callable[[], Any], target: bytearray) -> None:
    waiting = start()
    while not any(target):  # noqa: ASYNC110 - it is filled by another thread
        await asyncio.sleep(0.01)
    waiting.cancel()
    after = bytes(target)
    target += b"the export is gone: a buffer that is written to could not grow"
    del target[len(after) :]
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.2)
    assert target == after


@pytest.mark.parametrize("verb", ["get_into", "get_range_into", "get_ranges_into"])
def test_nothing_is_written_after_a_cancel(fault_server: FaultServer, faulty: S3Store, verb: str) -> None:
    fault_server.script(PATH, _slow(Object(DATA)))
    target = bytearray(len(DATA))

    def start() -> Any:
        if verb == "get_into":
            return faulty.get_into_async("key", target, part_size=MIB)
        if verb == "get_range_into":
            return faulty.get_range_into_async("key", target, start=0)
        return faulty.get_ranges_into_async("key", [target], starts=[0])

    asyncio.run(asyncio.wait_for(_cancelled(start, target), 60))


VERBS: dict[str, Callable[[Any, bytearray], Any]] = {
    "get_into": lambda calls, target: calls.get_into("key", target, part_size=MIB),
    "get_range_into": lambda calls, target: calls.get_range_into("key", target, start=0),
    "get_ranges_into": lambda calls, target: calls.get_ranges_into("key", [target], starts=[0]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_written_after_ctrl_c(fault_server: FaultServer, faulty: S3Store, verb: str) -> None:
    fault_server.script(PATH, _slow(Object(DATA)))
    target = bytearray(len(DATA))
    after = b""
    with ctrl_c_when(lambda: any(target[::1009])):
        try:
            VERBS[verb](faulty, target)
        finally:
            after = bytes(target)
    target += b"free"
    del target[len(after) :]
    time.sleep(0.3)
    assert any(after)
    assert target == after


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_written_after_a_future_is_cancelled(fault_server: FaultServer, faulty: S3Store, verb: str) -> None:
    fault_server.script(PATH, _slow(Object(DATA)))
    target = bytearray(len(DATA))
    future = VERBS[verb](faulty.futures, target)
    while not any(target):
        time.sleep(0.01)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(30)
    fault_server.wait_for(lambda: runtime.stats()["in_flight"] == 0)  # the dispatcher's thread stops it
    after = bytes(target)
    time.sleep(0.3)
    assert target == after


def test_nothing_is_written_after_an_error(fault_server: FaultServer, faulty: S3Store) -> None:
    """One part is refused while the others are still coming."""
    obj = Object(DATA)

    def step(request: Request) -> Response:
        if (request.header("range") or "").startswith(f"bytes={3 * MIB}-"):
            return Response.error(403, "AccessDenied")
        return obj(request).having(SLOW)

    fault_server.script(PATH, step)
    target = bytearray(len(DATA))
    with pytest.raises(BaseError):
        faulty.get_into("key", target, part_size=MIB)
    after = bytes(target)
    target += b"free"
    del target[len(after) :]
    time.sleep(0.3)
    assert target == after


def test_a_buffer_too_small_for_a_large_object(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Object(DATA))
    target = bytearray(MIB)
    with pytest.raises(ValueError, match="more than the buffer"):
        faulty.get_into("key", target)
    after = bytes(target)
    time.sleep(0.2)
    assert target == after


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB + 1])
@pytest.mark.parametrize("part", [65_536, MIB])
@pytest.mark.parametrize("algorithm", ["crc32", "sha256"])
def test_sizes_about_the_edges_of_parts(
    fault_server: FaultServer, faulty: S3Store, size: int, part: int, algorithm: str
) -> None:
    fault_server.script(PATH, Object(DATA[:size], checksums=[algorithm]))
    target = bytearray(size + 10)
    assert faulty.get_into("key", target, part_size=part) == size
    assert target == DATA[:size] + bytes(10)
    assert faulty.get("key", part_size=part).bytes() == DATA[:size]


@pytest.mark.parametrize("size", [65_536, 300_000, 4 * MIB, 5 * MIB])
@pytest.mark.parametrize("wish", [{"offset": 1000}, {"suffix": 123_456}, (1000, 300_000)])
@pytest.mark.parametrize("most", [1, 4])
def test_ranges_longer_than_a_part(fault_server: FaultServer, faulty: S3Store, size: int, wish: Any, most: int) -> None:
    """Also those that are short enough to be fetched unasked, where there is no room before the headers."""
    fault_server.script(PATH, Object(DATA[:size]))
    expected = faulty.get("key", options={"range": wish}).bytes()
    target = bytearray(len(expected))
    got = faulty.get_into("key", target, options={"range": wish}, part_size=65_536, max_concurrency=most)
    assert (got, target) == (len(expected), bytearray(expected))
