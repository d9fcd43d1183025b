"""delete_prefix: all that is below a prefix and nothing else, on every store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cumulo.store import MemoryStore
from tests.servers import S3Server

from .conftest import azure_store, gcs_store, s3_store

PATHS = ["a.txt", "dir/1", "dir/2 é", "dir/sub/3", "dir/sub/sub/4", "dir2/5", "dir.x", "z"]


@pytest.fixture(params=["ministack", "moto", "azurite", "gcs", "memory"])
def flat(request: pytest.FixtureRequest) -> Any:
    """An empty store that has any name as a key."""
    if request.param == "memory":
        return MemoryStore()
    make = {"azurite": azure_store, "gcs": gcs_store}.get(request.param, s3_store)
    return make(request.getfixturevalue(request.param))


@pytest.fixture
def filled(store: Any) -> Any:
    for path in PATHS:
        store.put(path, b"x")
    return store


def left(store: Any) -> list[str]:
    return sorted(meta["path"] for meta in store.list().collect())


def test_whole_segments(filled: Any, call: Callable[..., Any]) -> None:
    result = call(filled, "delete_prefix", "dir")
    assert (result.deleted, result.errors) == (4, [])
    assert left(filled) == ["a.txt", "dir.x", "dir2/5", "z"]
    assert call(filled, "delete_prefix", "dir").deleted == 0


def test_slashes_at_the_ends_of_keys(flat: Any) -> None:
    """One at each end of a path is ignored, of what a listing gives none: `dir/` is below `dir`, and `dir` is not."""
    for path in ("dir", "dir//", "dir/sub//", "dir/1", "//dir/2"):
        flat.put(path, b"x")
    assert left(flat) == ["/dir/2", "dir", "dir/", "dir/1", "dir/sub/"]
    assert flat.delete_prefix("dir").deleted == 3
    assert left(flat) == ["/dir/2", "dir"]
    assert flat.delete_prefix("", everything=True).deleted == 2
    assert left(flat) == []


def test_a_key_that_is_the_stores_prefix(moto: S3Server) -> None:
    whole = s3_store(moto)
    store = s3_store(moto, bucket=whole.config["bucket"], prefix="dir")
    for path in ("dir", "dir//", "dir/1", "dir2"):
        whole.put(path, b"x")
    assert store.delete_prefix("", everything=True).deleted == 2
    assert left(whole) == ["dir", "dir2"]


def test_any_beginning(filled: Any) -> None:
    assert filled.delete_prefix("dir", substring=True).deleted == 6
    assert left(filled) == ["a.txt", "z"]


def test_one_at_a_time(filled: Any) -> None:
    assert filled.delete_prefix("dir/sub/", max_concurrency=1).deleted == 2
    assert len(left(filled)) == 6


@pytest.mark.parametrize("prefix", ["", "/", "//"])
def test_everything_has_to_be_asked_for(filled: Any, prefix: str, call: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="everything=True"):
        call(filled, "delete_prefix", prefix)
    with pytest.raises(ValueError, match="everything=True"):
        filled.delete_prefix(prefix, substring=True)
    with pytest.raises(ValueError, match="'dir'"):
        filled.delete_prefix("dir", everything=True)
    assert left(filled) == sorted(PATHS)


def test_everything(filled: Any) -> None:
    assert filled.delete_prefix("", everything=True).deleted == len(PATHS)
    assert left(filled) == []


def test_wrong_arguments(store: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        store.delete_prefix(None)
    with pytest.raises(ValueError, match="max_concurrency"):
        store.delete_prefix("a", max_concurrency=0)
    with pytest.raises(ValueError, match="errors"):
        store.delete_prefix("a", errors="ignore")
