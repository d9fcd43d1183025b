"""`cumulo.transfer`: copies between stores, by their server or through this process."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cumulo import runtime, transfer
from cumulo.exceptions import (
    AlreadyExistsError,
    ChecksumError,
    ConnectionFailedError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PermissionDeniedError,
    SourceChangedError,
)
from cumulo.store import HTTPStore, LocalStore, MemoryStore, S3Store
from tests.contract.conftest import azure_store, gcs_store, s3_store
from tests.ctrl_c import ctrl_c_when
from tests.faults import Cut, FaultServer, Faulty, Object, Request, Response, Upload
from tests.s3.support import FAST_RETRY, NO_RETRY, copied, fault_store

MIB = 1 << 20
PART = 5 * MIB
KINDS = ("ministack", "moto", "gcs", "azurite", "webdav", "memory", "local")
PAIRS = [pair for pair in itertools.product(KINDS, KINDS) if pair[0] != pair[1]]
SIZES = {"nothing": 0, "one byte": 1, "one part": PART, "a byte more": PART + 1, "several": 3 * PART + 7}
TAGS = {"a": "1", "b c": "+/="}
ATTRIBUTES = {"Content-Type": "image/tiff", "Cache-Control": "no-store", "mine": "yes"}


def made(kind: str, request: pytest.FixtureRequest, path: Path) -> Any:
    """An empty store."""
    if kind == "memory":
        return MemoryStore()
    if kind == "local":
        return LocalStore(path / "local", mkdir=True)
    server = request.getfixturevalue(kind)
    if kind == "webdav":
        return HTTPStore(f"{server}/{uuid4()}", client_options={"allow_http": True})
    return {"gcs": gcs_store, "azurite": azure_store}.get(kind, s3_store)(server)


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    """Two stores of two kinds."""
    return made(request.param[0], request, tmp_path), made(request.param[1], request, tmp_path)


def _sync(*arguments: Any, **options: Any) -> None:
    transfer.copy(*arguments, **options)


def _asyncio(*arguments: Any, **options: Any) -> None:
    async def run() -> None:
        await transfer.copy_async(*arguments, **options)

    asyncio.run(run())


def _future(*arguments: Any, **options: Any) -> None:
    transfer.copy_future(*arguments, **options).result(timeout=60)


WAYS = {"sync": _sync, "asyncio": _asyncio, "future": _future}


def wait_for(condition: Callable[[], object]) -> None:
    """Until it holds; a bound for what never does."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(params=WAYS)
