"""What goes over the wire, and what is made of answers that the emulator does not give.

Requests and responses are the service's documented ones (Azure Storage REST reference), played by the fault server:
Azurite has no versions, no CRC-64, no customer's keys, no copies that last, and no tokens over plain HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from cumulo.exceptions import (
    AlreadyExistsError,
    ChecksumError,
    GenericError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    ThrottledError,
    UnauthenticatedError,
)
from cumulo.store import AzureStore
from tests.faults import FaultServer, Faulty, Flip, Object, Request, Response

from .support import MIB, PATH, blob, fault_store, refused

CPK = base64.b64encode(bytes(range(32))).decode()
OK = Response(201, b"", (("ETag", '"0x2"'), ("x-ms-version-id", "2025-01-01T00:00:00.0000000Z")))


def test_every_request_names_its_version_and_date(fault_server: FaultServer) -> None:
    fault_server.script(PATH, blob())
    fault_store(fault_server).get("key").bytes()
    (request,) = fault_server.requests
    assert request.header("x-ms-version") == "2026-02-06"
    assert request.header("x-ms-date")
    assert str(request.header("Authorization")).startswith("SharedKey account:")


def test_shared_key_is_the_sdks(fault_server: FaultServer) -> None:
    """The same request, signed by azure-storage-blob's own policy."""
    from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

    from tests.servers.azurite import KEY

    fault_server.script("/container/a%20b", OK)
    fault_store(fault_server).put("a b", b"content", attributes={"zz": "1", "Content-Type": "x/y"}, mode="create")
    (request,) = fault_server.requests

    headers = {name.lower(): value for name, value in request.headers if name.lower() != "authorization"}
    http = SimpleNamespace(method=request.method, url="http://host" + request.target, headers=headers, query={})
    sent: Any = SimpleNamespace(http_request=http, context=SimpleNamespace(transport=None))
    SharedKeyCredentialPolicy("account", KEY).on_request(sent)
    assert headers["Authorization"] == request.header("Authorization")


def test_a_bearer_token_and_a_signature(fault_server: FaultServer) -> None:
    fault_server.script(PATH, blob())
    fault_store(fault_server, token="t0ken").get("key").bytes()
    fault_store(fault_server, sas_key="sv=1&sig=a%2Fb").get("key").bytes()
    fault_store(fault_server, sas_key="sv=1&sig=a%2Fb").get("key", options={"version": "v 1"}).bytes()
    bearer, query, both = fault_server.requests
    assert bearer.header("Authorization") == "Bearer t0ken"
    assert query.target == PATH + "?sv=1&sig=a%2Fb"
    assert query.header("Authorization") is None
    assert both.target == PATH + "?versionid=v%201&sv=1&sig=a%2Fb"


def test_versions(fault_server: FaultServer) -> None:
    fault_server.script(PATH, [OK, blob(x_ms_version_id="v1"), blob(x_ms_version_id="v1")])
    store = fault_store(fault_server)
    assert store.put("key", b"x")["version"] == "2025-01-01T00:00:00.0000000Z"
    assert store.get("key", options={"version": "v1"}).meta["version"] == "v1"
    assert store.get("key", options={"version": "v1", "head": True}).meta["version"] == "v1"
    assert [each.query.get("versionid") for each in fault_server.requests] == [None, "v1", "v1"]


def test_a_suffix_range_is_refused_without_a_request(fault_server: FaultServer) -> None:
    with pytest.raises(NotSupportedError, match="no suffix ranges"):
        fault_store(fault_server).get("key", options={"range": {"suffix": 7}})
    assert fault_server.requests == []


