"""Listings: each call its own requests, pages on real servers, and pages that lie on the fault server."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cumulo.exceptions import BaseError, GenericError, NotFoundError, PermissionDeniedError, ServerError
from cumulo.store import S3Store
from tests.faults import Cut, FaultServer, Response, error_document
from tests.servers import S3Server

from .support import list_page, server_store, with_query

MANY = 1105


def _paths(objects: Any) -> list[str]:
    return [meta["path"] for meta in objects]


def test_two_calls_are_two_requests(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket", [list_page("a"), list_page("a", "b")])
    assert _paths(faulty.list().collect()) == ["a"]
    assert _paths(faulty.list().collect()) == ["a", "b"]
    assert len(fault_server.requests) == 2
    faulty.list_with_delimiter()
    faulty.list_with_delimiter()
    assert len(fault_server.requests) == 4


def test_a_list_that_is_not_read_is_no_request(fault_server: FaultServer, faulty: S3Store) -> None:
    stream = faulty.list("a")
    assert fault_server.requests == []
    fault_server.script("/bucket", [list_page("a/1", token="t"), list_page("a/2")])
    assert _paths(faulty.list("a", chunk_size=1).__next__()) == ["a/1"]
    assert len(fault_server.requests) == 1  # the next page waits until it is needed
    del stream


@pytest.fixture(scope="module")
def thousands(ministack: S3Server, moto: S3Server) -> dict[str, str]:
    """A bucket a server with more keys than a page. Swift takes a minute for as many."""
    buckets: dict[str, str] = {}
    for server in (ministack, moto):
        store = server_store(server)
        asyncio.run(_fill(store))
        buckets[server.name] = store.config["bucket"]
    return buckets


async def _fill(store: S3Store) -> None:
    gate = asyncio.Semaphore(16)

    async def put(number: int) -> None:
        async with gate:
            await store.put_async(f"d{number % 2}/{number:05}", b"")

    await asyncio.gather(*(put(number) for number in range(MANY)))


@pytest.mark.parametrize("name", ["ministack", "moto"])
def test_more_keys_than_a_page(request: pytest.FixtureRequest, thousands: dict[str, str], name: str) -> None:
    store = server_store(request.getfixturevalue(name), bucket=thousands[name])
    expected = sorted(f"d{number % 2}/{number:05}" for number in range(MANY))
    before = store.stats()["requests"]
    assert _paths(store.list().collect()) == expected
    assert store.stats()["requests"] - before == 2
    chunks = list(store.list(chunk_size=300))
    assert [len(chunk) for chunk in chunks] == [300, 300, 300, 205]
    assert _paths(object_ for chunk in chunks for object_ in chunk) == expected
    assert _paths(store.list(offset=expected[50]).collect()) == expected[51:]
    assert _paths(store.list("d1", offset=expected[-3]).collect()) == expected[-2:]
    assert store.list_with_delimiter() == {"common_prefixes": ["d0", "d1"], "objects": []}
    assert len(store.list_with_delimiter("d0")["objects"]) == 553

    async def read() -> list[int]:
        return [len(chunk) async for chunk in store.list(chunk_size=500)]

    assert asyncio.run(read()) == [500, 500, 105]
    store.delete(expected)
    assert store.list().collect() == []


PAGE = list_page("a", "b")
LIES: dict[str, tuple[Response, str]] = {
    "an error in a 200": (Response.xml(error_document("InternalError")), "InternalError|Error"),
    "HTML": (Response.html(200, 2000), "document type|XML|html"),
    "HTML that is XML": (Response.xml("<html><body>Welcome</body></html>"), "html|list"),
    "JSON": (Response.json({"Contents": []}), "XML"),
    "nothing": (Response.xml(""), "XML|empty|element"),
    "another document": (Response.xml("<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"), "CopyObjectResult|list"),
    "truncated without a token": (list_page("a", truncated=True), "truncated"),
    "an empty token": (list_page("a", token=""), "truncated"),
    "cut XML": (PAGE.but(body=bytes(PAGE.body)[:-30]), "XML|ends"),
    "cut within a name": (PAGE.but(body=bytes(PAGE.body)[:120]), "XML|ends"),
    "no key": (Response.xml("<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>"), "(?i)key"),
    "a size that is none": (PAGE.but(body=bytes(PAGE.body).replace(b"<Size>1<", b"<Size>-1<")), "(?i)size"),
    "a date that is none": (PAGE.but(body=bytes(PAGE.body).replace(b"2024-", b"none-")), "(?i)date|modified"),
    "an entity bomb": (Response.xml('<!DOCTYPE a [<!ENTITY x "xxxx">]><ListBucketResult/>'), "document type"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("verb", ["list", "list_with_delimiter"])
def test_pages_that_lie_are_errors(fault_server: FaultServer, faulty: S3Store, lie: str, verb: str) -> None:
    page, said = LIES[lie]
    fault_server.script("/bucket", page)
    with pytest.raises(GenericError, match=said) as caught:
        faulty.list("p").collect() if verb == "list" else faulty.list_with_delimiter("p")
    assert caught.value.operation == "list"
    assert caught.value.store == repr(faulty)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("lie", ["an error in a 200", "truncated without a token", "cut XML"])
def test_a_second_page_that_lies_is_an_error_too(fault_server: FaultServer, faulty: S3Store, lie: str) -> None:
    fault_server.script("/bucket", [list_page("a", token="t"), LIES[lie][0]])
    stream = faulty.list(chunk_size=1)
    assert _paths(next(stream)) == ["a"]
    with pytest.raises(GenericError):
        list(stream)


@pytest.mark.parametrize("tokens", [["t", "t"], ["t", "u", "t"]])
def test_a_repeated_token_is_an_error_and_not_endless(
    fault_server: FaultServer, faulty: S3Store, tokens: list[str]
) -> None:
    fault_server.script("/bucket", [list_page("a", token=token) for token in tokens])
    with pytest.raises(GenericError, match="token") as caught:
        faulty.list().collect()
    assert len(fault_server.requests) == len(tokens)
    assert (caught.value.operation, caught.value.store) == ("list", repr(faulty))


def test_empty_pages_with_a_token_go_on(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(
        "/bucket", [list_page(token="1"), list_page("a", token="2"), list_page(token="3"), list_page("b")]
    )
    assert _paths(faulty.list().collect()) == ["a", "b"]
    fault_server.script(
        "/bucket", [list_page(token="1"), list_page("a", token="2"), list_page(token="3"), list_page("b")]
    )
    assert [_paths(chunk) for chunk in faulty.list(chunk_size=1)] == [["a"], ["b"]]
    assert [each.query["continuation-token"] for each in with_query(fault_server, "continuation-token")] == [*"123123"]


def test_a_page_cut_on_the_wire_is_fetched_again(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket", [PAGE.having(Cut(100)), PAGE.having(Cut(0, "rst")), PAGE])
    assert _paths(faulty.list().collect()) == ["a", "b"]
    assert len(fault_server.requests) == 3


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", ""])
def test_the_content_type_of_a_right_page_does_not_matter(
    fault_server: FaultServer, faulty: S3Store, content_type: str
) -> None:
    fault_server.script("/bucket", PAGE.header("Content-Type", content_type or None))
    assert _paths(faulty.list().collect()) == ["a", "b"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(404, "NoSuchBucket", NotFoundError), (403, "AccessDenied", PermissionDeniedError), (500, None, ServerError)],
)
def test_errors_of_listings(
    fault_server: FaultServer, faulty: S3Store, status: int, code: str | None, kind: type[BaseError]
) -> None:
    fault_server.script("/bucket", Response.error(status, code))
    with pytest.raises(kind) as caught:
        faulty.list("some/prefix").collect()
    assert (caught.value.operation, caught.value.status) == ("list", status)
    assert "some/prefix" in str(caught.value)


def test_a_bucket_that_is_missing(server: S3Server) -> None:
    with pytest.raises(NotFoundError) as caught:
        server_store(server, bucket="no-such-bucket-here").list().collect()
    assert caught.value.code == "NoSuchBucket"


def test_an_async_listing_that_is_cancelled_stops_on_the_wire(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket", Response.never())

    async def run() -> None:
        task = asyncio.ensure_future(faulty.list().collect_async())
        await fault_server.wait_for_async(lambda: fault_server.stalled)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = time.monotonic()
    asyncio.run(run())
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer)
    assert time.monotonic() - started < 10
