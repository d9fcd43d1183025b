"""AzureStore on Microsoft's emulator, beyond what the contract suite shows of every store."""

from __future__ import annotations

import io
import pickle
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from cumulo.exceptions import (
    AlreadyExistsError,
    ChecksumError,
    NotFoundError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from cumulo.store import AzureStore
from tests.servers.azurite import ACCOUNT, KEY, AzureServer

from .support import MIB, container_sas, container_store

LARGE = bytes(range(256)) * (12 * MIB // 256)


@pytest.fixture
def store(azurite: AzureServer) -> AzureStore:
    return container_store(azurite, account_key=azurite.account_key)


def sdk_blob(server: AzureServer, store: AzureStore, path: str) -> Any:
    return server.sdk.get_blob_client(store.config["container_name"], path)


def test_what_the_sdk_reads_is_what_was_put(azurite: AzureServer, store: AzureStore) -> None:
    attributes = {"Content-Type": "image/tiff", "Cache-Control": "no-cache", "Storage-Class": "Cool", "mine": "v 1"}
    result = store.put("a/b c.tif", b"content", attributes=attributes, tags={"k 1": "v/1", "z": ""})
    blob = sdk_blob(azurite, store, "a/b c.tif")
    found = blob.get_blob_properties()
    assert blob.download_blob().readall() == b"content"
    assert found.content_settings.content_type == "image/tiff"
    assert found.content_settings.cache_control == "no-cache"
    assert (found.blob_tier, found.metadata, found.etag) == ("Cool", {"mine": "v 1"}, result["e_tag"])
    assert blob.get_blob_tags() == {"k 1": "v/1", "z": ""}
    assert store.get("a/b c.tif", options={"head": True}).attributes["Storage-Class"] == "Cool"


def test_tags_can_be_switched_off(azurite: AzureServer) -> None:
    store = container_store(azurite, account_key=KEY, disable_tagging=True)
    store.put("x", b"", tags={"a": "b"})
    assert sdk_blob(azurite, store, "x").get_blob_tags() == {}


def test_the_md5_that_the_server_keeps(azurite: AzureServer, store: AzureStore) -> None:
    """Of a blob that was put whole. It holds for one request and for parts."""
    from azure.storage.blob import ContentSettings

    store.put("key", LARGE, use_multipart=False)
    assert store.get("key", part_size=MIB).bytes() == store.get("key", max_concurrency=1).bytes() == LARGE
    sdk_blob(azurite, store, "key").set_http_headers(ContentSettings(content_md5=bytearray(16)))
    for options in ({"part_size": MIB}, {"max_concurrency": 1}):
        with pytest.raises(ChecksumError):
            store.get("key", **options).bytes()


def test_blocks_in_parallel(azurite: AzureServer, store: AzureStore) -> None:
    result = store.put("big", LARGE, chunk_size=MIB, attributes={"Content-Type": "x/y"}, tags={"a": "b"})
    blob = sdk_blob(azurite, store, "big")
    committed, uncommitted = blob.get_block_list("all")
    assert ([each.size for each in committed], uncommitted) == ([MIB] * 12, [])
    assert len({len(each.id) for each in committed}) == 1
    properties = blob.get_blob_properties()
    assert (properties.content_settings.content_type, properties.etag) == ("x/y", result["e_tag"])
    assert blob.get_blob_tags() == {"a": "b"}
    assert store.get("big").bytes() == LARGE


@pytest.mark.parametrize("make", [io.BytesIO, lambda data: iter([data[: 5 * MIB], data[5 * MIB :]])])
def test_blocks_of_unknown_length(store: AzureStore, make: Any) -> None:
    store.put("big", make(LARGE), chunk_size=2 * MIB)
    assert store.get("big", part_size=MIB).bytes() == LARGE


def test_an_upload_in_parts_is_conditional(store: AzureStore) -> None:
    first = store.put("big", LARGE, mode="create", use_multipart=True)
    with pytest.raises(AlreadyExistsError):
        store.put("big", LARGE, mode="create", use_multipart=True)
    store.put("big", LARGE, mode={"e_tag": first["e_tag"]}, use_multipart=True)
    with pytest.raises(PreconditionError):
        store.put("big", b"x", mode={"e_tag": first["e_tag"]}, use_multipart=True)


def test_an_upload_that_fails_leaves_the_old_object(store: AzureStore) -> None:
    def parts() -> Any:
        yield bytes(3 * MIB)
        raise RuntimeError("no more")

    store.put("x", b"old")
    with pytest.raises(RuntimeError, match="no more"):
        store.put("x", parts(), chunk_size=MIB)
    assert store.get("x").bytes() == b"old"


def test_conditions(store: AzureStore) -> None:
    etag = store.put("x", b"1")["e_tag"]
    listed = store.list().collect()[0]["e_tag"]
    assert listed == etag == store.head("x")["e_tag"]
    assert store.get("x", options={"if_match": listed}).bytes() == b"1"
    with pytest.raises(NotModifiedError):
        store.get("x", options={"if_none_match": etag})
    with pytest.raises(PreconditionError):
        store.get("x", options={"if_match": '"0x0"'})


def test_a_listing_from_an_offset_on(azurite: AzureServer) -> None:
    store = container_store(azurite, account_key=KEY, prefix="p")
    for name in ("a", "b", "c/d", "é"):
        store.put(name, b"")
    assert [each["path"] for each in store.list(offset="b").collect()] == ["c/d", "é"]
    assert [each["path"] for each in store.list(offset="bb").collect()] == ["c/d", "é"]
    assert store.list(offset="é").collect() == []


def test_copy_keeps_attributes(store: AzureStore) -> None:
    store.put("a b", b"content", attributes={"Content-Type": "image/tiff", "mine": "1"})
    store.copy("a b", "d/é")
    assert store.get("d/é").attributes.items() >= {"Content-Type": "image/tiff", "mine": "1"}.items()
    with pytest.raises(AlreadyExistsError):
        store.copy("a b", "d/é", overwrite=False)
    with pytest.raises(NotFoundError):
        store.copy("no", "x")


def test_deletes_in_batches(store: AzureStore) -> None:
    paths = [f"d/{i} & é" for i in range(300)]
    for path in paths:
        store.put(path, b"")
    before = store.stats()["requests"]
    store.delete(paths)
    assert store.stats()["requests"] == before + 2
    assert store.list().collect() == []
    store.put("here", b"")
    with pytest.raises(NotFoundError) as caught:
        store.delete(["here", "gone"])
    assert (caught.value.path, caught.value.code, caught.value.status) == ("gone", "BlobNotFound", 404)
    assert store.list().collect() == []


@pytest.mark.parametrize("form", ["container", "account"])
def test_a_shared_access_signature(azurite: AzureServer, form: str) -> None:
    from azure.storage.blob import generate_account_sas

    container = azurite.new_container()
    until = datetime.now(timezone.utc) + timedelta(hours=1)
    sas = (
        container_sas(azurite, container)
        if form == "container"
        else generate_account_sas(ACCOUNT, KEY, "sco", "rwdlac", until)
    )
    store = container_store(azurite, container, sas_key="?" + sas)
    store.put("a b/é", b"content")
    assert store.get_range("a b/é", start=1, end=3) == b"on"
    assert [each["path"] for each in store.list("a b").collect()] == ["a b/é"]
    store.copy("a b/é", "copy")
    assert store.get("copy").bytes() == b"content"
    store.delete("copy")


def test_what_a_signature_does_not_allow(azurite: AzureServer) -> None:
    container = azurite.new_container()
    sas = container_sas(azurite, container, permission="r")
    store = container_store(azurite, container, sas_key=sas)
    with pytest.raises(PermissionDeniedError) as caught:
        store.put("x", b"")
    assert sas not in str(caught.value)
    expired = container_store(azurite, container, sas_key=container_sas(azurite, container, hours=-1))
    with pytest.raises((PermissionDeniedError, UnauthenticatedError)):
        expired.get("x")


def test_a_wrong_key(azurite: AzureServer) -> None:
    store = container_store(azurite, account_key="bm90IHRoZSBrZXk=")
    with pytest.raises((PermissionDeniedError, UnauthenticatedError)) as caught:
        store.head("x")
    assert caught.value.request_id


def test_no_credentials(azurite: AzureServer) -> None:
    container = azurite.new_container()
    container_store(azurite, container, account_key=KEY).put("x", b"public")
    closed = container_store(azurite, container, skip_signature=True)
    with pytest.raises((PermissionDeniedError, UnauthenticatedError, NotFoundError)):
        closed.get("x")
    azurite.sdk.get_container_client(container).set_container_access_policy({}, public_access="container")
    assert closed.get("x").bytes() == b"public"


def test_the_emulator_by_its_option(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", azurite.url)
    store = AzureStore(azurite.new_container(), use_emulator=True)
    store.put("x", b"1")
    assert pickle.loads(pickle.dumps(store)).get("x").bytes() == b"1"


def test_no_container(azurite: AzureServer) -> None:
    store = container_store(azurite, "no-such-container", account_key=KEY)
    with pytest.raises(NotFoundError, match="check the container's name"):
        store.list().collect()


@pytest.mark.parametrize("kind", ["access_key", "sas_token", "pairs"])
def test_a_provider_of_any_kind(azurite: AzureServer, kind: str) -> None:
    from urllib.parse import parse_qsl

    container = azurite.new_container()
    sas = container_sas(azurite, container)
    answers: dict[str, Any] = {
        "access_key": {"access_key": KEY, "expires_at": None},
        "sas_token": {"sas_token": sas, "expires_at": None},
        "pairs": {"sas_token": parse_qsl(sas), "expires_at": None},
    }
    store = container_store(azurite, container, credential_provider=lambda: answers[kind])
    store.put("x", b"1")
    store.copy("x", "y")
    assert store.get("y").bytes() == b"1"


def test_a_provider_may_change_its_mind(azurite: AzureServer) -> None:
    """What it gave first has expired: it is asked once more, and gives another kind."""
    container = azurite.new_container()
    soon = datetime.now(timezone.utc) + timedelta(seconds=1)
    answers: list[Any] = [
        {"sas_token": container_sas(azurite, container), "expires_at": soon},
        {"access_key": KEY, "expires_at": None},
    ]
    store = container_store(azurite, container, credential_provider=lambda: answers.pop(0))
    store.put("x", b"1")
    while datetime.now(timezone.utc) <= soon:
        time.sleep(0.05)
    assert store.get("x").bytes() == b"1"
    assert answers == []