def test_a_checksum_goes_to_the_service(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """CRC-64 of this text as the service's own clients test it."""
    monkeypatch.setattr("cumulo._config.azure_endpoint._HOST", re.compile(".*"))
    fault_server.script(PATH, OK)
    store = fault_store(fault_server)
    store.put("key", b"Hello Azure!")
    store.put("key", b"Hello Azure!" + bytes(2 * MIB), chunk_size=MIB)
    whole, *blocks, _ = fault_server.requests
    assert whole.header("x-ms-content-crc64") == "DtjZpL9/o8c="
    assert len(blocks) == 3
    assert all(each.header("x-ms-content-crc64") for each in blocks)


def test_a_checksum_that_does_not_match(fault_server: FaultServer) -> None:
    fault_server.script(PATH, refused(400, "Crc64Mismatch"))
    with pytest.raises(ChecksumError):
        fault_store(fault_server).put("key", b"x")


def test_content_is_held_against_its_md5_in_parts(fault_server: FaultServer) -> None:
    data = os.urandom(6 * MIB)
    store = fault_store(fault_server)
    fault_server.script(PATH, right := Object(data, checksums=["md5"]))
    assert store.get("key", part_size=MIB).bytes() == data
    assert b"".join(store.get("key", part_size=MIB).stream(MIB)) == data
    fault_server.script(PATH, Faulty(right, Flip(9)))
    with pytest.raises(ChecksumError, match="MD5"):
        list(store.get("key", part_size=MIB).stream(MIB))
    with pytest.raises(ChecksumError, match="MD5"):
        store.get("key", part_size=MIB).bytes()


@pytest.mark.parametrize("how", [{}, {"part_size": MIB, "max_concurrency": 1}], ids=["default", "one request"])
def test_content_is_held_against_its_md5(fault_server: FaultServer, how: dict[str, int]) -> None:
    data = os.urandom(3 * MIB)
    store = fault_store(fault_server)
    fault_server.script(PATH, right := Object(data, checksums=["md5"]))
    assert store.get("key", **how).bytes() == data
    assert b"".join(store.get("key", **how).stream(MIB)) == data
    fault_server.script(PATH, [Faulty(right, Flip(MIB)), right])
    assert store.get("key", **how).bytes() == data  # by a second try
    fault_server.script(PATH, Faulty(right, Flip(MIB)))
    with pytest.raises(ChecksumError):
        store.get("key", **how).bytes()


def test_an_md5_says_nothing_of_ranges(fault_server: FaultServer) -> None:
    data = os.urandom(8 * MIB)
    fault_server.script(PATH, Object(data, headers=(("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="),)))
    store = fault_store(fault_server)
    assert store.get_range("key", start=5, length=100) == data[5:105]
    assert store.get("key", options={"range": (5, 105)}).bytes() == data[5:105]


def test_a_customers_key(fault_server: FaultServer) -> None:
    """With every request about the content; and over TLS only."""
    with pytest.raises(ValueError, match="over TLS only"):
        fault_store(fault_server, encryption_key=CPK)
    store = AzureStore(
        "container", account_name="account", endpoint=fault_server.tls_url(), token="t", encryption_key=CPK,
        client_options={"root_certificate": fault_server.ca_file.read_bytes()},
    )  # fmt: skip
    fault_server.script(PATH, [blob(), blob(Content_Range="bytes 0-6/7").but(status=206)], method="GET")
    fault_server.script(PATH, blob(), method="HEAD")
    fault_server.script(PATH, OK, method="PUT")
    fault_server.script("/container/copy", OK)
    store.get("key").bytes()
    store.get_range("key", start=0, end=7)
    store.head("key")
    store.put("key", bytes(2 * MIB), chunk_size=MIB)
    store.copy("key", "copy")
    digest = base64.b64encode(hashlib.sha256(bytes(range(32))).digest()).decode()
    assert len(fault_server.requests) == 7
    for request in fault_server.requests:
        assert request.header("x-ms-encryption-key") == CPK
        assert request.header("x-ms-encryption-key-sha256") == digest
        assert request.header("x-ms-encryption-algorithm") == "AES256"
    copy = fault_server.requests[-1]
    assert (copy.header("x-ms-blob-type"), copy.header("x-ms-source-encryption-key")) == ("BlockBlob", CPK)


# -- copies


def copying(status: str, copy_id: str = "c1", description: str = "") -> Response:
    headers = (("x-ms-copy-id", copy_id), ("x-ms-copy-status", status), ("x-ms-copy-status-description", description))
    return blob().but(status=202, body=b"", headers=(*blob().headers, *headers))


def test_a_copy_that_lasts_is_waited_for(fault_server: FaultServer) -> None:
    fault_server.script("/container/to", copying("pending"), method="PUT")
    fault_server.script(
        "/container/to", [copying("pending").but(status=200), copying("success").but(status=200)], method="HEAD"
    )
    fault_store(fault_server).copy("from é", "to")
    put, *heads = fault_server.requests
    assert put.header("x-ms-copy-source") == f"{fault_server.url}/container/from%20%C3%A9"
    assert [each.method for each in heads] == ["HEAD", "HEAD"]


@pytest.mark.parametrize("end", [copying("failed", description="500 InternalError"), copying("success", "c2")])
def test_a_copy_that_comes_to_nothing(fault_server: FaultServer, end: Response) -> None:
    fault_server.script("/container/to", copying("pending"), method="PUT")
    fault_server.script("/container/to", end.but(status=200), method="HEAD")
    fault_server.script("/container/to", Response(202), method="DELETE")
    with pytest.raises(GenericError, match="has not finished it"):
        fault_store(fault_server).copy("from", "to")
    deleted = fault_server.seen(method="DELETE")
    headers = dict(end.headers)
    if headers["x-ms-copy-id"] == "c1":  # what is left is an empty blob
        assert [each.header("if-match") for each in deleted] == [headers["ETag"]]
        assert deleted[0].header("x-ms-delete-snapshots") is None
    else:
        assert deleted == []


async def test_a_cancelled_copy_is_aborted(fault_server: FaultServer) -> None:
    fault_server.script("/container/to", [copying("pending"), Response(204)], method="PUT")
    fault_server.script("/container/to", lambda _: state[-1].but(status=200), method="HEAD")
    fault_server.script("/container/to", Response(202), method="DELETE")
    state = [copying("pending")]
    task = asyncio.ensure_future(fault_store(fault_server).copy_async("from", "to"))
    await asyncio.to_thread(fault_server.wait_for, lambda: fault_server.seen(method="HEAD"))
    state.append(copying("aborted"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fault_server.wait_for_async(lambda: fault_server.seen(method="DELETE"))  # an abort leaves an empty blob
    abort = fault_server.seen(method="PUT")[1]
    assert (abort.query, abort.header("x-ms-copy-action")) == ({"comp": "copy", "copyid": "c1"}, "abort")


def test_a_copy_whose_answer_was_lost(fault_server: FaultServer) -> None:
    """The second attempt meets the first one's work, which names its source."""
    source = f"{fault_server.url}/container/from"
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    made = blob(x_ms_copy_source=source, Last_Modified=now)
    fault_server.script("/container/to", [Response.dropped("rst"), refused(409, "BlobAlreadyExists")], method="PUT")
    fault_server.script("/container/to", made.header("Last-Modified", now), method="HEAD")
    fault_server.script("/container/from", blob(), method="HEAD")
    fault_store(fault_server).copy("from", "to", overwrite=False)


# -- deletes


def test_a_delete_whose_answer_was_lost_is_done(fault_server: FaultServer) -> None:
    fault_server.script(PATH, [Response.dropped("rst"), refused(404, "BlobNotFound")])
    fault_store(fault_server).delete("key")
    fault_server.reset()
    fault_server.script(PATH, refused(404, "BlobNotFound"))
    with pytest.raises(NotFoundError):
        fault_store(fault_server).delete("key")


def batch_answer(request: Request, statuses: list[str]) -> Response:
    """Documented under "Blob Batch"."""
    parts = "".join(
        f"--batchresponse_1\r\nContent-Type: application/http\r\nContent-ID: {at}\r\n\r\n"
        f"HTTP/1.1 {status}\r\nx-ms-request-id: r\r\nx-ms-version: 2018-11-09\r\n\r\n"
        for at, status in enumerate(statuses)
    )
    return Response(202, (parts + "--batchresponse_1--").encode(),
                    (("Content-Type", "multipart/mixed; boundary=batchresponse_1"),))  # fmt: skip


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({}, "Authorization: SharedKey account:"),
        ({"token": "t0ken"}, "Authorization: Bearer t0ken"),
        ({"sas_key": "sv=1&sig=x"}, "DELETE /container/b?sv=1&sig=x HTTP/1.1"),
    ],
)
def test_a_batch(fault_server: FaultServer, credentials: dict[str, Any], expected: str) -> None:
    statuses = ["202 Accepted", "404 The specified blob does not exist.\r\nx-ms-error-code: BlobNotFound"]
    fault_server.script("/container", lambda request: batch_answer(request, statuses))
    with pytest.raises(NotFoundError) as caught:
        fault_store(fault_server, **credentials).delete(["a", "b"])
    assert (caught.value.path, caught.value.code) == ("b", "BlobNotFound")
    (request,) = fault_server.requests
    assert (request.method, request.query["comp"]) == ("POST", "batch")
    assert request.body.decode().count("x-ms-delete-snapshots: include") == 2
    assert expected in request.body.decode()


def test_what_a_batch_is_too_busy_for_is_asked_again(fault_server: FaultServer) -> None:
    answer = ["202 Accepted", "503 Busy\r\nx-ms-error-code: ServerBusy"]
    fault_server.script("/container", lambda request: batch_answer(request, answer))
    fault_server.script("/container/b", Response(202))
    fault_store(fault_server).delete(["a", "b"])
    assert [each.method for each in fault_server.requests] == ["POST", "DELETE"]


def test_a_batch_that_is_answered_in_part(fault_server: FaultServer) -> None:
    fault_server.script("/container", lambda request: batch_answer(request, ["202 Accepted"]))
    with pytest.raises(GenericError, match="speaks of 1 of them"):
        fault_store(fault_server).delete(["a", "b"])


# -- errors


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthorizationPermissionMismatch", PermissionDeniedError),
        (403, "AuthenticationFailed", UnauthenticatedError),
        (401, "NoAuthenticationInformation", UnauthenticatedError),
        (404, "ContainerNotFound", NotFoundError),
        (409, "BlobAlreadyExists", AlreadyExistsError),
        (412, "ConditionNotMet", PreconditionError),
        (503, "ServerBusy", ThrottledError),
        (409, "LeaseAlreadyPresent", GenericError),
    ],
)
@pytest.mark.parametrize("verb", ["get", "head"])
def test_errors(fault_server: FaultServer, status: int, code: str, kind: type[GenericError], verb: str) -> None:
    """A HEAD has no body: its code is a header."""
    fault_server.script(PATH, refused(status, code))
    with pytest.raises(kind) as caught:
        getattr(fault_store(fault_server), verb)("key")
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.request_id, caught.value.status) == (code, "r-1", status)


