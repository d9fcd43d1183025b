"""S3 Express: sessions and the header they travel in, by either bulk client; what a directory bucket does otherwise."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import ChecksumError, ObjectChangedError, UnauthenticatedError
from cumulo.store import S3Store
from tests.faults import FaultServer, Faulty, Flip, Object, Request, Response
from tests.faults.checksums import checksum_header
from tests.s3.support import of_aws_c_s3

from .directory_bucket import BASE, BUCKET, DirectoryBucket, session, signed_by

MIB = 1 << 20
DATA = os.urandom(12 * MIB + 7)
CLIENTS = ("crt", "engine")


def _store(server: FaultServer, **options: Any) -> S3Store:
    return S3Store(
        BUCKET, endpoint=server.url, s3_express=True, access_key_id=BASE[0], secret_access_key=BASE[1],
        client_options={"allow_http": True}, retry_config={"max_retries": 1}, **options,
    )  # fmt: skip


@pytest.fixture
def bucket(fault_server: FaultServer) -> DirectoryBucket:
    """A directory bucket on the fault server."""
    bucket = DirectoryBucket()
    fault_server.script(f"/{BUCKET}*", bucket)
    return bucket


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Each bulk client in turn."""
    return request.param


@pytest.fixture
def store(fault_server: FaultServer, client: str) -> S3Store:
    """A store of that bucket, with that bulk client."""
    return _store(fault_server, bulk_client=client)


def _keys_used(server: FaultServer) -> list[str | None]:
    return [signed_by(request) for request in server.requests]


def _assert_carried_by(server: FaultServer, client: str) -> None:
    assert bool(of_aws_c_s3(server)) == (client == "crt")


# -- sessions


def test_requests_carry_a_session(fault_server: FaultServer) -> None:
    fault_server.script(f"/{BUCKET}?session", session("KEY1"))
    fault_server.script(f"/{BUCKET}/k", Object(b"content"))
    store = _store(fault_server)
    assert store.get("k").bytes() == b"content"
    assert store.get_range("k", start=1, end=3) == b"on"
    asked, first, second = fault_server.requests
    assert "Credential=BASE/" in (asked.header("authorization") or "")
    assert asked.header("x-amz-create-session-mode") == "ReadWrite"
    for request in (first, second):
        assert request.header("x-amz-s3session-token") == "token-KEY1"
        assert request.header("x-amz-security-token") is None
        authorization = request.header("authorization") or ""
        assert "Credential=KEY1/" in authorization
        assert "/s3express/aws4_request" in authorization


def test_a_session_that_is_refused(fault_server: FaultServer) -> None:
    fault_server.script(f"/{BUCKET}?session", Response.error(403, "AccessDenied"))
    with pytest.raises(UnauthenticatedError, match="AccessDenied"):
        _store(fault_server).get("k")


def test_a_session_that_is_refused_to_a_large_transfer(fault_server: FaultServer, client: str) -> None:
    fault_server.script(f"/{BUCKET}?session", Response.error(403, "AccessDenied"))
    with pytest.raises(UnauthenticatedError, match="AccessDenied"):
        _store(fault_server, bulk_client=client).put("k", DATA)


def test_what_a_session_is_asked_to_encrypt_with(fault_server: FaultServer, bucket: DirectoryBucket) -> None:
    """Requests of a session can't say otherwise."""
    _store(fault_server, server_side_encryption="aws:kms", sse_kms_key_id="key-1").put("k", b"content")
    asked = fault_server.requests[0]
    assert "session" in asked.query
    assert asked.header("x-amz-server-side-encryption") == "aws:kms"
    assert asked.header("x-amz-server-side-encryption-aws-kms-key-id") == "key-1"
    assert bucket.key("k").object.data == b"content"


# -- large transfers


def _pieces() -> Iterator[bytes]:
    return (DATA[at : at + 1_000_003] for at in range(0, len(DATA), 1_000_003))


