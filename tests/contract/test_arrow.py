"""list and list_with_delimiter as Arrow: the dicts' content, obstore's schema, and memory that consumers share."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import arro3.core
import duckdb
import obstore
import polars as pl
import pyarrow as pa
import pytest

import cumulo
from cumulo.exceptions import GenericError, MissingExtraError
from cumulo.store import LocalStore, MemoryStore

PATHS = ["a.txt", "dir/1", "dir/2", "dir/sub/3", "dir2/ü €", "dir.x", "z"]


@pytest.fixture
def filled(store: Any) -> Any:
    for path in PATHS:
        store.put(path, path.encode())
    return store


def rows(batch: Any) -> list[dict[str, Any]]:
    table = pa.table(batch)
    table.validate(full=True)
    return table.to_pylist()


def test_a_stream_of_batches(filled: Any) -> None:
    expected = filled.list().collect()
    batches = list(filled.list(chunk_size=3, return_arrow=True))
    assert all(type(batch) is arro3.core.RecordBatch for batch in batches)
    assert [batch.num_rows for batch in batches] == [3, 3, 1]
    assert [row for batch in batches for row in rows(batch)] == expected
    assert rows(filled.list(return_arrow=True).collect()) == expected
    assert rows(cumulo.list(filled, "dir", return_arrow=True).collect()) == filled.list("dir").collect()
    assert rows(filled.list(offset="dir/2", return_arrow=True).collect()) == filled.list(offset="dir/2").collect()


def test_nothing_there(store: Any) -> None:
    assert list(store.list("nowhere", return_arrow=True)) == []
    batch = store.list("nowhere", return_arrow=True).collect()
    assert (batch.num_rows, batch.schema) == (0, obstore_batch().schema)


def test_from_asyncio(filled: Any) -> None:
    async def run() -> list[Any]:
        chunks = [batch async for batch in filled.list(chunk_size=4, return_arrow=True)]
        return [*chunks, await filled.list(return_arrow=True).collect_async()]

    assert [batch.num_rows for batch in asyncio.run(run())] == [4, 3, 7]


def test_one_level(filled: Any, call: Callable[..., Any]) -> None:
    expected = filled.list_with_delimiter()
    found = call(filled, "list_with_delimiter", return_arrow=True)
    assert type(found["objects"]) is arro3.core.Table
    assert found["common_prefixes"] == expected["common_prefixes"]
    assert rows(found["objects"]) == expected["objects"]
    assert call(filled, "list_with_delimiter", "nowhere", return_arrow=True)["objects"].num_rows == 0


def obstore_batch() -> Any:
    store = obstore.store.MemoryStore()
    store.put("a", b"x")
    return store.list(return_arrow=True).collect()


def test_obstores_schema() -> None:
    store = MemoryStore()
    store.put("a", b"x")
    ours, theirs = store.list(return_arrow=True), obstore_batch()
    assert ours.collect().schema == theirs.schema
    level, other = store.list_with_delimiter(return_arrow=True), obstore.store.MemoryStore()
    assert level["objects"].schema == obstore.list_with_delimiter(other, return_arrow=True)["objects"].schema
    assert pa.schema(theirs.schema).equals(pa.schema(level["objects"].schema), check_metadata=True)


def test_who_reads_them(filled: Any) -> None:
    batch = filled.list(return_arrow=True).collect()
    expected = filled.list().collect()
    assert pl.DataFrame(batch).to_dicts() == expected
    found = duckdb.from_arrow(pa.table(batch)).project("path, size, e_tag").fetchall()
    assert found == [(row["path"], row["size"], row["e_tag"]) for row in expected]
    assert duckdb.sql("select sum(size) from batch").fetchall() == [(sum(row["size"] for row in expected),)]


def test_without_arro3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arro3.core", None)
    store = MemoryStore()
    with pytest.raises(MissingExtraError, match=r"cumulo\[arrow\]"):
        store.list(return_arrow=True)
    with pytest.raises(MissingExtraError):
        store.list_with_delimiter(return_arrow=True)
    assert store.list().collect() == []


def test_a_name_that_is_not_utf8(tmp_path: Any) -> None:
    open(f"{tmp_path}/\udcff", "w").close()
    store = LocalStore(tmp_path)
    assert [meta["path"] for meta in store.list().collect()] == ["\udcff"]
    with pytest.raises(GenericError, match="UTF-8"):
        store.list(return_arrow=True).collect()
