"""Versions: list, get, head and delete them where a bucket keeps them; elsewhere an error before any request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cumulo.exceptions import NotFoundError, NotSupportedError
from cumulo.store import GCSStore, HTTPStore, LocalStore, MemoryStore, S3Store
from tests.faults import FaultServer

from .conftest import gcs_store, s3_store


@pytest.fixture(params=["ministack", "moto", "gcs"])
def versioned(request: pytest.FixtureRequest) -> Any:
    """An empty store that keeps versions."""
    server = request.getfixturevalue(request.param)
    if request.param == "gcs":
        return gcs_store(server, bucket=server.new_bucket(versioned=True))
    return s3_store(server, bucket=server.new_bucket(versioned=True))


def listed(store: Any, *arguments: Any, **options: Any) -> list[Any]:
    return store.list_versions(*arguments, **options).collect()


def test_what_there_is_and_was(versioned: Any, call: Callable[..., Any]) -> None:
    first, second = versioned.put("d/a é", b"one"), versioned.put("d/a é", b"second")
    other = versioned.put("d2/b", b"x")
    found = {each["version"]: each for each in listed(versioned)}
    assert set(found) == {first["version"], second["version"], other["version"]}
    assert [found[each["version"]]["is_latest"] for each in (first, second, other)] == [False, True, True]
    old = found[first["version"]]
    assert (old["path"], old["size"], old["e_tag"], old["is_delete_marker"]) == ("d/a é", 3, first["e_tag"], False)
    assert old["last_modified"] <= found[second["version"]]["last_modified"]
    assert len(listed(versioned, "d")) == 2
    assert len(listed(versioned, "d", substring=True)) == 3
    assert [len(chunk) for chunk in versioned.list_versions(chunk_size=2)] == [2, 1]

    head = call(versioned, "head", "d/a é", version=first["version"])
    assert (head["size"], head["version"], head["e_tag"]) == (3, first["version"], first["e_tag"])
    assert call(versioned, "get", "d/a é", options={"version": first["version"]}).bytes() == b"one"


def test_deleting_one_of_them(versioned: Any, call: Callable[..., Any]) -> None:
    first, second = versioned.put("a", b"one"), versioned.put("a", b"second")
    call(versioned, "delete", "a", version=second["version"])
    assert [each["version"] for each in listed(versioned) if each["version"] != "null"] == [first["version"]]
    with pytest.raises(NotFoundError):
        versioned.head("a", version=second["version"])
    assert versioned.get("a", options={"version": first["version"]}).bytes() == b"one"
    with pytest.raises(TypeError, match="one object"):
        call(versioned, "delete", ["a"], version=first["version"])


def test_what_was_deleted_is_still_there(versioned: Any) -> None:
    made = [versioned.put(f"p/{name}", b"x") for name in "abc"]
    assert versioned.delete_prefix("p").deleted == 3
    assert versioned.list().collect() == []
    left = listed(versioned)
    assert {each["version"] for each in left if not each["is_delete_marker"]} == {each["version"] for each in made}
    markers = [each for each in left if each["is_delete_marker"]]
    if isinstance(versioned, GCSStore):
        assert (markers, any(each["is_latest"] for each in left)) == ([], False)
        return
    assert len(markers) == 3
    assert all(each["is_latest"] and each["size"] == 0 for each in markers)
    [marker] = [each for each in markers if each["path"] == "p/a"]
    versioned.delete("p/a", version=marker["version"])
    assert versioned.get("p/a").bytes() == b"x"


def test_from_asyncio_and_within_a_prefix(versioned: Any) -> None:
    versioned.put("base/a/1", b"")
    arguments = versioned.__getnewargs_ex__()[1]
    store = type(versioned)(**{**arguments, "prefix": "base"})

    async def run() -> list[str]:
        return [each["path"] async for chunk in store.list_versions("a") for each in chunk]

    assert asyncio.run(run()) == ["a/1"]


def test_pages_of_generations(gcs: Any) -> None:
    store = gcs_store(gcs, bucket=gcs.new_bucket(versioned=True))
    made = [store.put("a", bytes(number))["version"] for number in range(7)]
    gcs.versions_in_page = 2
    try:
        assert [each["version"] for each in listed(store)] == made
    finally:
        gcs.versions_in_page = 1000


def test_stores_without_versions(tmp_path: Any, call: Callable[..., Any], fault_server: FaultServer) -> None:
    http = HTTPStore(fault_server.url, client_options={"allow_http": True})
    for store in (MemoryStore(), LocalStore(tmp_path), http):
        with pytest.raises(NotSupportedError, match="keeps no versions"):
            store.list_versions()
        with pytest.raises(NotSupportedError, match="keeps no versions"):
            call(store, "head", "a", version="1")
        with pytest.raises(NotSupportedError, match="keeps no versions"):
            call(store, "delete", "a", version="1")
    assert fault_server.requests == []


def test_a_bucket_without_versions(s3: S3Store) -> None:
    s3.put("a", b"x")
    [found] = listed(s3)
    assert (found["path"], found["is_latest"], found["is_delete_marker"]) == ("a", True, False)
