"""Arrays through zarr and xarray, and which requests they become."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import obstore.store
import pytest
import xarray
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from cumulo.exceptions import NotSupportedError
from cumulo.store import LocalStore, MemoryStore, S3Store
from cumulo.zarr import ObjectStore
from tests.contract.conftest import azure_store, s3_store
from tests.faults import FaultServer, Object
from tests.s3.support import fault_store, targets

PROTOTYPE = default_buffer_prototype()


@pytest.fixture(params=["memory", "local", "s3", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        return ObjectStore(MemoryStore())
    if request.param == "local":
        return ObjectStore(LocalStore(tmp_path, automatic_cleanup=True))  # zarr takes empty directories for stray ones
    if request.param == "azure":
        return ObjectStore(azure_store(request.getfixturevalue("azurite")))
    return ObjectStore(s3_store(request.getfixturevalue("ministack")))


def test_a_sharded_array(store: Any) -> None:
    data = np.arange(1024 * 96, dtype="float32").reshape(1024, 96)
    array = zarr.create_array(store, name="a", shape=data.shape, chunks=(32, 16), shards=(256, 48), dtype=data.dtype)
    array[:] = data
    again = zarr.open_array(store.with_read_only(True), path="a")
    assert np.array_equal(again[:], data)
    assert np.array_equal(again[300:310, 40:60], data[300:310, 40:60]), "a few chunks of two shards"
    assert again[1023, 95] == data[1023, 95]
    with pytest.raises(ValueError, match="read-only"):
        again[0, 0] = 1


def test_a_dataset(store: Any) -> None:
    times = np.arange("2024-01-01", "2024-01-13", dtype="datetime64[D]").astype("datetime64[ns]")
    values = np.random.default_rng(1).random((12, 40, 50), dtype="float32")
    made = xarray.Dataset(
        {"t2m": (("time", "y", "x"), values, {"units": "K"})}, coords={"time": times, "y": np.arange(40)}
    )
    made.to_zarr(store, zarr_format=3, consolidated=False, encoding={"t2m": {"chunks": (4, 20, 25)}})
    with xarray.open_zarr(store, consolidated=False, chunks=None) as found:
        assert found.t2m.attrs == {"units": "K"}
        assert np.array_equal(found.t2m.isel(time=slice(3, 6)).to_numpy(), values[3:6])
        xarray.testing.assert_equal(found.load(), made)
    made.to_zarr(store, mode="w", zarr_format=3, consolidated=False)  # deletes what was there


def test_groups_and_members(store: Any) -> None:
    root = zarr.open_group(store, mode="w")
    root.create_group("a/b").attrs["name"] = "b"
    root.create_array("a/c", shape=(4,), dtype="i4")[:] = [1, 2, 3, 4]
    assert sorted(name for name, _ in root.members(max_depth=None)) == ["a", "a/b", "a/c"]
    del root["a"]
    assert list(root.members()) == []


async def test_partial_values(store: Any) -> None:
    store.store.put("a", bytes(range(100)))
    store.store.put("b", b"whole")
    wanted = [
        ("a", RangeByteRequest(0, 10)), ("none", RangeByteRequest(0, 1)), ("b", None), ("a", SuffixByteRequest(3)),
        ("a", RangeByteRequest(90, 120)), ("a", OffsetByteRequest(95)), ("none", None), ("a", SuffixByteRequest(500)),
    ]  # fmt: skip
    found = [None if each is None else each.to_bytes() for each in await store.get_partial_values(PROTOTYPE, wanted)]
    a = bytes(range(100))
    assert found == [a[:10], None, b"whole", a[-3:], a[90:], a[95:], None, a]
    assert store.get_sync("a", byte_range=SuffixByteRequest(3)).to_bytes() == a[-3:]
    assert store.get_sync("a", byte_range=RangeByteRequest(1, 3)).to_bytes() == a[1:3]


async def test_ranges_with_nothing_in_them(store: Any) -> None:
    """As zarr's own stores have it: an empty value, but for a key that is not there."""
    store.store.put("a", b"0123456789")
    store.store.put("empty", b"")
    spans: list[Any] = [
        RangeByteRequest(3, 3), RangeByteRequest(11, 12), RangeByteRequest(20, 30), OffsetByteRequest(11),
        SuffixByteRequest(0),
    ]  # fmt: skip
    own = zarr.storage.MemoryStore()
    for key in ("a", "empty"):
        await own.set(key, PROTOTYPE.buffer.from_bytes(store.store.get(key).bytes().to_bytes()))
    wanted = [(key, span) for key in ("a", "none", "empty") for span in spans] + [("a", RangeByteRequest(2, 5))]
    expected = [content_of(await own.get(key, PROTOTYPE, span)) for key, span in wanted]
    assert [content_of(await store.get(key, PROTOTYPE, span)) for key, span in wanted] == expected
    assert [content_of(store.get_sync(key, byte_range=span)) for key, span in wanted] == expected
    assert [content_of(each) for each in await store.get_partial_values(PROTOTYPE, wanted)] == expected
    with pytest.raises(ValueError, match="start 5, end 2"):
        await store.get("a", PROTOTYPE, RangeByteRequest(5, 2))


def content_of(found: Any) -> bytes | None:
    return None if found is None else found.to_bytes()


async def test_ranges_of_a_key_share_a_request(fault_server: FaultServer) -> None:
    store = ObjectStore(fault_store(fault_server))
    fault_server.script("/bucket/key", Object(bytes(range(200))))
    wanted = [("key", RangeByteRequest(start, start + 5)) for start in range(0, 100, 10)]
    found = await store.get_partial_values(PROTOTYPE, wanted)
    assert [each.to_bytes()[0] for each in found if each is not None] == list(range(0, 100, 10))
    assert targets(fault_server) == ["GET /bucket/key"]


async def test_buffers_are_what_was_received(fault_server: FaultServer) -> None:
    store = ObjectStore(fault_store(fault_server))
    fault_server.script("/bucket/key", Object(bytes(1000)))
    found = await store.get("key", PROTOTYPE)
    assert found is not None
    array = found.as_numpy_array()
    assert array.base is not None
    assert not array.flags.owndata, "a view, not a copy"


def test_azure_has_no_suffix_ranges(azurite: Any) -> None:
    store = azure_store(azurite)
    store.put("a", b"0123456789")
    with pytest.raises(NotSupportedError):
        store.get("a", options={"range": {"suffix": 3}})
    found = ObjectStore(store).get_sync("a", byte_range=SuffixByteRequest(3))
    assert found is not None
    assert found.to_bytes() == b"789"


async def test_prefixes_may_end_anywhere(store: Any) -> None:
    for key in ("foo/a", "foo/ab/c", "foo/b", "foobar/a"):
        store.store.put(key, b"")
    for prefix, found in {"foo/a": ["foo/a", "foo/ab/c"], "foo": ["foo/a", "foo/ab/c", "foo/b", "foobar/a"]}.items():
        assert sorted([key async for key in store.list_prefix(prefix)]) == found
    await store.delete_dir("foo")
    assert [key async for key in store.list()] == ["foobar/a"]
    await store.clear()
    assert await store.is_empty("")
    await store.delete_dir("none")


def test_what_a_store_is() -> None:
    store = ObjectStore(S3Store("bucket", region="r", secret_access_key="secret", access_key_id="id"))
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert hash(again) == hash(store)
    assert store != store.with_read_only(True)
    assert "secret" not in repr(store) + str(store)
    with pytest.raises(TypeError, match="of cumulo's"):
        ObjectStore(obstore.store.MemoryStore())  # type: ignore[type-var]
