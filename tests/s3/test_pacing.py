"""Servers that ask to slow down: all stores of the bucket do, reads apart from writes, and nobody else does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import cumulo as obs
from cumulo.store import S3Store
from tests.faults import Delay, FaultServer, Object, Request, Response, Stall

from .support import fault_store

DATA = b"x" * 1000
SLOW_DOWN = Response.error(503, "SlowDown", "Please reduce your request rate.")
PATIENT: dict[str, Any] = {"max_retries": 40, "backoff": {"init_backoff": 0.005, "max_backoff": 0.05}}


@dataclass
class Busy:
    """Bears so many requests at a time, each for 10 ms, and refuses those above with `refusal`."""

    server: FaultServer
    most: int
    refusal: Response = SLOW_DOWN
    good: Callable[[Request], Response] = field(default_factory=lambda: Object(DATA))
    refused: int = 0

    def __call__(self, request: Request) -> Response:
        """On the server's only thread: nothing is counted twice."""
        now = sum(each.status == 200 and each.answered is None for each in self.server.requests[-500:])
        if now >= self.most:
            self.refused += 1
            return self.refusal
        return self.good(request).having(Delay(0.01))


def store_of(server: FaultServer, **options: Any) -> S3Store:
    """A patient one, without signatures."""
    return fault_store(server, skip_signature=True, retry_config=PATIENT, **options)


async def read_all(stores: list[S3Store], count: int) -> None:
    """So many objects, all at once."""

    async def one(i: int) -> bytes:
        return bytes(await (await obs.get_async(stores[i % len(stores)], "key")).bytes_async())

    assert await asyncio.gather(*map(one, range(count))) == [DATA] * count


@pytest.mark.parametrize("refusal", [SLOW_DOWN, Response.error(429)], ids=["SlowDown", "429"])
async def test_fewer_and_fewer_are_refused(fault_server: FaultServer, refusal: Response) -> None:
    busy = Busy(fault_server, 4, refusal)
    fault_server.script("/bucket/key", busy)
    store = store_of(fault_server)
    await read_all([store], 300)
    burst, busy.refused = busy.refused, 0
    await read_all([store], 300)
    assert burst > 20
    assert busy.refused < 100  # AIMD goes on looking for more: about one in fourteen
    stats = store.stats()
    assert 1 <= stats["read_window"] <= 12
    assert stats["throttled"] == burst + busy.refused
    assert (stats["write_window"], stats["reads_waiting"]) == (0, 0)


async def test_stores_of_a_bucket_share(fault_server: FaultServer) -> None:
    busy = Busy(fault_server, 4)
    fault_server.script("/bucket/key", busy)
    stores = [store_of(fault_server, client_options={"user_agent": f"store {i}"}) for i in range(3)]
    await read_all(stores[:1], 200)
    assert busy.refused > 20
    busy.refused = 0
    await read_all(stores[1:], 200)
    assert busy.refused < 60  # they began where the first had come to
    assert len({store.stats()["read_window"] for store in stores}) == 1
    assert obs.runtime.stats()["windows"] >= 1  # those of other tests may linger


def throttle_reads(server: FaultServer, store: S3Store) -> None:
    """Down to one at a time."""
    server.script("/bucket/slow", [SLOW_DOWN, SLOW_DOWN, SLOW_DOWN, Object(DATA)])
    assert bytes(store.get("slow").bytes()) == DATA
    assert store.stats()["read_window"] == 1


def test_writes_and_other_buckets_go_on(fault_server: FaultServer) -> None:
    store, other = store_of(fault_server), store_of(fault_server, bucket="other")
    throttle_reads(fault_server, store)
    fault_server.script("/bucket/held", lambda request: Object(DATA)(request).having(Stall()), method="GET")
    fault_server.script("/bucket/key", Object(DATA))
    fault_server.script("/other/key", Object(DATA))
    first = store.futures.get_range("held", start=0, end=10)
    second = store.futures.get_range("key", start=0, end=10)
    fault_server.wait_for(lambda: store.stats()["reads_waiting"] == 1)
    store.put("key", DATA)
    assert bytes(other.get("key").bytes()) == DATA
    assert fault_server.seen("/bucket/key", "GET") == []
    fault_server.wait_for(lambda: fault_server.stalled)
    fault_server.release()
    assert bytes(first.result(30)) == bytes(second.result(30)) == DATA[:10]
    assert store.stats()["write_window"] == other.stats()["read_window"] == 0


def test_who_waits_can_be_cancelled_and_runs_out_of_time(fault_server: FaultServer) -> None:
    store = store_of(fault_server)
    hasty = store_of(fault_server, client_options={"timeout": "100ms"})
    throttle_reads(fault_server, store)
    fault_server.script("/bucket/key", Object(DATA))
    fault_server.script("/bucket/held", lambda request: Object(DATA)(request).having(Stall()))
    first = store.futures.get_range("held", start=0, end=10)
    fault_server.wait_for(lambda: store.stats()["reads_in_flight"] == 1 and fault_server.stalled)
    cancelled = store.futures.get_range("key", start=0, end=10)
    last = store.futures.get_range("key", start=0, end=10)
    with pytest.raises(TimeoutError):
        hasty.get_range("key", start=0, end=10)
    assert cancelled.cancel()
    fault_server.wait_for(lambda: store.stats()["reads_waiting"] <= 1)
    fault_server.release()
    assert bytes(first.result(30)) == bytes(last.result(30)) == DATA[:10]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_other_errors_slow_nobody(fault_server: FaultServer, status: int) -> None:
    store = store_of(fault_server)
    fault_server.script("/bucket/key", [Response.error(status, "InternalError"), Object(DATA)])
    store.get("key")
    assert store.stats()["read_window"] == store.stats()["throttled"] == 0


async def test_results_that_nobody_reads_hold_no_turn(fault_server: FaultServer) -> None:
    store = store_of(fault_server)
    await asyncio.to_thread(throttle_reads, fault_server, store)
    large = Object(b"y" * (6 << 20))
    fault_server.script("/bucket/large", large)
    fault_server.script("/bucket/key", Object(DATA))
    kept = await asyncio.gather(*(store.get_async("large") for _ in range(30)))
    assert bytes(await store.get_range_async("key", start=0, end=10)) == DATA[:10]
    for result in kept:
        assert bytes(await result.bytes_async()) == large.data


def test_the_log_says_so(fault_server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    obs.runtime.enable_logging(logging.INFO)
    try:
        with caplog.at_level(logging.INFO, "cumulo"):
            throttle_reads(fault_server, store_of(fault_server))
            fault_server.wait_for(lambda: "throttled, status 503, with 1 reads in flight" in caplog.text)
    finally:
        obs.runtime.enable_logging(0)
