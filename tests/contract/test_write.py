"""put, delete, copy, rename."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import AlreadyExistsError, InvalidPathError, NotFoundError, NotSupportedError, PreconditionError
from cumulo.store import HTTPStore

MIB = 1024 * 1024
LARGE = bytes(range(256)) * (4096 * 12)  # 12 MiB: three parts of 5 MiB


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def _sources(tmp_path: Path, data: bytes) -> dict[str, Callable[[], Any]]:
    def file() -> Path:
        path = tmp_path / "source.bin"
        path.write_bytes(data)
        return path

    return {
        "bytes": lambda: data,
        "bytearray": lambda: bytearray(data),
        "memoryview": lambda: memoryview(data),
        "path": file,
        "file": lambda: file().open("rb"),
        "raw file": lambda: file().open("rb", buffering=0),
        "bytesio": lambda: io.BytesIO(data),
        "iterator": lambda: _pieces(data, 70_000),
        "list": lambda: list(_pieces(data, 3 * MIB)) or [b""],
    }


@pytest.mark.parametrize(
    "kind", ["bytes", "bytearray", "memoryview", "path", "file", "raw file", "bytesio", "iterator", "list"]
)
@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
def test_put_from_any_source(
    store: Any, call: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, kind: str, data: bytes
) -> None:
    source = _sources(tmp_path_factory.mktemp("source"), data)[kind]()
    result = call(store, "put", "x/y", source, chunk_size=5 * MIB)
    assert result["e_tag"]
    assert store.get("x/y").bytes() == data
    if hasattr(source, "close"):
        source.close()


def test_put_from_an_async_iterator(store: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in _pieces(LARGE, 1_000_000):
            await asyncio.sleep(0)
            yield piece

    async def run() -> None:
        await store.put_async("x", pieces())

    asyncio.run(run())
    assert store.get("x").bytes() == LARGE


def test_get_into_put(store: Any) -> None:
    store.put("from", LARGE)

    async def pipe() -> None:
        await store.put_async("to", await store.get_async("from"))

    asyncio.run(pipe())
    store.put("to2", store.get("from"))
    assert store.get("to").bytes() == LARGE
    assert store.get("to2").bytes() == LARGE


@pytest.mark.parametrize("use_multipart", [True, False])
@pytest.mark.parametrize("data", [b"", b"abc", LARGE], ids=["empty", "small", "large"])
def test_multipart_can_be_forced(store: Any, use_multipart: bool, data: bytes) -> None:
    for source in (data, _pieces(data, 100_000)):
        store.put("x", source, use_multipart=use_multipart)
        assert store.get("x").bytes() == data


def test_a_file_is_put_from_where_it_stands(store: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("source") / "f"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.read(4)
        store.put("x", file)
    assert store.get("x").bytes() == b"456789"


@pytest.mark.parametrize("bad", ["a str", 5, None, io.StringIO("text"), {"a": b"b"}, [1, 2], ["text"]])
def test_what_can_not_be_put(store: Any, bad: Any) -> None:
    with pytest.raises(TypeError):
        store.put("x", bad)
    with pytest.raises(FileNotFoundError):
        store.head("x")


def test_a_pipe_by_name_is_refused(
    store: Any, call: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whoever opens one waits for who writes to it."""
    path = tmp_path_factory.mktemp("pipes") / "fifo"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="fifo is not a regular file"):
        call(store, "put", "x", path)
    with pytest.raises(FileNotFoundError):
        store.head("x")


def test_an_iterator_that_fails_leaves_nothing(store: Any, call: Callable[..., Any]) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a" * (11 * MIB)
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError, match="source failed"):
        call(store, "put", "x", pieces())
    with pytest.raises(FileNotFoundError):
        store.head("x")


def test_create_and_update(store: Any, call: Callable[..., Any]) -> None:
    if "swift" in getattr(store, "tag", ""):
        return
    call(store, "put", "x", b"one", mode="create")
    with pytest.raises(AlreadyExistsError) as caught:
        call(store, "put", "x", b"two", mode="create")
    assert isinstance(caught.value, FileExistsError)
    etag = store.head("x")["e_tag"]
    try:
        call(store, "put", "x", b"three", mode={"e_tag": etag})
    except NotSupportedError:
        return  # Swift and local disks have no conditional overwrite: they say so, and nothing was written
    assert store.get("x").bytes() == b"three"
    with pytest.raises(PreconditionError):
        call(store, "put", "x", b"four", mode={"e_tag": etag})
    assert store.get("x").bytes() == b"three"


def test_modes_that_are_none(store: Any) -> None:
    with pytest.raises(ValueError, match="mode"):
        store.put("x", b"", mode="creat")
    with pytest.raises(ValueError, match="e_tag"):
        store.put("x", b"", mode={})


