"""Generations as versions, and conditions by them and by ETag."""

from __future__ import annotations

import pytest

from cumulo.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from cumulo.store import GCSStore
from tests.servers.gcs import GCSServer

from .support import MIB, bucket_of, gcs_store, headers_of, methods


def test_a_version_is_a_generation(server: GCSServer) -> None:
    store = gcs_store(server, bucket={"versioned": True})
    first = store.put("key", b"one")
    second = store.put("key", b"two")
    assert first["version"] != second["version"]
    assert store.head("key")["version"] == second["version"]
    assert store.get("key").meta["version"] == second["version"]
    assert store.get("key", options={"version": first["version"]}).bytes() == b"one"
    assert store.get("key", options={"version": first["version"], "head": True}).meta["size"] == 3
    with pytest.raises(NotFoundError):
        store.get("key", options={"version": "1"})


def test_listings_have_versions(store: GCSStore) -> None:
    made = store.put("a/b", b"one")
    [found] = store.list().collect()
    assert (found["version"], found["e_tag"]) == (made["version"], made["e_tag"])


def test_parts_of_an_old_version(server: GCSServer) -> None:
    store = gcs_store(server, bucket={"versioned": True})
    old = bytes(range(256)) * 4096
    version = store.put("key", old)["version"]
    store.put("key", b"new")
    assert store.get("key", options={"version": version}, part_size=MIB // 8).bytes() == old


def test_create(store: GCSStore, server: GCSServer) -> None:
    store.put("key", b"one", mode="create")
    assert headers_of(server, "PUT")[0]["x-goog-if-generation-match"] == "0"
    with pytest.raises(AlreadyExistsError):
        store.put("key", b"two", mode="create")
    assert store.get("key").bytes() == b"one"


def test_update_by_version_is_one_request(store: GCSStore, server: GCSServer) -> None:
    first = store.put("key", b"one")
    server.seen.clear()
    second = store.put("key", b"two", mode={"version": first["version"], "e_tag": first["e_tag"]})
    assert methods(server) == ["PUT"]
    assert second["version"] == store.head("key")["version"]
    with pytest.raises(PreconditionError):
        store.put("key", b"three", mode={"version": first["version"]})
    assert store.get("key").bytes() == b"two"


def test_update_by_etag_asks_for_its_generation(store: GCSStore, server: GCSServer) -> None:
    first = store.put("key", b"one")
    server.seen.clear()
    store.put("key", b"two", mode={"e_tag": first["e_tag"]})
    assert methods(server) == ["HEAD", "PUT"]
    assert headers_of(server, "PUT")[0]["x-goog-if-generation-match"] == first["version"]
    with pytest.raises(PreconditionError, match="ETag is"):
        store.put("key", b"three", mode={"e_tag": first["e_tag"]})
    with pytest.raises(NotFoundError):
        store.put("missing", b"three", mode={"e_tag": first["e_tag"]})
    with pytest.raises(ValueError, match="version"):
        store.put("key", b"three", mode={})


def test_conditional_writes_are_never_in_parts(store: GCSStore, server: GCSServer) -> None:
    """Cloud Storage's uploads in parts take no conditions: https://cloud.google.com/storage/docs/multipart-uploads."""
    data = bytes(11 * MIB)
    for content in (data, iter([data[: 6 * MIB], data[6 * MIB :]])):
        server.seen.clear()
        store.put("key", content, mode="create", chunk_size=5 * MIB, use_multipart=True)
        assert methods(server) == ["PUT"]
        assert store.get("key").bytes() == data
        store.delete("key")
    assert bucket_of(server, store).uploads == {}


@pytest.mark.parametrize("size", [10, 12 * MIB], ids=["one request", "parts"])
def test_copies_that_must_not_overwrite(store: GCSStore, size: int) -> None:
    store.put("from", bytes(size), attributes={"Content-Type": "image/tiff", "kind": "k"})
    store.copy("from", "to", overwrite=False)
    assert store.get("to").attributes["kind"] == "k"
    with pytest.raises(AlreadyExistsError) as caught:
        store.copy("from", "to", overwrite=False)
    assert caught.value.path == "to"
