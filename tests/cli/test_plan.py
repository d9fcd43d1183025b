"""Where each object goes, and what is refused."""

from __future__ import annotations

import pytest

from cumulo.cli.plan import Move, Refusal, byte_range, check_pair, content_type, move_of, one_target, unsafe
from cumulo.cli.text import human, shown
from cumulo.cli.urls import parse


@pytest.mark.parametrize(
    ("source", "target", "is_directory", "expected"),
    [
        ("a/f", "s3://b", False, "s3://b/f"),
        ("a/f", "s3://b/dir/", False, "s3://b/dir/f"),
        ("a/f", "s3://b/dir", False, "s3://b/dir"),
        ("s3://b/a/f", "here", True, "here/f"),
        ("s3://b/a/f", "here", False, "here"),
        ("s3://b/a/f", "here/", False, "here/f"),
        ("s3://b/a/f", "s3://c/", False, "s3://c/f"),
        ("s3://b/a/f", "-", False, "-"),
    ],
)
def test_one_object(source: str, target: str, is_directory: bool, expected: str) -> None:
    assert str(one_target(parse(source), parse(target), is_directory=is_directory)) == expected


def test_one_object_whose_name_leaves_the_directory() -> None:
    with pytest.raises(ValueError, match="leave the target"):
        one_target(parse("s3://b/a/.."), parse("here/"), is_directory=True)


@pytest.mark.parametrize(
    ("source", "target", "path", "expected"),
    [
        ("tree", "s3://b", "x/f", "tree/x/f s3://b/x/f"),
        ("tree/", "s3://b/p", "x/f", "tree/x/f s3://b/p/x/f"),
        ("s3://b/p", "out", "p/x/f", "s3://b/p/x/f out/x/f"),
        ("s3://b/p/", "out/", "p/f", "s3://b/p/f out/f"),
        ("s3://b", "s3://c/q", "x/", "s3://b/x/ s3://c/q/x/"),
        ("s3://b", "s3://c", "a//b", "s3://b/a//b s3://c/a//b"),
    ],
)
def test_many_objects(source: str, target: str, path: str, expected: str) -> None:
    move = move_of(parse(source), parse(target), path, 7)
    assert isinstance(move, Move)
    assert f"{move.source} {move.target}" == expected
    assert move.size == 7


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "..", "a//b", "./a", "a/\0"])
def test_keys_that_no_path_can_have_are_refused(key: str) -> None:
    assert unsafe(key) is not None
    assert isinstance(move_of(parse("s3://b"), parse("out"), key, 1), Refusal)


@pytest.mark.parametrize("key", ["..a", "a..b/c", "...", ".hidden", "a b", "a\\b"])
def test_keys_that_look_odd_but_are_paths(key: str) -> None:
    assert unsafe(key) is None


def test_markers_of_folders_are_left_out_on_disk_unless_they_hold_something() -> None:
    assert move_of(parse("s3://b/p"), parse("out"), "p/", 0) is None
    assert move_of(parse("s3://b/p"), parse("out"), "p/x/", 0) is None
    assert isinstance(move_of(parse("s3://b/p"), parse("out"), "p/x/", 3), Refusal)


@pytest.mark.parametrize(
    ("source", "target", "recursive"),
    [
        ("-", "-", False),
        ("-", "s3://b/", False),
        ("-", "s3://b/x", True),
        ("s3://b/x", "-", True),
        ("s3://b", "out", False),
        ("s3://b/p/", "out", False),
        ("s3://b/x", "s3://b/x", False),
        ("s3://b/p", "s3://b/p/q", True),
        ("s3://b", "s3://b/q", True),
        ("s3://b/p", "s3://b/p", True),
    ],
)
def test_pairs_that_cannot_be_meant(source: str, target: str, recursive: bool) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_pair(parse(source), parse(target), recursive=recursive)


def test_pairs_that_can() -> None:
    check_pair(parse("s3://b/p"), parse("s3://b/pq"), recursive=True)
    check_pair(parse("s3://b/p"), parse("s3://c/p"), recursive=True)
    check_pair(parse("x"), parse("-"), recursive=False)


def test_content_types() -> None:
    assert content_type("a/b.tif") == "image/tiff"
    assert content_type("a/b.tar.gz") == "application/gzip"
    assert content_type("a/b") is None


@pytest.mark.parametrize(
    ("text", "expected"), [("0-99", (0, 100)), ("5-5", (5, 6)), ("100-", (100, None)), ("-50", 50)]
)
def test_ranges(text: str, expected: object) -> None:
    assert byte_range(text) == expected


@pytest.mark.parametrize("text", ["", "-", "5", "5-4", "-0", "a-b", "1-2-3", "²-3"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="not a range"):
        byte_range(text)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (2e21, "2000.0 EB")]
)
def test_sizes(size: float, expected: str) -> None:
    assert human(size) == expected


def test_what_could_drive_a_terminal_is_escaped() -> None:
    assert shown("a\x1b[2Jb\n\udcff é") == "a\\x1b[2Jb\\n\\udcff é"
