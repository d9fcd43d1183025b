"""What goes with an object: attributes, tags, checksums, encryption, payment, the payload's hash."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import (
    BaseError,
)
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Response, Upload
from tests.faults.checksums import checksum_header
from tests.servers import S3Server

from .support import MIB, PATH, copied, delete_result, fault_store, list_page, server_store, with_query


@pytest.mark.parametrize("multipart", [False, True])
def test_attributes_and_tags_go_with_an_object(fault_server: FaultServer, multipart: bool) -> None:
    store = fault_store(fault_server, client_options={"default_content_type": "image/tiff"})
    fault_server.script(PATH, Upload())
    names = ("CONTENT-disposition", "content-Encoding", "Content-LANGUAGE", "cache-control", "STORAGE-class", "Mine")
    attributes = {name: f"v{number}" for number, name in enumerate(names)}
    store.put("key", b"x", attributes=attributes, tags={"a": "1"}, use_multipart=multipart)
    first = fault_server.requests[0]
    sent = ("content-disposition", "content-encoding", "content-language", "cache-control", "x-amz-storage-class",
            "x-amz-meta-mine", "content-type", "x-amz-tagging")  # fmt: skip
    assert [first.header(name) for name in sent] == ["v0", "v1", "v2", "v3", "v4", "v5", "image/tiff", "a=1"]
    assert [len([n for n, _ in first.headers if n.lower() == name]) for name in sent] == [1] * 8
    store.put("key", b"x", attributes={"content-type": "text/plain"}, use_multipart=multipart)
    assert "text/plain" in [request.header("content-type") for request in fault_server.requests]


def test_tags_that_are_switched_off(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(None))
    fault_store(fault_server, disable_tagging=True).put("key", b"x", tags={"a": "1"})
    assert fault_server.requests[0].header("x-amz-tagging") is None


def test_tags_on_a_real_server(ministack: S3Server) -> None:
    store = server_store(ministack)
    store.put("x", b"x", tags={"a b": "1+1=2", "\u00e9": "&"})
    found = ministack.boto3.get_object_tagging(Bucket=store.config["bucket"], Key="x")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {"a b": "1+1=2", "\u00e9": "&"}


def test_many_attributes(ministack: S3Server) -> None:
    """S3 takes 2 KB of them."""
    store = server_store(ministack)
    given = {f"name-{number}": str(number) for number in range(60)}
    store.put("x", b"x", attributes=given)
    assert given.items() <= store.get("x").attributes.items()


ALGORITHMS = ["SHA256", "CRC32C", "CRC64NVME"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("from_file", [False, True])
def test_checksums_on_the_wire(fault_server: FaultServer, tmp_path: Path, algorithm: str, from_file: bool) -> None:
    store = fault_store(fault_server, checksum_algorithm=algorithm)
    fault_server.script(PATH, Object(None))
    data = os.urandom(3000)
    (tmp_path / "f").write_bytes(data)
    store.put("key", tmp_path / "f" if from_file else data)
    store.put("key", b"")
    for request, body in zip(fault_server.requests, (data, b""), strict=True):
        name, value = checksum_header(algorithm.lower(), body)
        assert request.header(name) == value


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_of_parts_on_the_wire(fault_server: FaultServer, algorithm: str) -> None:
    """Parts are small enough for the pure-Python oracle: the minimum is 5 MiB, so only the last is."""
    store = fault_store(fault_server, checksum_algorithm=algorithm)
    name = f"x-amz-checksum-{algorithm.lower()}"
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber", lambda request: upload(request).header(name, request.header(name)))
    store.put("key", bytes(5 * MIB) + b"last part")
    parts = {each.query["partNumber"]: each for each in with_query(fault_server, "partNumber")}
    assert parts["2"].header(name) == checksum_header(algorithm.lower(), b"last part")[1]
    created, completed = with_query(fault_server, "uploads")[0], with_query(fault_server, "uploadId", "POST")[0]
    assert created.header("x-amz-checksum-algorithm") == algorithm
    body = completed.body.decode()
    for part in parts.values():
        assert f"<Checksum{algorithm}>{part.header(name)}</Checksum{algorithm}>" in body


def test_no_checksum_unless_asked_for(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Upload())
    faulty.put("key", b"x", use_multipart=True)
    assert not [name for each in fault_server.requests for name, _ in each.headers if "checksum" in name.lower()]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_on_real_servers(server: S3Server, algorithm: str) -> None:
    """ministack and Swift refuse a wrong one (see tests/servers), so it is right."""
    store = server_store(server, checksum_algorithm=algorithm)
    for data in (b"", b"content", os.urandom(6 * MIB)):
        store.put("x", data, use_multipart=len(data) > MIB)
        assert store.get("x").bytes() == data


def test_a_wrong_checksum_is_refused(ministack: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from cumulo._operations import sources

    monkeypatch.setattr(sources, "checksum", lambda *_: base64.b64encode(bytes(32)).decode())
    store = server_store(ministack, checksum_algorithm="SHA256")
    with pytest.raises(BaseError) as caught:
        store.put("x", b"content")
    assert caught.value.status == 400
    with pytest.raises(FileNotFoundError):
        store.head("x")


CUSTOMER_KEY = base64.b64encode(bytes(range(32))).decode()
SSE = "x-amz-server-side-encryption"


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"server_side_encryption": "AES256"}, {SSE: "AES256"}),
        (
            {"server_side_encryption": "aws:kms", "sse_kms_key_id": "id", "sse_bucket_key_enabled": True},
            {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "id", f"{SSE}-bucket-key-enabled": "true"},
        ),
        ({"server_side_encryption": "aws:kms:dsse"}, {SSE: "aws:kms:dsse"}),
    ],
)
def test_encryption_by_the_server(fault_server: FaultServer, options: dict[str, Any], headers: dict[str, str]) -> None:
    store = fault_store(fault_server, **options)
    fault_server.script(PATH, Upload())
    store.put("key", b"x")
    store.put("key", b"x", use_multipart=True)
    single, created, part, completed = fault_server.requests
    for request in (single, created):
        assert {n.lower(): v for n, v in request.headers if n.lower().startswith(SSE)} == headers
    for request in (part, completed):
        assert request.header(SSE) is None
    store.get("key").bytes()
    assert fault_server.requests[-1].header(SSE) is None


def test_the_customers_key_goes_with_every_request_that_needs_it(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, server_side_encryption="sse-c", sse_customer_key_base64=CUSTOMER_KEY)
    fault_server.script(PATH, Upload())
    store.put("key", b"0123", use_multipart=True)
    store.put("key", b"0123")
    store.head("key")
    store.get("key").bytes()
    store.get_range("key", start=0, end=1)
    asyncio.run(_range(store))
    store.get_ranges("key", starts=[0], ends=[1])
    digest = base64.b64encode(hashlib.md5(bytes(range(32))).digest()).decode()
    expected = {"algorithm": "AES256", "key": CUSTOMER_KEY, "key-md5": digest}
    stem = f"{SSE}-customer-"
    assert len(fault_server.requests) == 9
    for request in fault_server.requests:
        sent = {n.lower().removeprefix(stem): v for n, v in request.headers if n.lower().startswith(stem)}
        assert sent == expected
    fault_server.script("/bucket/to", copied())
    store.copy("key", "to")
    for name, value in expected.items():
        assert fault_server.requests[-1].header(stem + name) == value
        assert fault_server.requests[-1].header("x-amz-copy-source-server-side-encryption-customer-" + name) == value


async def _range(store: S3Store) -> None:
    await store.get_range_async("key", start=0, end=1)


def test_the_requester_pays_for_every_verb(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, request_payer=True)
    fault_server.script(PATH, Upload())
    fault_server.script("/bucket/to", copied())
    fault_server.script("/bucket", list_page("a"))
    fault_server.script("/bucket?delete", delete_result())
    store.put("key", b"0123", use_multipart=True)
    store.put("key", b"0123")
    store.head("key")
    store.get("key").bytes()
    store.get_range("key", start=0, end=1)
    asyncio.run(_range(store))
    store.get_ranges("key", starts=[0], ends=[1])
    store.copy("key", "to")
    store.list().collect()
    store.list_with_delimiter()
    store.delete("key")
    store.delete(["a", "b"])
    fault_server.script(PATH + "?partNumber", Response.error(403))
    with pytest.raises(PermissionError):
        store.put("key", b"x", use_multipart=True)
    assert len(fault_server.requests) == 17
    assert {request.header("x-amz-request-payer") for request in fault_server.requests} == {"requester"}


def test_the_payload_is_hashed_or_not(fault_server: FaultServer) -> None:
    fault_server.script(PATH, Object(b"0123"))
    fault_store(fault_server).put("key", b"content")
    fault_store(fault_server, unsigned_payload=True).put("key", b"content")
    fault_store(fault_server, skip_signature=True).put("key", b"content")
    hashes = [request.header("x-amz-content-sha256") for request in fault_server.requests]
    assert hashes == [hashlib.sha256(b"content").hexdigest(), "UNSIGNED-PAYLOAD", None]
    assert fault_server.requests[2].header("authorization") is None


@pytest.mark.parametrize("unsigned", [False, True])
def test_swift_checks_the_payloads_hash(swift: S3Server, unsigned: bool) -> None:
    store = server_store(swift, unsigned_payload=unsigned)
    for data in (b"", b"content", os.urandom(6 * MIB)):
        store.put("x", data, use_multipart=len(data) > MIB)
        assert store.get("x").bytes() == data
