"""Packages that make a store of their own of ours (by `__getnewargs_ex__`, as obstore's), copies and pickles."""

from __future__ import annotations

import copy
import json
import pickle
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore.store as theirs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from geoarrow.rust.io import read_parquet

from cumulo import store as ours
from tests.contract.conftest import s3_store
from tests.servers import S3Server

SECRET = "s3cr3t-key"
HTTP: dict[str, Any] = {"client_options": {"timeout": "3s", "allow_http": True}, "retry_config": {"max_retries": 2}}


def provider() -> Any: ...


STORES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "s3": (
        "S3Store",
        ("b",),
        {"prefix": "p", "region": "r", "access_key_id": "a", "secret_access_key": SECRET, **HTTP},
    ),
    "s3-provider": ("S3Store", ("b",), {"region": "r", "credential_provider": provider}),
    "gcs": ("GCSStore", ("b",), {"prefix": "p", "bearer_token": SECRET, **HTTP}),
    "azure": ("AzureStore", ("c",), {"account_name": "a", "account_key": "c2VjcmV0", **HTTP}),
    "http": ("HTTPStore", ("https://example.com/a",), HTTP),
    "http-plain": ("HTTPStore", ("https://example.com/",), {}),
    "local": ("LocalStore", ("/tmp",), {"automatic_cleanup": True}),
    "root": ("LocalStore", (), {}),
}


def made(module: Any, name: str) -> Any:
    kind, arguments, options = STORES[name]
    return getattr(module, kind)(*arguments, **options)


def plain(value: Any) -> Any:
    """obstore shows options as text, and durations as they were given."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    return str(value).lower() if isinstance(value, bool) else value


@pytest.mark.parametrize("name", STORES)
def test_arguments_are_obstores(name: str) -> None:
    mine, wanted = made(ours, name).__getnewargs_ex__(), made(theirs, name).__getnewargs_ex__()
    assert mine[0] == wanted[0]
    assert plain(mine[1]) == plain(wanted[1])


@pytest.mark.parametrize("name", STORES)
def test_obstore_takes_them(name: str) -> None:
    arguments, options = made(ours, name).__getnewargs_ex__()
    assert getattr(theirs, STORES[name][0])(*arguments, **options) == made(theirs, name)


@pytest.mark.parametrize("name", STORES)
def test_copies_and_pickles(name: str) -> None:
    store = made(ours, name)
    for again in (copy.copy(store), copy.deepcopy(store), pickle.loads(pickle.dumps(store))):
        assert again == store
        assert type(again) is type(store)
        assert hash(again) == hash(store)
    assert SECRET not in repr(store) + str(store)


def test_what_only_tunes_ours_is_left_out() -> None:
    store = ours.S3Store("b", region="r", bulk_client="crt", client_options={"hedge": True, "max_connections": 3})
    assert store.__getnewargs_ex__() == ((), {"config": {"bucket": "b", "region": "r"}})
    again = pickle.loads(pickle.dumps(store))
    assert again.config["bulk_client"] == "crt"
    assert again.client_options == {"hedge": True, "max_connections": 3}


def test_what_would_read_other_objects_stays() -> None:
    store = ours.S3Store("b", region="r", raw_keys=True)
    assert store.__getnewargs_ex__()[1]["raw_keys"] is True
    assert pickle.loads(pickle.dumps(store)) == store


def test_memory_can_not_be_copied() -> None:
    for module in (theirs, ours):
        store = module.MemoryStore()
        for call in (copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle 'MemoryStore' object"):
                call(store)
        assert not hasattr(store, "__getnewargs_ex__")


def geoparquet(file: Path) -> None:
    points = [struct.pack("<BIdd", 1, 1, i, i) for i in range(10)]
    column = {"encoding": "WKB", "geometry_types": ["Point"]}
    about = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pa.table({"id": list(range(10)), "geometry": pa.array(points, pa.binary())})
    pq.write_table(table.replace_schema_metadata({b"geo": json.dumps(about).encode()}), file)


def test_geoarrow_reads_from_our_stores(tmp_path: Path, ministack: S3Server) -> None:
    geoparquet(tmp_path / "points.parquet")
    s3 = s3_store(ministack, prefix="some/where")
    s3.put("points.parquet", tmp_path / "points.parquet")
    for store in (ours.LocalStore(tmp_path), s3):
        with pytest.warns(RuntimeWarning, match="reconstructed a store"):
            found = read_parquet("points.parquet", store=store)  # type: ignore[arg-type]
        assert found.num_rows == 10