def test_attributes(store: Any) -> None:
    own = "my_key" if type(store).__name__ == "AzureStore" else "my-key"  # Azure's names are those of variables
    given = {
        "content-TYPE": "image/tiff",
        "Cache-Control": "no-cache",
        "Content-Disposition": "inline",
        own: "v 1",
    }
    for data in (b"x", LARGE):
        try:
            store.put("x", data, attributes=given)
        except NotSupportedError:
            return  # local disks
        found = store.get("x").attributes
        expected = {
            "Content-Type": "image/tiff",
            "Cache-Control": "no-cache",
            "Content-Disposition": "inline",
            own: "v 1",
        }
        assert {k: found.get(k) for k in expected} == expected


@pytest.mark.parametrize(
    "bad", [{"a\r\nb": "x"}, {"k": "v\r\nX-Injected: 1"}, {"k": "\x00"}, {"sp ace": "x"}, {"": "x"}]
)
def test_attributes_can_not_inject(store: Any, bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"control|name"):
        store.put("x", b"", attributes=bad)


@pytest.mark.parametrize("path", ["", "/"])
def test_an_empty_path_is_refused(store: Any, path: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: store.put(path, b""), lambda: store.delete(path), lambda: store.delete([path]),
        lambda: store.copy("x", path), lambda: store.rename(path, "x"), lambda: store.rename("x", path),
    ]  # fmt: skip
    if not isinstance(store, HTTPStore):  # there it is what the URL names
        attempts += [lambda: store.get(path), lambda: store.head(path), lambda: store.copy(path, "x")]
    for attempt in attempts:
        with pytest.raises(InvalidPathError):
            attempt()


def test_delete_one(store: Any, call: Callable[..., Any]) -> None:
    store.put("a", b"x")
    call(store, "delete", "a")
    with pytest.raises(FileNotFoundError):
        store.head("a")


def test_delete_a_missing_object(store: Any) -> None:
    if type(store).__name__ in ("AzureStore", "GCSStore", "HTTPStore", "LocalStore"):
        with pytest.raises(FileNotFoundError):
            store.delete("no")
        with pytest.raises(FileNotFoundError):
            store.delete(["no", "neither"])
    else:
        store.delete("no")
        store.delete(["no", "neither"])


def test_delete_many(store: Any, call: Callable[..., Any]) -> None:
    paths = [f"d/{i} & <{i}>" for i in range(25)]
    for path in paths:
        store.put(path, b"x")
    store.put("kept", b"x")
    call(store, "delete", paths)
    assert [meta["path"] for meta in store.list().collect()] == ["kept"]
    call(store, "delete", [])


def test_copy(store: Any, call: Callable[..., Any]) -> None:
    store.put("from é", b"content")
    call(store, "copy", "from é", "to/there")
    assert store.get("to/there").bytes() == b"content"
    assert store.get("from é").bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        call(store, "copy", "missing", "x")


def test_copy_without_overwrite(store: Any) -> None:
    store.put("a", b"1")
    store.copy("a", "b", overwrite=False)
    assert store.get("b").bytes() == b"1"
    store.put("a", b"2")
    with pytest.raises(AlreadyExistsError):
        store.copy("a", "b", overwrite=False)
    assert store.get("b").bytes() == b"1"


def test_rename(store: Any, call: Callable[..., Any]) -> None:
    store.put("a", b"1")
    call(store, "rename", "a", "b/c")
    assert store.get("b/c").bytes() == b"1"
    with pytest.raises(FileNotFoundError):
        store.head("a")


def test_rename_onto_itself_keeps_it(store: Any) -> None:
    store.put("a", b"1")
    store.rename("a", "a")
    store.rename("a", "/a")
    with pytest.raises(AlreadyExistsError):
        store.rename("a", "a", overwrite=False)
    assert store.get("a").bytes() == b"1"
    with pytest.raises(FileNotFoundError):
        store.rename("no", "no")


def test_rename_without_overwrite(store: Any) -> None:
    store.put("a", b"1")
    store.put("b", b"2")
    with pytest.raises(AlreadyExistsError):
        store.rename("a", "b", overwrite=False)
    assert store.get("a").bytes() == b"1"
    assert store.get("b").bytes() == b"2"


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_source_that_is_missing_is_named(store: Any, call: Callable[..., Any], overwrite: bool) -> None:
    for verb in ("copy", "rename"):
        with pytest.raises(NotFoundError, match=f"'none' in {re.escape(repr(store))}") as caught:
            call(store, verb, "none", "target", overwrite=overwrite)
        assert (caught.value.path, caught.value.store) == ("none", repr(store))
