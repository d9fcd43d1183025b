"""`LocalStore`: construction, paths, errors, what it refuses."""

from __future__ import annotations

import os
import pickle
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import (
    BaseError,
    GenericError,
    InvalidPathError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
)
from cumulo.store import LocalStore


def paths(store: LocalStore, *args: Any, **kwargs: Any) -> list[str]:
    return [meta["path"] for meta in store.list(*args, **kwargs).collect()]


# --- what a store is -------------------------------------------------------------------------------------------------


def test_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for given in ("d", Path("d"), str(tmp_path / "d"), tmp_path / "d"):
        store = LocalStore(given)
        store.put("x", b"1")
        assert store.prefix == Path(given)
        assert repr(store) == f"LocalStore({str(given)!r})"
    relative = LocalStore("d")
    monkeypatch.chdir("/")
    assert relative.get("x").bytes() == b"1"
    assert LocalStore().prefix is None
    assert LocalStore().get(f"{tmp_path}/d/x").bytes() == b"1"
    assert repr(LocalStore()) == "LocalStore()"


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(GenericError, match="mkdir=True"):
        LocalStore(tmp_path / "a/b")
    LocalStore(tmp_path / "a/b", mkdir=True).put("x", b"")
    assert (tmp_path / "a/b/x").exists()
    with pytest.raises(GenericError, match="not a directory"):
        LocalStore(tmp_path / "a/b/x")


def test_a_directory_that_went_away(tmp_path: Path) -> None:
    store, making = LocalStore(tmp_path / "d", mkdir=True), LocalStore(tmp_path / "d", mkdir=True)
    store = LocalStore(tmp_path / "d")
    (tmp_path / "d").rmdir()
    for call in (lambda: store.put("x", b""), lambda: store.get("x"), lambda: paths(store)):
        with pytest.raises(NotFoundError, match="directory is gone"):
            call()
    making.put("x", b"")
    assert paths(store) == ["x"]


def test_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path, automatic_cleanup=True)
    assert store == LocalStore(str(tmp_path), automatic_cleanup=True)
    assert hash(store) == hash(LocalStore(tmp_path))
    assert store != LocalStore(tmp_path)
    assert store != "other"
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.prefix == tmp_path
    monkeypatch.chdir(tmp_path)
    relative = pickle.dumps(LocalStore(".", fsync=True))
    monkeypatch.chdir("/")
    assert pickle.loads(relative) == LocalStore(tmp_path, fsync=True)
    assert pickle.loads(pickle.dumps(LocalStore())) == LocalStore()


def test_from_url(tmp_path: Path) -> None:
    (tmp_path / "a b%").mkdir()
    store = LocalStore.from_url((tmp_path / "a b%").as_uri(), automatic_cleanup=True)
    assert store == LocalStore(tmp_path / "a b%", automatic_cleanup=True)
    for wrong in ("s3://b/c", "file://host/c", "/a", "file:///a?b"):
        with pytest.raises(ValueError, match="file:///path"):
            LocalStore.from_url(wrong)


def test_etags_are_obstores(tmp_path: Path) -> None:
    etag = LocalStore(tmp_path).put("x", b"12345")["e_tag"]
    status = (tmp_path / "x").stat()
    assert etag == f'"{status.st_ino:x}-{status.st_mtime_ns // 1000:x}-5"'


# --- paths -----------------------------------------------------------------------------------------------------------

REFUSED = ["..", "a/..", "../x", "a/../../x", ".", "./x", "a/./b", "a//b", "//x", "a\0b", "a" * 256, "é" * 128,
           "d/.x.cumulo-12-0123456789abcdef.tmp", "\ud800"]  # fmt: skip
ODD = ["x%", "x%20", "x%2F", "x#1", "x#?", "a b", "*", "~", "a\\b", "..x", "x..", "...", "new\nline", "\x01\x7f", "-rf",
       "é", "e\u0301", "日本", "\udcff", "a" * 255, "é" * 127, ".hidden", "a/b" * 300 + "/c"]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_paths_that_no_file_has(tmp_path: Path, path: str) -> None:
    (tmp_path / "x").write_bytes(b"outside")
    store = LocalStore(tmp_path / "d", mkdir=True)
    for call in (
        lambda: store.get(path),
        lambda: store.head(path),
        lambda: store.get_range(path, start=0, end=1),
        lambda: store.get_ranges(path, starts=[0], ends=[1]),
        lambda: store.put(path, b""),
        lambda: store.delete(path),
        lambda: store.copy(path, "y"),
        lambda: store.copy("y", path),
        lambda: store.rename(path, "y"),
        lambda: store.rename("y", path),
        lambda: paths(store, path),
        lambda: store.list_with_delimiter(path),
    ):
        with pytest.raises(InvalidPathError) as caught:
            call()
        assert isinstance(caught.value, ValueError)
    assert os.listdir(tmp_path / "d") == []


