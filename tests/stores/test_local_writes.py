"""A `LocalStore` never shows half a file and leaves nothing behind: errors, full disks, kills, forks, cancels."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import AlreadyExistsError, BaseError, GenericError, PermissionDeniedError
from cumulo.store import LocalStore

MIB = 1 << 20


def files(directory: Path) -> list[str]:
    """Everything below a directory, directories with a slash."""
    found = [str(path.relative_to(directory)) + ("/" if path.is_dir() else "") for path in directory.rglob("*")]
    return sorted(found)


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A child that runs some code and prints when it is ready."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ENDLESS = """
    import sys, time
    from cumulo.store import LocalStore

    def pieces():
        for number in range(10_000):
            yield b"x" * 2_000_000
            if number == 5:
                print("ready", flush=True)
            if number > 5:
                time.sleep(0.01)

    LocalStore(sys.argv[1]).put("deep/x", pieces())
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("deep/x", b"old")
    with run_python(ENDLESS, str(tmp_path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert store.remove_leftovers(older_than_s=0) == []  # it is being written
        child.kill()
        child.communicate()
    assert store.get("deep/x").bytes() == b"old"
    assert [meta["path"] for meta in store.list().collect()] == ["deep/x"]
    assert [meta["path"] for meta in store.list_with_delimiter("deep")["objects"]] == ["deep/x"]
    assert len(os.listdir(tmp_path / "deep")) == 2
    assert store.remove_leftovers() == []  # not an hour old
    removed = store.remove_leftovers(older_than_s=0)
    assert len(removed) == 1
    assert removed[0].startswith("deep/.x.cumulo-")
    assert files(tmp_path) == ["deep/", "deep/x"]


def test_ctrl_c(tmp_path: Path) -> None:
    with run_python(ENDLESS, str(tmp_path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
    assert time.monotonic() - started < 50  # it writes for longer than that
    assert "KeyboardInterrupt" in told
    assert files(tmp_path) == []


def test_ctrl_c_in_a_large_put_from_memory(tmp_path: Path) -> None:
    code = """
        import os, signal, sys, threading
        from cumulo.store import LocalStore
        content = bytes(1 << 30)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        for number in range(100):
            LocalStore(sys.argv[1]).put("x", content)
    """
    with run_python(code, str(tmp_path)) as child:
        _, told = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in told
    assert files(tmp_path) in ([], ["x"])
    if files(tmp_path):
        assert (tmp_path / "x").stat().st_size == 1 << 30


@pytest.mark.parametrize("source", ["memory", "file", "iterator", "copy"])
def test_no_more_room(tmp_path: Path, source: str) -> None:
    """The limit of a file's size stands for a full disk: the write fails half way."""
    content = bytes(4 * MIB)
    (tmp_path / "source").write_bytes(content)
    store = LocalStore(tmp_path / "root", mkdir=True)
    store.put("x", b"old")
    (tmp_path / "root/large").write_bytes(content)
    given: dict[str, Any] = {"memory": content, "file": tmp_path / "source", "iterator": [content[:MIB]] * 4}
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    try:
        for path in ("x", "new/deep/y"):
            call = store.copy if source == "copy" else store.put
            arguments = ("large", path) if source == "copy" else (path, given[source])
            with pytest.raises(GenericError) as caught:
                call(*arguments)
            assert (caught.value.code, caught.value.path) == ("EFBIG", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(tmp_path / "root") == ["large", "x"]
    assert store.get("x").bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "kind"), [(28, GenericError), (30, PermissionDeniedError), (122, GenericError), (5, GenericError)]
)
def test_what_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[BaseError]
) -> None:
    store = LocalStore(tmp_path)

    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(kind) as caught:
        store.put("a/b/x", b"1")
    monkeypatch.undo()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.code in ("ENOSPC", "EROFS", "EDQUOT", "EIO")
    assert files(tmp_path) == []


def test_modes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    before = os.umask(0o027)
    try:
        store.put("new", b"1")
        store.put("created", b"1", mode="create")
        store.copy("new", "copied")
        for name in ("new", "created", "copied"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
        os.chmod(tmp_path / "new", 0o604)
        store.put("new", b"2")
        store.copy("created", "new")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_copies_are_real(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a", bytes(3 * MIB) + b"end")
    store.copy("a", "b")
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino
    with (tmp_path / "a").open("r+b") as file:
        file.write(b"changed")
    assert store.get("b").bytes() == bytes(3 * MIB) + b"end"


@pytest.mark.parametrize("missing", ["rename_new", "copy_file_range", "both"])
def test_without_what_not_every_system_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    from cumulo import _native

    def cannot(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    if missing != "copy_file_range":
        monkeypatch.setattr(_native, "rename_new", cannot)
    if missing != "rename_new":
        monkeypatch.setattr(os, "copy_file_range", cannot, raising=False)
    store = LocalStore(tmp_path)
    store.put("a", b"1" * MIB, mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("a", b"2", mode="create")
    store.copy("a", "b", overwrite=False)
    store.rename("b", "c", overwrite=False)
    with pytest.raises(AlreadyExistsError):
        store.rename("a", "c", overwrite=False)
    store.put("d", tmp_path / "c")
    assert files(tmp_path) == ["a", "c", "d"]
    assert store.get("d").bytes() == b"1" * MIB


def test_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(stat.S_IFMT(os.fstat(descriptor).st_mode))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    LocalStore(tmp_path).put("plain", b"")
    assert synced == []
    store = LocalStore(tmp_path, fsync=True)
    store.put("a/b/x", b"1")
    assert synced == [stat.S_IFREG, *[stat.S_IFDIR] * 3]
    synced.clear()
    store.rename("a/b/x", "y")
    store.delete("y")
    assert synced == [stat.S_IFDIR] * 3


def test_long_names(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("n" * 255, "é" * 127):
        store.put(name, iter([b"1", b"2"]))
        assert store.get(name).bytes() == b"12"


async def test_cancel(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("x", b"old")

    async def endless() -> Any:
        while True:
            yield b"x" * MIB
            await asyncio.sleep(0.001)

    for path, source in (("x", endless()), ("new/deep/y", endless()), ("z", bytes(1 << 28))):
        task = store.put_async(path, source)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for _ in range(200):
        if not any(".cumulo-" in name or name == "new/" for name in files(tmp_path)):
            break
        await asyncio.sleep(0.02)
    assert files(tmp_path) in (["x"], ["x", "z"])
    assert store.get("x").bytes() == b"old"


def test_a_dropped_put(tmp_path: Path) -> None:
    """A loop that is closed drops the calls on it: they clean up without it."""
    store = LocalStore(tmp_path)

    async def stuck() -> Any:
        yield b"x" * MIB
        await asyncio.sleep(1000)

    plan = store._plan_put("new/x", stuck(), attributes=None, tags=None, mode=None, use_multipart=None,
                           chunk_size=1, max_concurrency=1)  # fmt: skip
    effect = next(plan)
    while hasattr(effect, "function"):
        effect = plan.send(effect.function(*effect.arguments))
    assert len(files(tmp_path)) == 2
    plan.close()
    assert files(tmp_path) == []


def test_fork_while_writing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def forking() -> Iterator[bytes]:
        yield b"1" * (2 * MIB)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store.put("child", b"c")
                status = 0 if store.get("child").bytes() == b"c" else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        yield b"2"

    store.put("parent", forking())
    assert store.head("parent")["size"] == 2 * MIB + 1
    assert files(tmp_path) == ["child", "parent"]


def test_a_forked_child_leaves_its_parents_file_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def forking() -> Iterator[bytes]:
        yield b"1" * (2 * MIB)
        child = os.fork()
        if child == 0:
            try:
                raise_in_child()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        yield b"2"

    def raise_in_child() -> None:
        for plan in [o for o in __import__("gc").get_objects() if type(o).__name__ == "Writer"]:
            plan.discard()

    store.put("parent", forking())
    assert store.head("parent")["size"] == 2 * MIB + 1


def test_cleanup_and_puts_at_the_same_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, automatic_cleanup=True)

    async def turns() -> None:
        for _ in range(60):
            await asyncio.gather(*(store.put_async(f"d/e/{n}", b"1") for n in range(8)))
            await asyncio.gather(
                *(store.delete_async(f"d/e/{n}") for n in range(8)),
                *(store.put_async(f"d/f/{n}", b"") for n in range(8)),
            )
            await asyncio.gather(*(store.delete_async(f"d/f/{n}") for n in range(8)))

    asyncio.run(turns())
    assert files(tmp_path) == []
