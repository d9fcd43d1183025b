"""Downloads by aws-c-s3: content, checksums, repair, an object that changes, cancelling, several ports."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from cumulo._drivers import run_async, sync
from cumulo._drivers.effects import Plan
from cumulo._native import Bytes, live_objects
from cumulo._operations import bulk
from cumulo.exceptions import (
    BaseError,
    ChecksumError,
    ConnectionFailedError,
    NotFoundError,
    ObjectChangedError,
    PermissionDeniedError,
    PreconditionError,
    ServerError,
    ThrottledError,
)
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import Cut, FaultServer, Faulty, Flip, Object, Response, Stall, Step, Trickle
from tests.faults.checksums import checksum_header
from tests.servers import S3Server

from .bulk import bulk_of, fetch, in_background, run
from .support import MIB, NO_RETRY, PATH, fault_store, of_aws_c_s3, server_store

DATA = os.urandom(12 * MIB + 321)
WAYS = ("sync", "asyncio", "futures")


@pytest.fixture
def crt(fault_server: FaultServer) -> S3Store:
    """A store on the fault server whose bulk client is aws-c-s3."""
    return fault_store(fault_server, bulk_client="crt")


@pytest.mark.parametrize("how", WAYS)
def test_content(fault_server: FaultServer, crt: S3Store, how: str) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content)
    assert run(lambda: fetch(crt, content.current_etag, len(DATA)), how) == DATA
    ranges = [each.header("range") for each in fault_server.requests]
    assert len(ranges) == 3
    assert None not in ranges
    assert {each.header("if-match") for each in fault_server.requests} == {content.current_etag}


def test_on_real_servers(server: S3Server) -> None:
    store = server_store(server, bulk_client="crt")
    etag = store.put("key", DATA, use_multipart=False)["e_tag"]
    assert etag is not None
    assert sync.run(fetch(store, etag, len(DATA))) == DATA


def test_a_part_of_an_object(fault_server: FaultServer, crt: S3Store) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content)

    def plan() -> Plan[Bytes]:
        request = bulk_of(crt).get("key", None, content.current_etag, (77, 7 * MIB), part_bytes=5 * MIB, most=4)
        request.feed_target(7 * MIB - 77)
        yield from bulk.perform(bulk_of(crt), request)
        return request.take_target()

    assert sync.run(plan()) == DATA[77 : 7 * MIB]


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c", "crc32"])
@pytest.mark.parametrize("right", [True, False])
def test_the_checksum_of_the_whole(fault_server: FaultServer, algorithm: str, right: bool) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content if right else Faulty(content, Flip(1000)))
    store = fault_store(fault_server, bulk_client="crt", retry_config={"max_retries": 1})
    expected = (algorithm.upper(), checksum_header(algorithm, DATA)[1])
    plan = fetch(store, content.current_etag, len(DATA), expected=expected)
    if right:
        assert sync.run(plan) == DATA
    else:
        with pytest.raises(ChecksumError):
            sync.run(plan)


@pytest.mark.parametrize(
    "fault",
    [
        Response.dropped("rst"),
        Response.error(500, "InternalError"),
        Response.error(503, "SlowDown"),
        Response.error(429),
        Faulty(Object(DATA), Cut(1000)),
        Faulty(Object(DATA), Cut(3 * MIB, "rst")),
    ],
    ids=["dropped", "500", "slow down", "429", "cut early", "cut late"],
)
def test_what_heals(fault_server: FaultServer, crt: S3Store, fault: Step) -> None:
    content = Object(DATA)
    fault_server.script(PATH, [fault, fault, content])
    assert sync.run(fetch(crt, content.current_etag, len(DATA))) == DATA
    assert crt.stats()["retries"] > 0


FAILURES: dict[str, tuple[Step, type[BaseError], int | None, str | None]] = {
    "forbidden": (Response.error(403, "AccessDenied"), PermissionDeniedError, 403, "AccessDenied"),
    "missing": (Response.error(404, "NoSuchBucket"), NotFoundError, 404, "NoSuchBucket"),
    "slow down": (Response.error(503, "SlowDown"), ThrottledError, 503, "SlowDown"),
    "too many": (Response.error(429), ThrottledError, 429, None),
    "internal": (Response.error(500, "InternalError"), ServerError, 500, "InternalError"),
    "dropped": (Response.dropped(), ConnectionFailedError, None, None),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(fault_server: FaultServer, crt: S3Store, name: str) -> None:
    step, kind, status, code = FAILURES[name]
    fault_server.script(PATH, step)
    with pytest.raises(kind) as caught:
        sync.run(fetch(crt, '"etag"', len(DATA)))
    error = caught.value
    assert type(error) is kind
    assert (error.operation, error.path, error.status) == ("get", "key", status)
    assert code is None or error.code == code
    assert error.attempts == (1 if name in ("forbidden", "missing") else 4)


def test_without_retries(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Response.error(503, "SlowDown"))
    store = fault_store(fault_server, bulk_client="crt", retry_config=NO_RETRY)
    with pytest.raises(ThrottledError):
        sync.run(fetch(store, '"etag"', len(DATA)))
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("ranges", ["half", "shifted", "ignored"])
def test_other_bytes_than_asked_for(fault_server: FaultServer, crt: S3Store, ranges: str) -> None:
    content = Object(DATA, ranges=ranges)  # type: ignore[arg-type]
    fault_server.script(PATH, content)
    with pytest.raises(BaseError):
        sync.run(fetch(crt, content.current_etag, len(DATA)))


def test_an_object_that_changes(fault_server: FaultServer, crt: S3Store) -> None:
    first, second = Object(DATA), Object(DATA[::-1])
    fault_server.script(PATH, [first, second])
    with pytest.raises(PreconditionError):
        sync.run(fetch(crt, first.current_etag, len(DATA)))


@pytest.mark.parametrize("how", WAYS)
def test_through_the_store(fault_server: FaultServer, crt: S3Store, how: str) -> None:
    content = Object(DATA, checksums=["crc64nvme"])
    fault_server.script(PATH, content)
    target = bytearray(len(DATA))
    if how == "sync":
        got = crt.get("key").bytes()
        crt.get_into("key", target)
    elif how == "futures":
        got = crt.futures.get("key").result(60).bytes_future().result(60)
        crt.futures.get_into("key", target).result(60)
    else:

        async def main() -> Bytes:
            await crt.get_into_async("key", target)
            return await (await crt.get_async("key")).bytes_async()

        got = asyncio.run(main())
    assert got == DATA
    assert target == DATA
    assert of_aws_c_s3(fault_server)


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, 5 * MIB])
def test_what_is_too_short_for_it_comes_to_a_buffer_too(fault_server: FaultServer, crt: S3Store, size: int) -> None:
    fault_server.script(PATH, Object(DATA[:size]))
    target = bytearray(size + 3)
    assert crt.get_into("key", target) == size
    assert target == DATA[:size] + bytes(3)


def test_a_server_that_ignores_ranges(fault_server: FaultServer, crt: S3Store) -> None:
    fault_server.script(PATH, Object(DATA, ranges="ignored"))
    assert crt.get("key").bytes() == DATA


def test_an_object_that_is_replaced_names_both_etags(fault_server: FaultServer, crt: S3Store) -> None:
    first, second = Object(DATA), Object(DATA[::-1])
    fault_server.script(PATH, [first, first, second])
    with pytest.raises(ObjectChangedError) as caught:
        crt.get("key").bytes()
    assert first.current_etag in str(caught.value)
    assert second.current_etag in str(caught.value)


def test_a_checksum_that_does_not_fit(fault_server: FaultServer, crt: S3Store) -> None:
    content = Object(DATA, checksums=["crc64nvme"])
    fault_server.script(PATH, [content, Faulty(content, Flip(1000))])
    with pytest.raises(ChecksumError):
        crt.get("key").bytes()


def _stuck(content: Object) -> Step:
    return Faulty(content, Stall(MIB))


def test_a_cancelled_task(fault_server: FaultServer, crt: S3Store) -> None:
    content = Object(DATA)
    fault_server.script(PATH, [content, _stuck(content)])

    async def main() -> None:
        task = run_async(fetch(crt, content.current_etag, len(DATA)))
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await fault_server.wait_for_async(lambda: fault_server.connections.closed_by_peer)

    asyncio.run(main())


def test_a_cancelled_future(fault_server: FaultServer, crt: S3Store) -> None:
    content = Object(DATA)
    fault_server.script(PATH, [content, _stuck(content)])
    future = in_background(fetch(crt, content.current_etag, len(DATA)))
    fault_server.wait_for(lambda: fault_server.stalled)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(30)
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)


def test_ctrl_c(fault_server: FaultServer, crt: S3Store) -> None:
    content = Object(DATA)
    fault_server.script(PATH, [content, _stuck(content)])
    with ctrl_c_when(lambda: fault_server.stalled):
        sync.run(fetch(crt, content.current_etag, len(DATA)))
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)


def test_nothing_is_written_after_a_cancel(fault_server: FaultServer, crt: S3Store) -> None:
    """Of the memory of the caller's, that is: what the pool lends is kept until the end."""
    content = Object(b"x" * (12 * MIB))
    fault_server.script(PATH, [content, Faulty(content, Trickle(20e6))])
    request = bulk_of(crt).get(
        "key", None, content.current_etag, (0, 12 * MIB), part_bytes=5 * MIB, most=4, foreign=True
    )
    request.feed_target(12 * MIB)
    future = in_background(bulk.perform(bulk_of(crt), request))
    fault_server.wait_for(lambda: len(fault_server.requests) >= 2)
    request.cancel()
    before = bytes(request.take_target())
    with pytest.raises(BaseError):
        future.result(30)
    assert live_objects()["requests"] >= 1
    assert len(before) <= 12 * MIB


