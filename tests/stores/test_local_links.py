"""Symbolic links in a `LocalStore`: those that stay inside are followed, others never, whoever swaps them."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import AlreadyExistsError, BaseError, InvalidPathError, NotFoundError
from cumulo.store import LocalStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store's directory with links of every kind, beside a directory that is none of its business."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/x").write_bytes(b"inside")
    os.symlink("b", root / "a/near")
    os.symlink("../a/b", root / "a/around")
    os.symlink(root / "a/b", root / "absolute")
    os.symlink("a/b/x", root / "file")
    os.symlink("../outside", root / "out")
    os.symlink(tmp_path / "outside", root / "absolute_out")
    os.symlink("../outside/secret", root / "secret")
    os.symlink("a/../../outside/secret", root / "sly")
    os.symlink(f"{root}/../outside", root / "sly_absolute")
    os.symlink(f"{root}-not/x", root / "neighbour")
    os.symlink("/", root / "slash")
    os.symlink("nothing", root / "dangling")
    os.symlink("loop", root / "loop")
    os.symlink("..", root / "a/up")
    return root


def paths(store: LocalStore, *args: Any) -> list[str]:
    return [meta["path"] for meta in store.list(*args).collect()]


OUT = ["out/secret", "absolute_out/secret", "secret", "sly", "sly_absolute/secret", "neighbour", "slash/etc/hostname",
       "a/up/out/secret"]  # fmt: skip
IN = ["a/b/x", "a/near/x", "a/around/x", "absolute/x", "file", "a/up/file", "a/up/a/near/x"]


@pytest.mark.parametrize("path", OUT)
def test_nothing_outside_is_read(root: Path, path: str) -> None:
    store = LocalStore(root)
    for call in (
        lambda: store.get(path),
        lambda: store.head(path),
        lambda: store.get_range(path, start=0, end=1),
        lambda: store.copy(path, "copied"),
    ):
        with pytest.raises(InvalidPathError, match="leads out"):
            call()
    assert not (root / "copied").exists()


@pytest.mark.parametrize("path", ["out/new", "absolute_out/new", "sly_absolute/new", "slash/tmp/new", "out/d/new"])
def test_nothing_outside_is_written(root: Path, path: str) -> None:
    store = LocalStore(root)
    for call in (
        lambda: store.put(path, b""),
        lambda: store.copy("a/b/x", path),
        lambda: store.rename("a/b/x", path),
        lambda: store.delete(path.replace("new", "secret")),
        lambda: store.rename(path.replace("new", "secret"), "y"),
    ):
        with pytest.raises(InvalidPathError, match="leads out"):
            call()
    assert os.listdir(root.parent / "outside") == ["secret"]
    assert store.get("a/b/x").bytes() == b"inside"


@pytest.mark.parametrize("path", IN)
def test_inside_links_are_followed(root: Path, path: str) -> None:
    store = LocalStore(root)
    assert store.get(path).bytes() == b"inside"
    assert store.head(path)["size"] == 6
    assert store.head(path)["e_tag"] == store.head("a/b/x")["e_tag"]


def test_dangling_and_looping(root: Path) -> None:
    store = LocalStore(root)
    with pytest.raises(NotFoundError):
        store.get("dangling")
    with pytest.raises(BaseError):
        store.get("loop")
    with pytest.raises(BaseError):
        store.get("loop/x")


def test_listings(root: Path) -> None:
    store = LocalStore(root)
    found = paths(store)
    assert found == sorted(["a/around/x", "a/b/x", "a/near/x", "absolute/x", "file"])
    assert all(store.get(path).bytes() == b"inside" for path in found)
    level = store.list_with_delimiter()
    assert level["common_prefixes"] == ["a", "absolute"]
    assert [meta["path"] for meta in level["objects"]] == ["file"]
    with pytest.raises(InvalidPathError, match="leads out"):
        paths(store, "out")
    with pytest.raises(InvalidPathError, match="leads out"):
        store.list_with_delimiter("absolute_out")


@pytest.mark.parametrize("path", ["secret", "file", "dangling", "loop", "out"])
def test_a_link_in_the_place_is_replaced_or_removed(root: Path, path: str) -> None:
    store = LocalStore(root)
    with pytest.raises(AlreadyExistsError):
        store.put(path, b"new", mode="create")
    store.put(path, b"new")
    assert not (root / path).is_symlink()
    assert store.get(path).bytes() == b"new"
    (root / path).unlink()
    os.symlink("../outside/secret", root / path)
    store.copy("a/b/x", path)
    assert store.get(path).bytes() == b"inside"
    (root / path).unlink()
    os.symlink("../outside", root / path)
    store.delete(path)
    assert not os.path.lexists(root / path)
    assert (root.parent / "outside/secret").read_bytes() == b"secret"
    assert (root / "a/b/x").read_bytes() == b"inside"


def test_a_renamed_link_takes_the_content_along(root: Path) -> None:
    store = LocalStore(root)
    store.rename("file", "deep/er/file")
    assert store.get("deep/er/file").bytes() == b"inside"
    assert not os.path.lexists(root / "file")
    assert store.get("a/b/x").bytes() == b"inside"
    with pytest.raises(InvalidPathError):
        store.rename("secret", "mine")
    assert (root / "secret").is_symlink()


def test_a_store_that_follows(root: Path) -> None:
    store = LocalStore(root, follow_symlinks=True)
    assert store.get("out/secret").bytes() == b"secret"
    assert store.get("secret").bytes() == b"secret"
    store.put("out/new/x", b"new")
    assert (root.parent / "outside/new/x").read_bytes() == b"new"
    (root / "slash").unlink()  # not the whole disk
    (root / "sly_absolute").unlink()
    assert "out/secret" in paths(store)
    assert "absolute_out/new/x" in paths(store)
    store.put("secret", b"mine")
    assert (root.parent / "outside/secret").read_bytes() == b"secret"
    with pytest.raises(NotFoundError):
        store.get("dangling")


def test_a_root_behind_a_link(root: Path) -> None:
    os.symlink(root, root.parent / "alias")
    store = LocalStore(root.parent / "alias")
    assert store.get("absolute/x").bytes() == b"inside"
    with pytest.raises(InvalidPathError):
        store.get("absolute_out/secret")


def move(source: Path, target: Path) -> None:
    """Rename, whatever another thread has made there meanwhile."""
    while True:
        try:
            os.rename(source, target)
        except OSError:
            shutil.rmtree(target, ignore_errors=True)
        else:
            return


def test_directories_replaced_by_links_meanwhile(root: Path) -> None:
    """One thread swaps a directory for a link out of the store; no call may ever end up outside."""
    store = LocalStore(root)
    (root / "d").mkdir()
    (root / "d/secret").write_bytes(b"public!")
    os.symlink("../outside", root / "l")
    until = threading.Event()
    seen: set[bytes] = set()
    sizes: set[int] = set()

    def swap() -> None:
        while not until.is_set():
            move(root / "d", root / "d2")
            move(root / "l", root / "d")
            move(root / "d", root / "l")
            move(root / "d2", root / "d")

    def use(name: str) -> None:
        for _ in range(400):
            with suppress(BaseError):
                seen.add(bytes(store.get("d/secret").bytes()))
            with suppress(BaseError):
                store.put(name, b"x")
            with suppress(BaseError):
                store.delete(name)
            with suppress(BaseError):
                sizes.update(meta["size"] for meta in store.list("d").collect())

    swapper = threading.Thread(target=swap)
    users = [threading.Thread(target=use, args=(f"d/{n}",)) for n in range(3)]
    for thread in (swapper, *users):
        thread.start()
    for thread in users:
        thread.join()
    until.set()
    swapper.join()
    assert seen <= {b"public!"}
    assert sizes <= {1, 7}
    assert os.listdir(root.parent / "outside") == ["secret"]
    assert (root.parent / "outside/secret").read_bytes() == b"secret"