# -- listings


def page(names: list[str], marker: str = "") -> Response:
    rows = "".join(
        f"<Blob><Name>{name}</Name><Properties><Last-Modified>Wed, 01 Jan 2025 00:00:00 GMT</Last-Modified>"
        f"<Etag>0x8D1</Etag><Content-Length>3</Content-Length></Properties></Blob>"
        for name in names
    )
    return Response.xml(
        f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    )


def test_pages(fault_server: FaultServer) -> None:
    fault_server.script("/container", [page(["p/a", "p/b"], "m!1/x="), page(["p/c"])])
    store = fault_store(fault_server, prefix="p")
    assert [each["path"] for each in store.list(offset="a").collect()] == ["b", "c"]
    first, second = (each.query for each in fault_server.requests)
    assert (first["startFrom"], first["prefix"], first["restype"], first["comp"]) == ("p/a", "p/", "container", "list")
    assert (second["marker"], "startFrom" in second) == ("m!1/x=", False)


def test_a_page_that_is_an_error(fault_server: FaultServer) -> None:
    fault_server.script("/container", Response.xml("<Error><Code>ServerBusy</Code><Message>No.</Message></Error>"))
    with pytest.raises(ThrottledError):
        fault_store(fault_server).list().collect()
    fault_server.reset()
    fault_server.script("/container", Response.xml("<EnumerationResults><Blobs>"))
    with pytest.raises(GenericError, match="readable page"):
        fault_store(fault_server).list().collect()