def test_two_ports_of_one_host(fault_server: FaultServer, tmp_path: Path) -> None:
    contents = [Object(DATA), Object(DATA[::-1])]
    with FaultServer(directory=tmp_path) as other:
        for server, content in zip((fault_server, other), contents, strict=True):
            server.script(PATH, content)
        stores = [fault_store(each, bulk_client="crt") for each in (fault_server, other)]
        for store, content in zip(stores, contents, strict=True):
            assert sync.run(fetch(store, content.current_etag, len(DATA))) == content.data


def test_many_stores_at_once(fault_server: FaultServer) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content)
    stores = [
        fault_store(fault_server, bulk_client="crt", client_options={"read_timeout": f"{10 + n}s"}) for n in range(12)
    ]
    futures = [in_background(fetch(store, content.current_etag, len(DATA))) for store in stores]
    assert all(future.result(120) == DATA for future in futures)


def test_over_tls(fault_server: FaultServer) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content)
    store = fault_store(
        fault_server, bulk_client="crt", endpoint=fault_server.tls_url(),
        client_options={"root_certificate": fault_server.ca_file.read_bytes()},
    )  # fmt: skip
    assert sync.run(fetch(store, content.current_etag, len(DATA))) == DATA


def test_default_headers_and_anonymous(fault_server: FaultServer) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content)
    store = fault_store(
        fault_server, bulk_client="crt", skip_signature=True, client_options={"default_headers": {"x-own": "1"}}
    )
    assert sync.run(fetch(store, content.current_etag, len(DATA))) == DATA
    assert {each.header("x-own") for each in fault_server.requests} == {"1"}
    assert {each.header("authorization") for each in fault_server.requests} == {None}


def test_keys_from_a_provider(fault_server: FaultServer) -> None:
    content = Object(DATA)
    fault_server.script(PATH, content)
    asked: list[int] = []

    def provider() -> dict[str, object]:
        asked.append(1)
        return {"access_key_id": "AKIDPROVIDED", "secret_access_key": "x", "expires_at": None}

    given: dict[str, Callable[[], dict[str, object]]] = {"credential_provider": provider}
    store = S3Store(
        "bucket", endpoint=fault_server.url, client_options={"allow_http": True}, bulk_client="crt", **given
    )
    assert sync.run(fetch(store, content.current_etag, len(DATA))) == DATA
    assert asked == [1]
    assert all("AKIDPROVIDED" in (each.header("authorization") or "") for each in fault_server.requests)