async def _async_pieces() -> AsyncIterator[bytes]:
    for piece in _pieces():
        yield piece


def _file(path: Path) -> Path:
    path.write_bytes(DATA)
    return path


SOURCES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda _: DATA,
    "path": _file,
    "file": lambda path: _file(path).open("rb"),
    "iterator": lambda _: _pieces(),
}


@pytest.mark.parametrize("source", SOURCES)
def test_puts(
    fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store, client: str, tmp_path: Path, source: str
) -> None:
    content = SOURCES[source](tmp_path / "f")
    result = store.put("k", content)
    if hasattr(content, "close"):
        content.close()
    assert bucket.key("k").object.data == DATA
    assert result["e_tag"] == bucket.key("k").object.current_etag
    assert not bucket.key("k").parts
    assert _keys_used(fault_server) == ["BASE"] + ["KEY1"] * 5
    _assert_carried_by(fault_server, client)


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "SHA256"])
def test_puts_with_a_checksum(fault_server: FaultServer, bucket: DirectoryBucket, client: str, algorithm: str) -> None:
    """What AWS's stores send always."""
    _store(fault_server, bulk_client=client, checksum_algorithm=algorithm).put("k", DATA)
    assert bucket.key("k").object.data == DATA
    parts = [request for request in fault_server.requests if "partNumber" in request.query]
    for part in parts:
        name, value = checksum_header(algorithm.lower(), part.body)
        assert part.header(name) == value
    assert _keys_used(fault_server) == ["BASE"] + ["KEY1"] * 5


def test_three_ways(fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store, client: str) -> None:
    async def main() -> None:
        await store.put_async("k", _async_pieces())
        assert await (await store.get_async("k", part_size=MIB)).bytes_async() == DATA

    asyncio.run(main())
    store.futures.put("k", DATA).result(60)
    assert store.futures.get("k", part_size=MIB).result(60).bytes_future().result(60) == DATA
    assert bucket.sessions == 1
    assert set(_keys_used(fault_server)) == {"BASE", "KEY1"}
    _assert_carried_by(fault_server, client)


