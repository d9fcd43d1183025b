"""What both libraries return and raise for the same calls on the same real server, local disk and memory."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import obstore.exceptions
import obstore.store
import pytest

import cumulo
import cumulo.exceptions
import cumulo.store
from tests.servers import S3Server


@pytest.fixture(params=["ministack", "moto", "local", "memory"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> list[tuple[Any, Any]]:
    """(library, store) of each; a store of their own each, with the same objects."""
    if request.param == "memory":
        stores = [obstore.store.MemoryStore(), cumulo.store.MemoryStore()]
    elif request.param == "local":
        stores = [
            obstore.store.LocalStore(tmp_path / "a", mkdir=True),
            cumulo.store.LocalStore(tmp_path / "b", mkdir=True),
        ]
    else:
        server: S3Server = request.getfixturevalue(request.param)
        options: dict[str, Any] = {
            "endpoint": server.endpoint, "region": server.region, "access_key_id": server.access_key_id,
            "secret_access_key": server.secret_access_key, "client_options": {"allow_http": True},
            "copy_if_not_exists": "multipart",
        }  # fmt: skip
        stores = [kind(server.new_bucket(), **options) for kind in (obstore.store.S3Store, cumulo.store.S3Store)]
    for store in stores:
        for path in ("a.txt", "dir/b.txt", "dir/sub/c.txt"):
            store.put(path, path.encode())
    return list(zip((obstore, cumulo), stores, strict=True))


def shape(value: Any) -> Any:
    """Keys and types, all the way down."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shape(each) for each in value]
    return "Bytes" if type(value).__name__ == "Bytes" else type(value)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "put": lambda lib, store: lib.put(store, "new", b"content"),
    "head": lambda lib, store: lib.head(store, "a.txt"),
    "list": lambda lib, store: lib.list(store).collect(),
    "list_prefix": lambda lib, store: lib.list(store, "dir").collect(),
    "list_chunks": lambda lib, store: list(lib.list(store, chunk_size=2)),
    "list_offset": lambda lib, store: lib.list(store, offset="a.txt").collect(),
    "list_with_delimiter": lambda lib, store: lib.list_with_delimiter(store, "dir"),
    "meta": lambda lib, store: lib.get(store, "a.txt").meta,
    "range": lambda lib, store: lib.get(store, "a.txt", options={"range": (1, 3)}).range,
    "attributes": lambda lib, store: lib.get(store, "a.txt").attributes,
    "bytes": lambda lib, store: lib.get(store, "a.txt").bytes(),
    "stream": lambda lib, store: list(lib.get(store, "a.txt").stream()),
    "get_range": lambda lib, store: lib.get_range(store, "a.txt", start=0, end=3),
    "get_ranges": lambda lib, store: lib.get_ranges(store, "a.txt", starts=[0, 1], lengths=[1, 2]),
    "copy": lambda lib, store: lib.copy(store, "a.txt", "z"),
    "rename": lambda lib, store: lib.rename(store, "a.txt", "z"),
    "delete": lambda lib, store: lib.delete(store, ["a.txt", "dir/b.txt"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_have_one_shape(both: Any, name: str) -> None:
    theirs, mine = (shape(CALLS[name](lib, store)) for lib, store in both)
    if name == "attributes":  # they differ by server and library in what is sent with a put
        assert {type(each) for each in (theirs, mine)} == {dict}
    else:
        assert mine == theirs


@pytest.mark.parametrize("name", ["list", "list_with_delimiter"])
def test_paths_are_the_same(both: Any, name: str) -> None:
    def paths(found: Any) -> Any:
        if isinstance(found, dict):
            return sorted(found["common_prefixes"]), sorted(meta["path"] for meta in found["objects"])
        return sorted(meta["path"] for meta in found)

    theirs, mine = (paths(CALLS[name](lib, store)) for lib, store in both)
    assert mine == theirs


def etag(store: Any) -> str:
    return store.head("a.txt")["e_tag"]


FAILURES: dict[str, Callable[[Any, Any], Any]] = {
    "head of none": lambda lib, store: lib.head(store, "none"),
    "get of none": lambda lib, store: lib.get(store, "none"),
    "get_range of none": lambda lib, store: lib.get_range(store, "none", start=0, end=1),
    "create": lambda lib, store: lib.put(store, "a.txt", b"x", mode="create"),
    "if_match": lambda lib, store: lib.get(store, "a.txt", options={"if_match": '"other"'}),
    "if_none_match": lambda lib, store: lib.get(store, "a.txt", options={"if_none_match": etag(store)}),
    "copy to one": lambda lib, store: lib.copy(store, "a.txt", "dir/b.txt", overwrite=False),
    "copy of none": lambda lib, store: lib.copy(store, "none", "z"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_failures_have_one_name(both: Any, name: str) -> None:
    raised = []
    for lib, store in both:
        with pytest.raises((lib.exceptions.BaseError, FileNotFoundError, FileExistsError)) as caught:
            FAILURES[name](lib, store)
        raised.append(type(caught.value))
    theirs, mine = raised
    assert theirs.__name__ in [kind.__name__ for kind in mine.__mro__]


def test_exceptions_are_in_one_tree() -> None:
    for name in (each for each in vars(obstore.exceptions) if each.endswith("Error")):
        theirs, mine = getattr(obstore.exceptions, name), getattr(cumulo.exceptions, name)
        wanted = [base.__name__ for base in theirs.__mro__ if base not in (object, BaseException, Exception)]
        assert set(wanted) <= {base.__name__ for base in mine.__mro__}


def test_async_results_are_awaitable_alike(both: Any) -> None:
    async def read(store: Any) -> Any:
        result = await asyncio.create_task(store.get_async("a.txt"))
        listed = [meta["path"] async for chunk in store.list() for meta in chunk]
        head, level = await asyncio.gather(store.head_async("a.txt"), store.list_with_delimiter_async())
        return bytes(await result.bytes_async()), sorted(listed), shape(head), shape(level)

    theirs, mine = (asyncio.run(read(store)) for _, store in both)
    assert mine == theirs


def test_bytes_are_made_alike() -> None:
    for lib in (obstore, cumulo):
        made: Any = lib.Bytes
        assert made() == b""
        assert made(b"abc") == made(buf=b"abc") == b"abc"
        assert made(bytearray(b"abc"))[1:].to_bytes() == b"bc"
        assert memoryview(made(b"abc")).nbytes == len(made(b"abc")) == 3
        assert inspect.isclass(made)
