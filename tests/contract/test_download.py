"""download on every store, in each of the three ways."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import LocalFileError, NotFoundError, PreconditionError

MIB = 1024 * 1024
SIZES = (0, 1, 100_000, 4 * MIB, 5 * MIB + 12_345)

Verb = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where downloads go: apart from what a local store keeps."""
    path = tmp_path / "downloads"
    path.mkdir()
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resume", [False, True])
def test_the_file_is_the_object(store: Any, call: Verb, folder: Path, size: int, resume: bool) -> None:
    data = os.urandom(size)
    put = store.put("some/key", data)
    meta = call(store, "download", "some/key", folder / "file", part_size=MIB, max_concurrency=3, resume=resume)
    assert (folder / "file").read_bytes() == data
    assert (meta["size"], meta["path"], meta["e_tag"]) == (size, "some/key", put["e_tag"])
    assert os.listdir(folder) == ["file"]


def test_a_range_of_it(store: Any, call: Verb, folder: Path) -> None:
    data = os.urandom(3 * MIB)
    store.put("key", data)
    meta = call(store, "download", "key", str(folder / "file"), options={"range": (MIB, 2 * MIB + 5)})
    assert (folder / "file").read_bytes() == data[MIB : 2 * MIB + 5]
    assert meta["size"] == len(data)


def test_an_error_leaves_what_was_there(store: Any, call: Verb, folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"old")
    with pytest.raises(NotFoundError):
        call(store, "download", "nothing", file)
    store.put("key", b"new")
    with pytest.raises(PreconditionError):
        call(store, "download", "key", file, options={"if_match": '"another"'})
    assert file.read_bytes() == b"old"
    assert os.listdir(folder) == ["file"]


def test_a_file_that_is_replaced_keeps_its_mode(store: Any, folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"old and longer")
    file.chmod(0o600)
    store.put("key", b"new")
    store.download("key", file)
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_is_followed(store: Any, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "file")
    store.put("key", b"content")
    store.download("key", folder / "link")
    assert (folder / "link").is_symlink()
    assert (folder / "file").read_bytes() == b"content"


@pytest.mark.parametrize("name", ["", "none/file", "fifo", "file/below"])
def test_a_target_that_can_not_be(store: Any, call: Verb, folder: Path, name: str) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "file").write_bytes(b"")
    before = sorted(os.listdir(folder))
    store.put("key", b"content")
    with pytest.raises(LocalFileError) as caught:
        call(store, "download", "key", folder / name)
    error = caught.value
    assert isinstance(error, OSError)
    assert error.filename == str(folder / name)
    assert error.errno
    assert str(folder / name) in str(error)
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"file": 3}, TypeError),
        ({"file": ""}, ValueError),
        ({"file": "a\0b"}, ValueError),
        ({"resume": "token"}, TypeError),
        ({"part_size": 1}, ValueError),
        ({"part_size": 2**64}, ValueError),
        ({"max_concurrency": 0}, ValueError),
        ({"options": {"head": True}}, ValueError),
    ],
)
def test_wrong_arguments(
    store: Any, call: Verb, folder: Path, arguments: dict[str, Any], kind: type[Exception]
) -> None:
    given = {"file": folder / "file", **arguments}
    with pytest.raises(kind):
        call(store, "download", "key", given.pop("file"), **given)
    assert os.listdir(folder) == []


def test_long_names(store: Any, folder: Path) -> None:
    store.put("key", b"content")
    for resume in (False, True):
        store.download("key", folder / ("ä" * 127), resume=resume)
    assert os.listdir(folder) == ["ä" * 127]