def test_gets(fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store, client: str, tmp_path: Path) -> None:
    bucket.key("k").object.replace(DATA)
    into = bytearray(len(DATA))
    assert store.get("k", part_size=MIB).bytes() == DATA
    store.get_into("k", into, part_size=MIB)
    assert into == DATA
    meta = store.download("k", tmp_path / "file", part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA
    assert meta["e_tag"] == bucket.key("k").object.current_etag
    who, *rest = _keys_used(fault_server)
    assert who == "BASE"
    assert set(rest) == {"KEY1"}
    _assert_carried_by(fault_server, client)


def test_an_object_that_is_replaced_meanwhile(
    fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store
) -> None:
    """Told by ETags that are no digests."""
    key = bucket.key("k")
    key.object.replace(DATA)
    first = key.object.current_etag
    result = store.get("k", part_size=MIB)
    key.object.replace(DATA[::-1])
    with pytest.raises(ObjectChangedError) as caught:
        result.bytes()
    assert first in str(caught.value)
    assert key.object.current_etag in str(caught.value)
    assert set(_keys_used(fault_server)) == {"BASE", "KEY1"}


def test_the_checksum_of_the_whole(fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store) -> None:
    bucket.key("k").object.replace(DATA)
    bucket.key("k").object.checksums = ["crc64nvme"]
    assert store.get("k", part_size=MIB).bytes() == DATA
    wrong = Faulty(bucket, Flip(1000))
    fault_server.script(f"/{BUCKET}/k", lambda request: (wrong if request.header("range") else bucket)(request))
    with pytest.raises(ChecksumError):
        store.get("k", part_size=MIB).bytes()


# -- sessions that end


@pytest.mark.parametrize("source", ["memory", "path", "iterator"])
def test_a_session_that_is_renewed_during_an_upload(
    fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store, tmp_path: Path, source: str
) -> None:
    """Sessions of ten seconds are renewed when five are left; until the new one is there the old one is used."""
    bucket.lifetime_s = 10

    def step(request: Request) -> Response:
        if request.query.get("partNumber") == "1" and bucket.sessions == 1:
            time.sleep(5.5)
        return bucket(request)

    fault_server.script(f"/{BUCKET}/k", step)
    store.put("k", SOURCES[source](tmp_path / "f"), max_concurrency=1)
    assert bucket.key("k").object.data == DATA
    fault_server.wait_for(lambda: bucket.sessions == 2)
    bucket.over.add("KEY1")
    store.put("k", DATA)
    assert _keys_used(fault_server)[-1] == "KEY2"


def test_a_session_that_ends_before_a_large_transfer(
    fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store
) -> None:
    """What is refused for the old keys is tried again with new ones."""
    bucket.key("k").object.replace(DATA)
    result = store.get("k", part_size=MIB)
    time.sleep(5.1)  # a session that has just been made is not at fault
    bucket.over.add("KEY1")
    assert result.bytes() == DATA
    assert bucket.sessions == 2
    assert _keys_used(fault_server)[-1] == "KEY2"


@pytest.mark.parametrize("source", ["memory", "path"])
def test_a_session_that_ends_during_an_upload(
    fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store, tmp_path: Path, source: str
) -> None:
    def step(request: Request) -> Response:
        if "partNumber" in request.query and not bucket.over:
            time.sleep(5.1)
            bucket.over.add("KEY1")
        return bucket(request)

    fault_server.script(f"/{BUCKET}/k", step)
    store.put("k", SOURCES[source](tmp_path / "f"))
    assert bucket.key("k").object.data == DATA
    assert bucket.sessions == 2


# -- what is otherwise than in other buckets


def test_copies_are_signed_with_the_callers_keys(
    fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store
) -> None:
    """Unlike all else: CopyObject and UploadPartCopy, says the API reference."""
    bucket.key("a").object.replace(b"content")
    store.copy("a", "b")
    assert bucket.key("b").object.data == b"content"
    store.rename("b", "c")
    assert bucket.key("c").object.data == b"content"
    assert bucket.key("b").object.data is None
    copies = [request for request in fault_server.requests if request.header("x-amz-copy-source")]
    assert [signed_by(request) for request in copies] == ["BASE", "BASE"]


def test_copies_in_parts(fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store) -> None:
    bucket.large["a"] = 6 << 30
    store.copy("a", "b")
    assert bucket.key("b").object.data == b"-" * 6
    store.copy("a", "c", overwrite=False)
    assert bucket.key("c").object.data == b"-" * 6
    parts = [request for request in fault_server.requests if "partNumber" in request.query]
    assert {signed_by(request) for request in parts} == {"BASE"}
    assert bucket.sessions == 1


def test_which_requests_are_the_callers_own() -> None:
    """As botocore has it."""
    import botocore.session

    model: Any = botocore.session.get_session().get_service_model("s3")
    own = {
        name
        for name in model.operation_names
        for parameter in model.operation_model(name).static_context_parameters
        if (parameter.name, parameter.value) == ("DisableS3ExpressSessionAuth", True)
    }
    assert own == {"CopyObject", "CreateSession", "UploadPartCopy"}


def test_a_listing_from_an_offset(fault_server: FaultServer, bucket: DirectoryBucket, store: S3Store) -> None:
    """Directory buckets have no `start-after`."""
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
        "<Size>1</Size></Contents>"
        for key in ("d", "a", "c", "b")
    )
    page = Response.xml(f"<ListBucketResult>{rows}<IsTruncated>false</IsTruncated></ListBucketResult>")

    def step(request: Request) -> Response:
        refused = bucket(request)
        return refused if refused.status == 501 else page

    fault_server.script(f"/{BUCKET}?list-type", step)
    assert [meta["path"] for meta in store.list(offset="b").collect()] == ["d", "c"]