@pytest.mark.parametrize("path", ODD)
def test_odd_paths_are_stored_as_they_are(tmp_path: Path, path: str) -> None:
    store = LocalStore(tmp_path)
    store.put("/" + path + "/", b"1")
    store.put("zz/other", b"")
    assert store.get(path).bytes() == b"1"
    assert sorted(paths(store)) == sorted([path, "zz/other"])
    if len(path) < 300:
        assert os.listdir(os.fsencode(tmp_path)).count(os.fsencode(path)) == 1
    store.copy(path, "y")
    store.rename(path, "z")
    store.rename("z", path)
    store.delete(path)
    assert paths(store) == ["y", "zz/other"]


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = b"bad\xff\xfe.tif"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(b"1")
    store = LocalStore(tmp_path)
    found = paths(store)
    assert found == [name.decode("utf-8", "surrogateescape")]
    assert store.get(found[0]).bytes() == b"1"
    assert store.list_with_delimiter()["objects"][0] == store.head(found[0])
    store.delete(found)
    assert paths(store) == []


# --- errors ----------------------------------------------------------------------------------------------------------


def test_directories_are_no_objects(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("d/x", b"1")
    for call in (
        lambda: store.get("d"),
        lambda: store.head("d"),
        lambda: store.copy("d", "e"),
        lambda: store.rename("d", "e"),
        lambda: store.get("d/x/y"),
        lambda: store.delete("d/x/y"),
    ):
        with pytest.raises(NotFoundError):
            call()
    for call in (lambda: store.delete("d"), lambda: store.put("d", b""), lambda: store.put("d/x/y", b""),
                 lambda: store.copy("d/x", "d"), lambda: store.rename("d/x", "d")):  # fmt: skip
        with pytest.raises(GenericError):
            call()
    assert paths(store) == ["d/x"]
    (tmp_path / "empty").mkdir()
    assert paths(store, "empty") == []
    assert store.list_with_delimiter()["common_prefixes"] == ["d", "empty"]


def test_what_files_cannot_have(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for options in ({"attributes": {"Content-Type": "a/b"}}, {"mode": {"e_tag": '"1"'}}):
        with pytest.raises(NotSupportedError) as caught:
            store.put("x", b"", **options)
        assert isinstance(caught.value, NotImplementedError)
    store.put("x", b"", attributes={}, tags={"as": "obstore"})
    assert store.get("x").attributes == {}


def test_delete_of_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a", b"")
    store.put("b", b"")
    with pytest.raises(NotFoundError) as caught:
        store.delete(["a", "nothing", "b"])
    assert (caught.value.operation, caught.value.path, caught.value.code) == ("delete", "nothing", "ENOENT")
    assert paths(store) == ["b"]


@pytest.mark.timeout(10)
def test_pipes_devices_and_sockets(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    store.put("x", b"1")
    for name in ("fifo", "socket"):
        for call, *arguments in (
            (store.get, name),
            (store.head, name),
            (store.delete, name),
            (store.put, name, b""),
            (store.copy, "x", name),
            (store.copy, name, "y"),
            (store.rename, "x", name),
            (store.rename, name, "y"),
        ):
            with pytest.raises(GenericError, match="not a regular file"):
                call(*arguments)
    assert paths(store) == ["x"]
    with pytest.raises(GenericError, match="not a regular file"):
        LocalStore().get("dev/null")
    with pytest.raises(GenericError, match="not a regular file"):
        LocalStore().put("dev/null", b"")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_what_is_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("x", b"1")

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    for call in (lambda: store.get("x"), lambda: store.put("x", b""), lambda: paths(store)):
        with pytest.raises(PermissionDeniedError) as caught:
            call()
        assert isinstance(caught.value, PermissionError)
        assert caught.value.code == "EACCES"
        assert isinstance(caught.value.__cause__, OSError)


def test_errors_can_be_pickled(tmp_path: Path) -> None:
    with pytest.raises(BaseError) as caught:
        LocalStore(tmp_path).get("x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.path) == (NotFoundError, str(caught.value), "x")


# --- clean-up --------------------------------------------------------------------------------------------------------


def test_automatic_cleanup(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "root", mkdir=True, automatic_cleanup=True)
    store.put("a/b/c/x", b"")
    store.put("a/y", b"")
    store.delete("a/b/c/x")
    assert sorted(os.listdir(tmp_path / "root/a")) == ["y"]
    store.delete("a/y")
    assert os.listdir(tmp_path / "root") == []
    plain = LocalStore(tmp_path / "root")
    plain.put("a/b/x", b"")
    plain.delete("a/b/x")
    assert (tmp_path / "root/a/b").is_dir()


def test_no_descriptor_is_lost(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    if not before:
        pytest.skip("no /proc")
    store.put("a/b/c", bytes(1 << 20))
    results = [store.get("a/b/c") for _ in range(50)]
    streams = [store.get("a/b/c").stream(1000) for _ in range(50)]
    for stream in streams:
        next(stream)
    for result in results[:25]:
        result.bytes()
    for path in ("no", "a/b", "a/b/c/d"):
        for call in (store.get, store.head, store.delete):
            with pytest.raises(BaseError):
                call(path)
        with pytest.raises(BaseError):
            store.put("a/b", b"")
    listing = store.list(chunk_size=1)
    next(listing)
    assert len(os.listdir("/proc/self/fd")) == before + 75
    del results, result, streams, stream, listing
    assert len(os.listdir("/proc/self/fd")) == before
