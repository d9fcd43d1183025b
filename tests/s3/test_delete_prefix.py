"""delete_prefix on servers that refuse some of it, and on more objects than a page has."""

from __future__ import annotations

from typing import Any

import pytest

from cumulo.exceptions import BaseError, PermissionDeniedError
from cumulo.store import LocalStore, S3Store
from tests.faults import FaultServer, Response, error_document
from tests.servers import S3Server

from .support import delete_result, list_page, server_store, with_query

DENIED = "<Error><Key>p/b</Key><Code>AccessDenied</Code><Message>No.</Message></Error>"
LOCKED = "<Error><Key>p/c</Key><Code>AccessDenied</Code><Message>Locked.</Message></Error>"


@pytest.fixture
def two_pages(fault_server: FaultServer) -> FaultServer:
    fault_server.script("/bucket", [list_page("p/a", "p/b", "p/c", token="t"), list_page("p/d")], method="GET")
    fault_server.script("/bucket?delete", [delete_result(DENIED + LOCKED), delete_result()], method="POST")
    return fault_server


def test_what_can_not_be_deleted_does_not_keep_the_rest(two_pages: FaultServer, faulty: S3Store) -> None:
    with pytest.raises(PermissionDeniedError, match="2 objects could not be deleted, 2 are.*'p/b'") as caught:
        faulty.delete_prefix("p")
    assert caught.value.path == "p/b"
    assert len(with_query(two_pages, "delete")) == 2


def test_errors_as_results(two_pages: FaultServer, faulty: S3Store) -> None:
    result = faulty.delete_prefix("p", errors="return")
    assert result.deleted == 2
    assert [(type(error), error.path) for error in result.errors] == [
        (PermissionDeniedError, "p/b"),
        (PermissionDeniedError, "p/c"),
    ]


def test_a_listing_that_fails(fault_server: FaultServer, faulty: S3Store) -> None:
    denied = Response(403, body=error_document("AccessDenied").encode())
    fault_server.script("/bucket", [list_page("p/a", token="t"), denied], method="GET")
    fault_server.script("/bucket?delete", delete_result(), method="POST")
    with pytest.raises(PermissionDeniedError):
        faulty.delete_prefix("p", errors="return")


def test_a_bulk_request_that_fails(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket", list_page("p/a"), method="GET")
    fault_server.script("/bucket?delete", Response(403, body=error_document("AccessDenied").encode()), method="POST")
    with pytest.raises(PermissionDeniedError):
        faulty.delete_prefix("p", errors="return")


def test_an_answer_of_errors_alone(fault_server: FaultServer, faulty: S3Store) -> None:
    keys = [f"p/{number:0>1000}" for number in range(1000)]
    errors = "".join(DENIED.replace("p/b", key) for key in keys)
    fault_server.script("/bucket", list_page(*keys), method="GET")
    fault_server.script("/bucket?delete", delete_result(errors), method="POST")
    result = faulty.delete_prefix("p", errors="return")
    assert (result.deleted, len(result.errors)) == (0, 1000)


@pytest.mark.parametrize("bulk", [True, False])
def test_more_than_a_page(ministack: S3Server, bulk: bool) -> None:
    store = server_store(ministack)
    if not bulk:
        store = S3Store(**{**store.__getnewargs_ex__()[1], "disable_bulk_delete": True})
    count = 1200 if bulk else 150
    results = list(store.put_many([(f"p/{number}", b"") for number in range(count)] + [("q/1", b"")], errors="return"))
    assert [result.error for result in results if result.error] == []
    assert store.delete_prefix("p", max_concurrency=3).deleted == count
    assert [meta["path"] for meta in store.list().collect()] == ["q/1"]


def test_a_local_disk_that_refuses_some(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    for name in ("p/a", "p/b", "p/c"):
        store.put(name, b"")
    delete_one = store._delete_one

    def refuse(segments: Any) -> None:
        if segments[-1] == b"b":
            raise PermissionError(1, "not this one")
        delete_one(segments)

    monkeypatch.setattr(store, "_delete_one", refuse)  # the tests may run as root, whom nothing is refused
    result = store.delete_prefix("p", errors="return")
    assert result.deleted == 2
    assert [error.path for error in result.errors] == ["p/b"]
    assert isinstance(result.errors[0], BaseError)
    assert [meta["path"] for meta in store.list().collect()] == ["p/b"]
