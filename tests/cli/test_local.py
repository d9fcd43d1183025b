"""Files of this machine, and the commands between them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cumulo.cli.local import NewFile, walk
from cumulo.cli.plan import Refusal

from .support import files

Run = Callable[..., Any]


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    with NewFile(str(path)) as file:
        file.write(b"new")
        assert not path.exists()
        file.commit(3)
    assert files(tmp_path) == {"a/b": b"new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_of_the_wrong_size_does_not_appear(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with NewFile(str(tmp_path / "a")) as file:
        file.write(b"new")
        with pytest.raises(OSError, match="3 bytes came instead of 4"):
            file.commit(4)
    assert files(tmp_path) == {"a": b"old"}


def test_links_are_written_through_and_devices_are_not_replaced(tmp_path: Path, run: Run) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "new").write_bytes(b"new")
    assert run("cp", tmp_path / "new", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert run("cp", tmp_path / "new", os.devnull).exit_code == 0
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_walking_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_bytes(b"1")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "broken").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    found = list(walk(str(tmp_path)))
    assert [each[0] for each in found if not isinstance(each, Refusal)] == ["a/f", "b/f"]
    refused = {os.path.relpath(each.label, tmp_path) for each in found if isinstance(each, Refusal)}
    assert refused == {"a/up", "b/up", "broken", "pipe"}


def test_copy_a_tree(tree: Path, tmp_path: Path, run: Run) -> None:
    result = run("cp", "-r", tree, tmp_path / "copy")
    assert result.exit_code == 0
    assert files(tmp_path / "copy") == files(tree)
    assert "copied 6 files" in result.stderr


def test_a_tree_into_itself(tree: Path, run: Run) -> None:
    assert run("cp", "-r", tree, tree / "sub/copy").exit_code == 2
    assert not (tree / "sub/copy").exists()


@pytest.mark.parametrize(("options", "status"), [((), 2), (("-r",), 0)])
def test_a_directory_needs_recursive(tree: Path, tmp_path: Path, run: Run, options: tuple[str], status: int) -> None:
    assert run("cp", *options, tree, tmp_path / "copy").exit_code == status


@pytest.mark.parametrize("options", [(), ("-r",)])
def test_nothing_there(tmp_path: Path, run: Run, options: tuple[str]) -> None:
    result = run("cp", *options, tmp_path / "none", tmp_path / "copy")
    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_one_of_many_fails(tree: Path, tmp_path: Path, run: Run) -> None:
    (tree / "broken").symlink_to("nothing")
    result = run("cp", "-r", tree, tmp_path / "copy")
    assert result.exit_code == 1
    assert "broken" in result.stderr
    assert len(files(tmp_path / "copy")) == 6


def test_a_target_that_cannot_be_written(tree: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = run("cp", "-r", tree, tmp_path / "file")
    assert result.exit_code == 1
    assert result.stderr.count("failed:") == 6
    assert (tmp_path / "file").read_bytes() == b""


def test_ls(tree: Path, run: Run) -> None:
    assert run("ls", tree).stdout.splitlines() == ["a.txt", "empty", "image.tif", "sub/"]
    assert sorted(run("ls", "-r", tree).stdout.splitlines()) == sorted(files(tree))
    assert run("ls", tree / "a.txt").stdout == "a.txt\n"
    long = run("ls", "-l", "--human", tree / "sub/deep").stdout
    assert long.rstrip().endswith("1.3 MB er.bin")
    assert run("ls", tree / "none").exit_code == 1


def test_cat_and_head(tree: Path, run: Run) -> None:
    assert run("cat", tree / "a.txt").stdout_bytes == b"hello"
    assert run("cat", "--range", "1-2", tree / "a.txt").stdout_bytes == b"el"
    assert run("cat", "--range", "-2", tree / "a.txt").stdout_bytes == b"lo"
    assert run("cat", "--range", "3-", f"file://{tree}/a.txt").stdout_bytes == b"lo"
    assert "size: 5" in run("head", tree / "a.txt").stdout
    assert run("head", tree / "none").exit_code == 1
    assert run("head", tree).exit_code == 1


def test_rm(tree: Path, run: Run) -> None:
    assert run("rm", tree / "a.txt").exit_code == 0
    assert not (tree / "a.txt").exists()
    assert run("rm", tree / "a.txt").exit_code == 1
    assert run("rm", tree).exit_code == 2
    assert run("rm", "-r", "--dry-run", tree).stdout.count("remove") == 5
    assert len(files(tree)) == 5
    assert run("rm", "-r", "/").exit_code == 2
    assert run("rm", "-r", tree).exit_code == 0
    assert not tree.exists()


def test_rm_does_not_follow_links(tree: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/f").write_bytes(b"1")
    (tree / "link").symlink_to(tmp_path / "other")
    assert run("rm", "-r", tree).exit_code == 0
    assert files(tmp_path) == {"other/f": b"1"}