# -- tokens


def test_a_token_is_kept_until_it_expires(fault_server: FaultServer) -> None:
    calls: list[float] = []

    async def provider() -> dict[str, Any]:
        calls.append(time.time())
        lifetime = timedelta(seconds=1 if len(calls) == 1 else 3600)
        return {"token": f"t{len(calls)}", "expires_at": datetime.now(timezone.utc) + lifetime}

    fault_server.script(PATH, blob())
    store = fault_store(fault_server, credential_provider=provider)
    store.get("key").bytes()
    while time.time() <= calls[0] + 1:
        time.sleep(0.05)
    for _ in range(3):
        store.get("key").bytes()
    sent = [each.header("Authorization") for each in fault_server.requests]
    assert sent == ["Bearer t1", "Bearer t2", "Bearer t2", "Bearer t2"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("t", "str instead of a dict"),
        ({"nothing": 1}, "without 'token', 'sas_token' or 'access_key'"),
        ({"token": "a b"}, "no bearer token"),
        ({"sas_token": "x"}, "no shared access signature"),
        ({"token": "t", "expires_at": datetime(2030, 1, 1)}, "without a time zone"),
    ],
)
def test_providers_that_give_nonsense(fault_server: FaultServer, answer: Any, told: str) -> None:
    with pytest.raises(UnauthenticatedError, match=told):
        fault_store(fault_server, credential_provider=lambda: answer).get("key")


def test_a_managed_identity_at_a_named_endpoint(fault_server: FaultServer) -> None:
    """Documented under "How to use managed identities on an Azure VM to acquire an access token"."""
    expires = int(time.time()) + 3600
    fault_server.script("/msi/token", Response.json({"access_token": "t1", "expires_on": str(expires)}))
    fault_server.script(PATH, blob())
    store = fault_store(fault_server, msi_endpoint=fault_server.url + "/msi/token", object_id="o1")
    store.get("key").bytes()
    asked, read = fault_server.requests
    assert (asked.query["resource"], asked.query["object_id"]) == ("https://storage.azure.com", "o1")
    assert (asked.header("Metadata"), read.header("Authorization")) == ("true", "Bearer t1")


def test_fabrics_token_service(fault_server: FaultServer) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(time.time()) + 3600}).encode()).decode().rstrip("=")
    token = f"e30.{claims}.c2ln"
    fault_server.script("/token", Response.of(token.encode()))
    fault_server.script(PATH, blob())
    store = AzureStore(
        "container", account_name="account", endpoint=fault_server.url, client_options={"allow_http": True},
        fabric_token_service_url=fault_server.url + "/token", fabric_workload_host="w", fabric_session_token="s",
        fabric_cluster_identifier="c",
    )  # fmt: skip
    store.get("key").bytes()
    asked, read = fault_server.requests
    assert asked.header("x-ms-partner-token") == "s"
    assert read.header("Authorization") == f"Bearer {token}"
