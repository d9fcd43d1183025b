"""delete: batches, what the server says of single keys, keys that XML can't hold."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import threading
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from cumulo.exceptions import BaseError, GenericError, NotFoundError, PermissionDeniedError, ServerError, ThrottledError
from cumulo.store import S3Store
from tests.faults import FaultServer, Request, Response, error_document
from tests.servers import S3Server

from .support import delete_result, fault_store, server_store, targets


def _keys_of(request: Request) -> list[str]:
    return [key.text or "" for key in ET.fromstring(request.body).iter("Key")]


def test_batches_of_a_thousand_with_their_digests(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket?delete", delete_result(), method="POST")
    paths = [f"{number:05} & <\u00e9>\t\n" for number in range(2500)]
    faulty.delete(paths)
    requests = sorted(fault_server.requests, key=_keys_of)
    assert [len(_keys_of(request)) for request in requests] == [1000, 1000, 500]
    assert [key for request in requests for key in _keys_of(request)] == paths
    for request in requests:
        digest = base64.b64encode(hashlib.md5(request.body).digest()).decode()
        assert request.header("content-md5") == digest
        assert request.header("x-amz-content-sha256") == request.body_sha256
        assert request.target == "/bucket?delete="


@pytest.mark.parametrize("name", ["ministack", "moto"])
def test_fifteen_hundred_on_a_real_server(request: pytest.FixtureRequest, name: str) -> None:
    """Swift takes a minute for as many, and does a few below."""
    store = server_store(request.getfixturevalue(name), prefix="p")
    asyncio.run(_put_all(store, [f"{number}" for number in range(300)]))
    store.put("kept", b"")
    before = store.stats()["requests"]
    store.delete([f"{number}" for number in range(1500)])  # most of them are missing: no error
    assert store.stats()["requests"] - before == 2
    assert [meta["path"] for meta in store.list().collect()] == ["kept"]


async def _put_all(store: S3Store, paths: list[str]) -> None:
    for start in range(0, len(paths), 20):
        await asyncio.gather(*(store.put_async(path, b"") for path in paths[start : start + 20]))


@pytest.mark.parametrize("options", [{}, {"disable_bulk_delete": True}])
def test_some_on_each_real_server(server: S3Server, options: dict[str, Any]) -> None:
    store = server_store(server, **options)
    paths = [f"d/{number} + %" for number in range(12)]
    asyncio.run(_put_all(store, paths))
    store.delete(paths[1:])
    assert [meta["path"] for meta in store.list().collect()] == paths[:1]
    assert store.stats()["requests"] == 12 + (11 if options else 1) + 1


def _failed(key: str, code: str, message: str = "told why") -> str:
    return f"<Error><Key>{key}</Key><Code>{code}</Code><Message>{message}</Message></Error>"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", PermissionDeniedError),
        ("NoSuchBucket", NotFoundError),
        ("InternalError", ServerError),
        ("SlowDown", ThrottledError),
        ("SomethingElse", GenericError),
    ],
)
def test_an_error_of_one_key_is_typed_and_names_it(fault_server: FaultServer, code: str, kind: type[BaseError]) -> None:
    store = fault_store(fault_server, prefix="p")
    fault_server.script("/bucket?delete", delete_result(_failed("p/b &amp; c", code) + _failed("p/d", "Other")))
    with pytest.raises(kind, match="told why") as caught:
        store.delete(["a", "b & c", "d"])
    error = caught.value
    assert (error.operation, error.path, error.code, error.status) == ("delete", "b & c", code, 200)
    assert error.store == repr(store)


def test_a_missing_key_is_no_error(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket?delete", delete_result(_failed("a", "NoSuchKey")))
    faulty.delete(["a", "b"])
    fault_server.script("/bucket/a", Response(204))
    faulty.delete("a")


def test_the_error_of_a_later_key_is_not_lost(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket?delete", delete_result(_failed("a", "NoSuchKey") + _failed("b", "AccessDenied")))
    with pytest.raises(PermissionDeniedError) as caught:
        faulty.delete(["a", "b"])
    assert caught.value.path == "b"


def test_an_error_in_the_second_batch(fault_server: FaultServer, faulty: S3Store) -> None:
    def answer(request: Request) -> Response:
        return delete_result(_failed("1700", "AccessDenied")) if "1700" in _keys_of(request) else delete_result()

    fault_server.script("/bucket?delete", answer)
    with pytest.raises(PermissionDeniedError) as caught:
        faulty.delete([str(number) for number in range(2500)])
    assert caught.value.path == "1700"


NO_ANSWERS = {
    "an error document": Response.xml(error_document("AccessDenied")),
    "HTML": Response.html(200, 500),
    "nothing": Response.xml(""),
    "another document": Response.xml("<ListBucketResult/>"),
    "half a document": Response.xml("<DeleteResult><Error><Key>a</Key>"),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_a_200_that_is_no_answer_is_an_error(fault_server: FaultServer, faulty: S3Store, what: str) -> None:
    fault_server.script("/bucket?delete", NO_ANSWERS[what])
    with pytest.raises(BaseError) as caught:
        faulty.delete(["a", "b"])
    assert caught.value.operation == "delete"
    assert isinstance(caught.value, PermissionDeniedError) == (what == "an error document")


def test_a_status_of_a_batch(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket?delete", Response.error(403))
    with pytest.raises(PermissionDeniedError, match="2 paths"):
        faulty.delete(["a", "b"])


def test_bulk_deletes_are_tried_again(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket?delete", [Response.error(503), Response.dropped("rst"), delete_result()])
    faulty.delete(["a", "b"])
    assert len({request.body for request in fault_server.requests}) == 1


def test_without_bulk_deletes_each_is_a_request(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, disable_bulk_delete=True)
    fault_server.script("/bucket/*", Response(204), method="DELETE")
    store.delete([f"a{number:02}" for number in range(30)])
    assert sorted(targets(fault_server)) == [f"DELETE /bucket/a{number:02}" for number in range(30)]


def test_single_deletes_are_at_most_ten_at_a_time(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, disable_bulk_delete=True)
    lock, now, most = threading.Lock(), 0, 0
    fault_server.script("/bucket/*", Response.never(), method="DELETE")
    future = store.futures.delete([f"a{number}" for number in range(40)])
    for _ in range(20):
        fault_server.wait_for(lambda: fault_server.stalled or future.done())
        time.sleep(0.02)
        with lock:
            now = fault_server.stalled
            most = max(most, now)
        if future.done():
            break
        fault_server.script("/bucket/*", Response(204), method="DELETE")
        fault_server.release()
    assert most <= 10
    future.cancel()


@pytest.mark.parametrize("odd", ["a\x01b", "\x1f", "\x0b", "\ufffe", "\uffff"])
@pytest.mark.parametrize("in_prefix", [False, True])
def test_what_xml_can_not_hold_is_deleted_by_itself(fault_server: FaultServer, odd: str, in_prefix: bool) -> None:
    store = fault_store(fault_server, prefix=odd if in_prefix else None)
    fault_server.script("/bucket?delete", delete_result())
    fault_server.script("/bucket/*", Response(204), method="DELETE")
    store.delete(["plain", odd])
    methods = sorted(request.method for request in fault_server.requests)
    assert methods == (["DELETE", "DELETE"] if in_prefix else ["DELETE", "POST"])
    for request in fault_server.seen(method="POST"):
        assert _keys_of(request) == ["plain"]


def test_white_space_survives_an_xml_parser(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket?delete", delete_result())
    faulty.delete([" a\r\n\tb ", "c\rd"])
    assert _keys_of(fault_server.requests[0]) == [" a\r\n\tb ", "c\rd"]
    assert not re.search(rb"[\r\n\t]", fault_server.requests[0].body)


@pytest.mark.parametrize("bad", [["a", ""], ["a", "/"], ["a", 5], 5, None])
def test_bad_paths_are_refused_before_anything_is_deleted(fault_server: FaultServer, faulty: S3Store, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        faulty.delete(bad)
    assert fault_server.requests == []
