"""zarr's own suite for stores, over memory, local disk and a real S3 server."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from zarr.core.buffer import Buffer, cpu
from zarr.testing.store import StoreTests

from cumulo.store import LocalStore, MemoryStore, S3Store
from cumulo.zarr import ObjectStore
from tests.contract.conftest import azure_store, gcs_store, s3_store
from tests.servers import S3Server


class Suite(StoreTests[ObjectStore[Any], cpu.Buffer]):
    store_cls = ObjectStore
    buffer_cls = cpu.Buffer

    async def set(self, store: ObjectStore[Any], key: str, value: Buffer) -> None:
        store.store.put(key, value.to_bytes())

    async def get(self, store: ObjectStore[Any], key: str) -> Buffer:
        return self.buffer_cls.from_bytes(store.store.get(key).bytes())

    def test_store_repr(self, store: ObjectStore[Any]) -> None:
        assert repr(store) == f"ObjectStore(object_store://{store.store!r})"

    def test_store_supports_writes(self, store: ObjectStore[Any]) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: ObjectStore[Any]) -> None:
        assert store.supports_listing


class TestMemory(Suite):
    @pytest.fixture
    def store_kwargs(self) -> dict[str, Any]:
        return {"store": MemoryStore()}

    async def test_serializable_store(self, store: ObjectStore[Any]) -> None:
        with pytest.raises(TypeError, match="cannot pickle 'MemoryStore'"):
            pickle.dumps(store)


class TestLocal(Suite):
    @pytest.fixture
    def store_kwargs(self, tmp_path: Path) -> dict[str, Any]:
        return {"store": LocalStore(tmp_path)}


class TestS3(Suite):
    @pytest.fixture
    def store_kwargs(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"store": s3_store(request.getfixturevalue("ministack"))}


class TestS3BelowAPrefix(Suite):
    @pytest.fixture
    def store_kwargs(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        store = s3_store(request.getfixturevalue("moto"), prefix="some/where")
        assert isinstance(store, S3Store)
        return {"store": store}


class TestGCS(Suite):
    @pytest.fixture
    def store_kwargs(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"store": gcs_store(request.getfixturevalue("gcs"))}


class TestAzure(Suite):
    """Suffix ranges by size: Azure has none."""

    @pytest.fixture
    def store_kwargs(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {"store": azure_store(request.getfixturevalue("azurite"))}


async def test_an_object_that_stands_for_a_directory_is_no_child_of_it(ministack: S3Server) -> None:
    """Consoles and other tools write such: `group/`, without content."""
    bucket = ministack.new_bucket()
    raw = s3_store(ministack, bucket=bucket, raw_keys=True)
    raw.put("group/", b"")
    raw.put("group/array/zarr.json", b"{}")
    store = ObjectStore(s3_store(ministack, bucket=bucket))
    assert [name async for name in store.list_dir("group")] == ["array"]
    assert [name async for name in store.list_dir("group/")] == ["array"]
    await store.delete_dir("group")
    assert raw.list().collect() == []
