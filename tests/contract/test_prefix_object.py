"""Stores whose prefix, or URL, names an object: an empty path is that object, as in obstore, but to read only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import cumulo
from cumulo.exceptions import InvalidPathError
from cumulo.store import AzureStore, GCSStore, HTTPStore, MemoryStore, S3Store

from .conftest import azure_store, gcs_store, s3_store

DATA = bytes(range(256))
WRITES = (
    ("put", "", b"x"),
    ("put", "/", b"x"),
    ("delete", ""),
    ("delete", ["x", "/"]),
    ("copy", "x", ""),
    ("rename", "", "x"),
    ("rename", "x", "/"),
)


@pytest.fixture(params=["moto", "azurite", "gcs", "webdav"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A store, and one whose prefix is the object `dir/a b.bin` there."""
    server = request.getfixturevalue(request.param)
    if request.param == "webdav":
        options: Any = {"client_options": {"allow_http": True}}
        whole: Any = HTTPStore(f"{server}/prefix-object", **options)
        one: Any = HTTPStore(f"{server}/prefix-object/dir/a%20b.bin", **options)
    else:
        make: Any = {"azurite": azure_store, "gcs": gcs_store}.get(request.param, s3_store)
        kind: Any = {"azurite": AzureStore, "gcs": GCSStore}.get(request.param, S3Store)
        whole = make(server)
        given = {**whole.config, "client_options": whole.client_options}
        if request.param == "gcs":
            given["base_url"] = server.url
        one = kind(prefix="dir/a b.bin", **given)
    whole.put("dir/a b.bin", DATA)
    return whole, one


@pytest.mark.parametrize("path", ["", "/"])
def test_it_is_read(pair: tuple[Any, Any], call: Callable[..., Any], path: str) -> None:
    _, one = pair
    found = call(one, "get", path)
    assert found.meta["path"] == ""
    assert found.bytes() == DATA
    assert call(one, "head", path)["size"] == 256
    assert call(one, "get_range", path, start=3, end=7) == DATA[3:7]
    assert call(one, "get_ranges", path, starts=[0, 200], lengths=[2, 2]) == [DATA[:2], DATA[200:202]]
    with cumulo.open_reader(one, path) as file:
        file.seek(-2, 2)
        assert file.read() == DATA[-2:]


def test_it_is_not_written(pair: tuple[Any, Any], call: Callable[..., Any]) -> None:
    """A name that happens to be empty would take it away."""
    whole, one = pair
    for verb, *arguments in WRITES:
        with pytest.raises(InvalidPathError):
            call(one, verb, *arguments)
    with pytest.raises(InvalidPathError):
        cumulo.open_writer(one, "")
    with pytest.raises(InvalidPathError):
        cumulo.transfer.copy(MemoryStore(), "x", one, "")
    assert whole.get("dir/a b.bin").bytes() == DATA


def test_without_a_prefix_there_is_none(moto: Any, call: Callable[..., Any]) -> None:
    for store in (s3_store(moto), MemoryStore()):
        for verb, arguments in (("get", ("",)), ("head", ("/",)), ("put", ("", b"x")), ("delete", ("",))):
            with pytest.raises(InvalidPathError):
                call(store, verb, *arguments)