def copy(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Each of the three ways."""
    return WAYS[request.param]


@pytest.mark.parametrize("pair", PAIRS, indirect=True, ids="-".join)
def test_any_size_between_any_two(pair: tuple[Any, Any]) -> None:
    source, target = pair
    bare = (LocalStore, HTTPStore)  # this server of files keeps no attributes with them
    attributes = {} if isinstance(source, bare) else ATTRIBUTES
    for name, size in SIZES.items():
        content = os.urandom(size)
        source.put(name, content, attributes=attributes)
        transfer.copy(source, name, target, f"to/{name}", part_size=PART, max_concurrency=3)
        result = target.get(f"to/{name}")
        assert bytes(result.bytes()) == content
        kept = {} if isinstance(target, bare) else attributes
        assert {key: result.attributes.get(key) for key in kept} == kept


@pytest.mark.parametrize("pair", [("ministack", "gcs"), ("local", "moto"), ("memory", "local")], indirect=True)
def test_three_ways(pair: tuple[Any, Any], copy: Callable[..., None]) -> None:
    source, target = pair
    content = os.urandom(2 * PART + 1)
    source.put("from", content)
    copy(source, "from", target, "to", part_size=PART)
    assert bytes(target.get("to").bytes()) == content
    with pytest.raises(AlreadyExistsError):
        copy(source, "from", target, "to", overwrite=False, part_size=PART)
    with pytest.raises(NotFoundError):
        copy(source, "none", target, "to")
    copy(source, "from", target, "new", overwrite=False, part_size=PART)
    assert bytes(target.get("new").bytes()) == content


@pytest.mark.parametrize("kind", ["ministack", "moto", "swift", "gcs", "azurite", "memory", "local"])
def test_within_one_provider(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    source, target = made(kind, request, tmp_path / "a"), made(kind, request, tmp_path / "b")
    content = os.urandom(PART + 1)
    source.put("from/ é", content)
    for store, to in ((target, "to"), (source, "to")):
        transfer.copy(source, "from/ é", store, to)
        assert bytes(store.get(to).bytes()) == content
        with pytest.raises(AlreadyExistsError):
            transfer.copy(source, "from/ é", store, to, overwrite=False)
        transfer.copy(source, "from/ é", store, "new", overwrite=False)
        assert bytes(store.get("new").bytes()) == content
    if kind not in ("memory", "local"):
        assert source.stats()["bytes_received"] < 3 * len(content)  # what was read here to compare, and no more
        assert target.stats()["bytes_sent"] < len(content)


def test_tags_go_along(request: pytest.FixtureRequest) -> None:
    source, target = s3_store(request.getfixturevalue("ministack")), s3_store(request.getfixturevalue("moto"))
    source.put("from", b"x", tags=TAGS)
    moto = request.getfixturevalue("moto").boto3
    azure = azure_store(request.getfixturevalue("azurite"))
    for store, path in ((source, "from"), (azure, "through")):
        if store is azure:
            transfer.copy(source, "from", azure, "through")
        transfer.copy(store, path, target, "to")
        found = moto.get_object_tagging(Bucket=target.config["bucket"], Key="to")["TagSet"]
        assert {each["Key"]: each["Value"] for each in found} == TAGS
    transfer.copy(source, "from", gcs_store(request.getfixturevalue("gcs")), "to")  # which has none


def test_attributes_in_place_of_the_sources(request: pytest.FixtureRequest) -> None:
    source = s3_store(request.getfixturevalue("ministack"))
    source.put("from", b"x", attributes=ATTRIBUTES)
    for target in (source, azure_store(request.getfixturevalue("azurite")), gcs_store(request.getfixturevalue("gcs"))):
        transfer.copy(source, "from", target, "to", attributes={"Content-Type": "text/x-mine"})
        found = target.get("to").attributes
        assert {name: found.get(name) for name in ATTRIBUTES} == {**ATTRIBUTES, "Content-Type": "text/x-mine"}


def test_what_makes_no_sense_costs_no_request(fault_server: FaultServer) -> None:
    source, target = fault_store(fault_server), MemoryStore()
    with pytest.raises(ValueError, match="part_size"):
        transfer.copy(source, "key", target, "to", part_size=1)
    with pytest.raises(ValueError, match="max_concurrency"):
        transfer.copy(source, "key", target, "to", max_concurrency=0)
    for paths in (("", "to"), ("key", "")):
        with pytest.raises(InvalidPathError):
            transfer.copy(source, paths[0], target, paths[1])
    assert fault_server.requests == []


def test_the_servers_copy_names_the_sources_bucket(fault_server: FaultServer) -> None:
    fault_server.script("/other/to", copied())
    transfer.copy(fault_store(fault_server, prefix="p"), "a b", fault_store(fault_server, bucket="other"), "to")
    (request,) = fault_server.requests
    assert (request.method, request.header("x-amz-copy-source")) == ("PUT", "/bucket/p/a%20b")


@pytest.mark.parametrize("change", [{"access_key_id": "OTHER"}, {"profile": "x"}, {"skip_signature": True}])
def test_another_account_is_not_asked_to_copy(fault_server: FaultServer, change: dict[str, Any]) -> None:
    fault_server.script("/bucket/key", Object(b"content"))
    fault_server.script("/other/to", taken := Object(None))
    transfer.copy(fault_store(fault_server), "key", fault_store(fault_server, bucket="other", **change), "to")
    assert (taken.data, [each.method for each in fault_server.requests]) == (b"content", ["GET", "PUT"])


# -- what goes wrong


LARGE = os.urandom(4 * PART + 11)


@pytest.fixture
def target(fault_server: FaultServer) -> tuple[S3Store, Upload]:
    """A store on the fault server, and its key "to", which takes uploads."""
    fault_server.script("/other/to", upload := Upload(Object(b"before")))
    return fault_store(fault_server, bucket="other", access_key_id="OTHER", retry_config=FAST_RETRY), upload


def nothing_left(upload: Upload) -> bool:
    """Whether the target is what it was, without an upload in parts."""
    return upload.object.data == b"before" and not upload.parts


def test_a_source_replaced_midway(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    source = Object(LARGE)
    answers = itertools.count()

    def serve(request: Request) -> Response:
        if next(answers) == 2:
            source.replace(os.urandom(len(LARGE)))
        return source(request)

    fault_server.script("/bucket/key", serve)
    with pytest.raises(ObjectChangedError):
        transfer.copy(fault_store(fault_server), "key", store, "to", part_size=PART, max_concurrency=2)
    assert nothing_left(upload)
    assert len(upload.aborted) <= 1


def test_cuts_on_either_side_are_healed(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    source = Object(LARGE)
    fault_server.script("/bucket/key", [Faulty(source, Cut(9)), Faulty(source, Cut(PART // 2)), source])
    fault_server.script("/other/to?partNumber=2", [Response.dropped("rst"), Response.error(503), upload])
    transfer.copy(fault_store(fault_server), "key", store, "to", part_size=PART)
    assert upload.object.data == LARGE
    assert (upload.parts, upload.aborted) == ({}, [])


@pytest.mark.parametrize("where", ["source", "target"])
def test_errors_on_either_side(
    fault_server: FaultServer, target: tuple[S3Store, Upload], where: str, copy: Callable[..., None]
) -> None:
    store, upload = target
    source = Object(LARGE)
    fault_server.script("/bucket/key", [source, source, Response.error(403)] if where == "source" else source)
    if where == "target":
        fault_server.script("/other/to?partNumber=2", Response.error(403))
    with pytest.raises(PermissionDeniedError):
        copy(fault_store(fault_server), "key", store, "to", part_size=PART, max_concurrency=2)
    assert nothing_left(upload)
    wait_for(lambda: runtime.stats()["in_flight"] == 0)


def test_a_wrong_checksum_of_the_source(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    wrong = Object(LARGE, headers=(("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),))
    fault_server.script("/bucket/key", wrong)
    with pytest.raises(ChecksumError):
        transfer.copy(fault_store(fault_server), "key", store, "to", part_size=PART)
    assert nothing_left(upload)


def test_a_source_without_ranges(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    fault_server.script("/bucket/key", Object(LARGE, ranges="ignored"))
    transfer.copy(fault_store(fault_server), "key", store, "to", part_size=PART)
    assert upload.object.data == LARGE


def test_a_source_that_breaks_off(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    fault_server.script("/bucket/key", [Faulty(Object(LARGE, etag='W/"1"'), Cut(PART + 3)), Response.dropped("rst")])
    with pytest.raises((ConnectionFailedError, ObjectChangedError)):
        transfer.copy(fault_store(fault_server, retry_config=NO_RETRY), "key", store, "to", part_size=PART)
    assert nothing_left(upload)


def test_a_local_file_written_to_midway(
    fault_server: FaultServer, target: tuple[S3Store, Upload], tmp_path: Path
) -> None:
    store, upload = target
    (tmp_path / "from").write_bytes(LARGE)

    def change(request: Request) -> Response:
        with (tmp_path / "from").open("ab") as file:
            file.write(b"more")
        return upload(request)

    fault_server.script("/other/to?partNumber=2", change)
    with pytest.raises(SourceChangedError):
        transfer.copy(LocalStore(tmp_path), "from", store, "to", part_size=PART)
    assert nothing_left(upload)


def test_a_local_target_is_whole_or_not_there(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.script("/bucket/key", [Object(LARGE), Object(LARGE), Response.error(403)])
    with pytest.raises(PermissionDeniedError):
        transfer.copy(fault_store(fault_server), "key", LocalStore(tmp_path), "to", part_size=PART, max_concurrency=2)
    assert list(tmp_path.iterdir()) == []


# -- cancel


def test_a_cancel_aborts_the_upload(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    fault_server.script("/bucket/key", Object(LARGE))
    fault_server.script("/other/to?partNumber=3", Response.never())

    async def run() -> None:
        copying = transfer.copy_async(fault_store(fault_server), "key", store, "to", part_size=PART)
        await asyncio.to_thread(wait_for, lambda: fault_server.stalled)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        await asyncio.to_thread(wait_for, lambda: upload.aborted)

    asyncio.run(run())
    assert nothing_left(upload)


def test_ctrl_c_aborts_the_upload(fault_server: FaultServer, target: tuple[S3Store, Upload]) -> None:
    store, upload = target
    fault_server.script("/bucket/key", Object(LARGE))
    fault_server.script("/other/to?partNumber=3", Response.never())
    with ctrl_c_when(lambda: fault_server.stalled):
        transfer.copy(fault_store(fault_server), "key", store, "to", part_size=PART)
    assert nothing_left(upload)
    assert len(upload.aborted) == 1


# -- bounds


def test_a_target_without_conditional_parts_holds_no_large_object(request: pytest.FixtureRequest) -> None:
    source, target = MemoryStore(), gcs_store(request.getfixturevalue("gcs"))
    content = os.urandom(2 * PART)
    s3 = s3_store(request.getfixturevalue("ministack"))
    for store in (source, s3):
        store.put("from", content)
    transfer.copy(source, "from", target, "a", overwrite=False, part_size=MIB, max_concurrency=2)  # held already
    transfer.copy(s3, "from", target, "b", overwrite=False, part_size=PART, max_concurrency=2)
    assert bytes(target.get("b").bytes()) == content
    with pytest.raises(NotSupportedError, match="more than"):
        transfer.copy(s3, "from", target, "c", overwrite=False, part_size=MIB, max_concurrency=2)


# -- copies in parts by the server


PART_COPIED = Response.xml("<CopyPartResult><ETag>&quot;part&quot;</ETag></CopyPartResult>")


def test_a_copy_in_parts_is_of_one_version(fault_server: FaultServer) -> None:
    fault_server.script("/bucket/key", Object(b"content", etag='"one"'))
    fault_server.script("/other/to", upload := Upload(Object(b"before")))
    fault_server.script("/other/to?partNumber=1", [PART_COPIED, Response.error(412)])
    source, target = fault_store(fault_server), fault_store(fault_server, bucket="other")
    transfer.copy(source, "key", target, "to", overwrite=False)
    (part,) = [each for each in fault_server.requests if "partNumber" in each.query]
    assert part.header("x-amz-copy-source-if-match") == '"one"'
    with pytest.raises(ObjectChangedError, match="replaced while it was copied"):
        transfer.copy(source, "key", target, "to", overwrite=False)
    assert len(upload.aborted) == 1
