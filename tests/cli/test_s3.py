"""The commands against a real S3 server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.s3server import S3Server

from .support import Bucket, environment, files, invoke, spawn

Run = Callable[..., Any]
PART = 5 * 1024 * 1024


def test_a_tree_up_and_down(bucket: Bucket, tree: Path, tmp_path: Path, run: Run) -> None:
    up = run("cp", "-r", tree, f"{bucket.url}/p")
    assert (up.exit_code, up.stdout) == (0, "")
    assert sorted(bucket.keys()) == sorted(f"p/{name}" for name in files(tree))
    down = run("cp", "-r", f"{bucket.url}/p/", tmp_path / "out")
    assert down.exit_code == 0
    assert down.stderr.startswith("copied 6 files, 1.3 MB in ")
    assert files(tmp_path / "out") == files(tree)


def test_content_types(bucket: Bucket, tree: Path, run: Run) -> None:
    run("cp", tree / "image.tif", bucket.url)
    assert bucket.head("image.tif")["ContentType"] == "image/tiff"
    run("cp", "--content-type", "text/x-mine", tree / "image.tif", f"{bucket.url}/as")
    assert bucket.head("as")["ContentType"] == "text/x-mine"
    run("cp", f"{bucket.url}/as", f"{bucket.url}/copied")
    assert bucket.head("copied")["ContentType"] == "text/x-mine"


def test_single_objects(bucket: Bucket, tree: Path, tmp_path: Path, run: Run) -> None:
    assert run("cp", tree / "a.txt", f"{bucket.url}/d/").exit_code == 0
    assert run("cp", tree / "a.txt", f"{bucket.url}/d/b").exit_code == 0
    assert bucket.keys() == ["d/a.txt", "d/b"]
    assert run("cp", f"{bucket.url}/d/b", tmp_path / "x/y").exit_code == 0
    assert run("cp", f"{bucket.url}/d/b", tmp_path).exit_code == 0
    assert (tmp_path / "x/y").read_bytes() == (tmp_path / "b").read_bytes() == b"hello"


def test_prefixes_are_whole_segments(bucket: Bucket, tmp_path: Path, run: Run) -> None:
    for key in ("a/1", "ab/2", "a/"):
        bucket.put(key, b"" if key == "a/" else b"x")
    assert run("cp", "-r", f"{bucket.url}/a", tmp_path / "out").exit_code == 0
    assert files(tmp_path / "out") == {"1": b"x"}


def test_between_buckets_and_within_one(bucket: Bucket, tree: Path, run: Run) -> None:
    other = Bucket(bucket.server, bucket.server.new_bucket())
    (tree / "large").write_bytes(os.urandom(2 * PART + 123))
    run("cp", "-r", tree, f"{bucket.url}/p")
    assert run("cp", "-r", f"{bucket.url}/p", f"{other.url}/q").exit_code == 0
    assert run("cp", "-r", f"{bucket.url}/p", f"{bucket.url}/r").exit_code == 0
    for name, content in files(tree).items():
        assert other.get(f"q/{name}") == bucket.get(f"r/{name}") == content
    assert other.head("q/image.tif")["ContentType"] == "image/tiff"


def test_keys_that_would_leave_the_target(bucket: Bucket, tmp_path: Path, run: Run) -> None:
    for key in ("p/../../evil", "p//etc/evil", "p/good"):
        bucket.put(key, b"x")
    result = run("cp", "-r", f"{bucket.url}/p", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count("leave the target directory") == 2
    assert files(tmp_path) == {"out/good": b"x"}


def test_one_object_among_many_fails(bucket: Bucket, tmp_path: Path, run: Run) -> None:
    for key in ("a", "a/b", "c"):
        bucket.put(key, b"x")
    result = run("cp", "-r", "--concurrency", 1, bucket.url, tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count("failed:") == 1
    assert files(tmp_path / "out") == {"a": b"x", "c": b"x"}


def test_missing_things(bucket: Bucket, tree: Path, tmp_path: Path, run: Run) -> None:
    missing = "s3://no-such-bucket-here"
    for arguments in (
        ("cp", f"{bucket.url}/none", tmp_path / "x"),
        ("cp", "-r", f"{bucket.url}/none", tmp_path / "x"),
        ("cp", "-r", missing, tmp_path / "x"),
        ("cp", tree / "a.txt", missing),
        ("cp", f"{bucket.url}/none", "-"),
        ("ls", missing),
        ("ls", f"{bucket.url}/none"),
        ("cat", f"{bucket.url}/none"),
        ("head", f"{bucket.url}/none"),
        ("rm", "-r", missing),
    ):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), arguments
        assert result.stderr, arguments
    assert not (tmp_path / "x").exists()


def test_wrong_keys(bucket: Bucket, tree: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    result = run("cp", "-r", tree, bucket.url)
    assert result.exit_code == 1
    assert result.stderr.count("failed:") == 6
    assert "SignatureDoesNotMatch" in result.stderr
    assert "not-the-secret" not in result.stderr


def test_an_empty_bucket_is_no_failure_to_list(bucket: Bucket, run: Run) -> None:
    result = run("ls", bucket.url)
    assert (result.exit_code, result.output) == (0, "")


def test_ls(bucket: Bucket, run: Run) -> None:
    for key in ("a", "d/x", "d/y/z", "d\x1b[2J"):
        bucket.put(key, b"1234")
    assert run("ls", bucket.url).stdout.splitlines() == ["a", "d\\x1b[2J", "d/"]
    assert run("ls", f"{bucket.url}/d").stdout.splitlines() == ["x", "y/"]
    assert run("ls", f"{bucket.url}/d/x").stdout.splitlines() == ["x"]
    assert run("ls", "-r", f"{bucket.url}/d/").stdout.splitlines() == ["x", "y/z"]
    assert run("ls", "-l", f"{bucket.url}/a").stdout.split()[2:] == ["4", "a"]


def test_cat_and_head(bucket: Bucket, run: Run) -> None:
    bucket.put("k e%20y", b"0123456789")
    url = f"{bucket.url}/k e%20y"
    assert run("cat", url).stdout_bytes == b"0123456789"
    assert run("cat", "--range", "2-4", url).stdout_bytes == b"234"
    assert run("cat", "--range", "8-", url).stdout_bytes == b"89"
    assert run("cat", "--range", "-3", url).stdout_bytes == b"789"
    assert run("cat", "--range", "20-", url).exit_code == 1
    assert run("cat", "--range", "4-2", url).exit_code == 2
    shown = run("head", url).stdout
    assert f"location: {url}\n" in shown
    assert "size: 10\n" in shown
    assert "etag: " in shown


def test_stdin_and_stdout(bucket: Bucket, run: Run) -> None:
    large = os.urandom(2 * PART + 5)
    assert run("cp", "-", f"{bucket.url}/large", stdin=large).exit_code == 0
    assert run("cp", "-", f"{bucket.url}/none", stdin=b"").exit_code == 0
    assert run("cp", f"{bucket.url}/large", "-").stdout_bytes == large
    assert run("cat", f"{bucket.url}/none").stdout_bytes == b""
    assert run("cat", "-", stdin=b"through").stdout_bytes == b"through"


def test_rm(bucket: Bucket, run: Run) -> None:
    for key in ("a", "d/x", "d/y", "dd"):
        bucket.put(key)
    assert run("rm", bucket.url).exit_code == 2
    assert run("rm", f"{bucket.url}/d/").exit_code == 2
    assert run("rm", "-r", "--dry-run", f"{bucket.url}/d").stdout.count("remove") == 2
    assert len(bucket.keys()) == 4
    assert run("rm", f"{bucket.url}/a", f"{bucket.url}/never-there").exit_code == 0
    assert run("rm", "-r", f"{bucket.url}/d").exit_code == 0
    assert bucket.keys() == ["dd"]
    assert run("rm", "-r", bucket.url).exit_code == 0
    assert bucket.keys() == []


def test_a_dry_run_copies_nothing(bucket: Bucket, tree: Path, run: Run) -> None:
    result = run("cp", "-r", "--dry-run", tree, bucket.url)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 6
    assert f"a.txt -> {bucket.url}/a.txt" in result.stdout
    assert bucket.keys() == []


def test_a_thousand_small_files(bucket: Bucket, tmp_path: Path, run: Run) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(1000):
        (root / f"{number:04}").write_bytes(b"%d" % number)
    assert run("cp", "-r", root, f"{bucket.url}/many").exit_code == 0
    assert run("cp", "-r", f"{bucket.url}/many", tmp_path / "back").exit_code == 0
    assert files(tmp_path / "back") == files(root)
    assert "removed 1000 files" in run("rm", "-r", f"{bucket.url}/many").stderr


def test_options_instead_of_the_environment(ministack: S3Server, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(ministack, ministack.new_bucket())
    for name, value in environment(ministack).items():
        if name != "AWS_ENDPOINT_URL":
            monkeypatch.setenv(name, value)
    options = ("--endpoint-url", ministack.endpoint, "--region", "us-east-1")
    assert invoke("cp", *options, tree / "a.txt", bucket.url).exit_code == 0
    assert invoke("cat", *options, "--anonymous", f"{bucket.url}/a.txt").exit_code == 1
    assert bucket.keys() == ["a.txt"]


@pytest.mark.parametrize(("option", "lines"), [("--quiet", 0), ("--verbose", 7), (None, 1)])
def test_no_escapes_where_there_is_no_terminal(bucket: Bucket, tree: Path, option: str | None, lines: int) -> None:
    process = spawn("cp", "-r", tree, bucket.url, *([option] if option else []))
    output, errors = process.communicate()
    assert (process.returncode, output) == (0, b"")
    assert len(errors.splitlines()) == lines
    assert b"\x1b" not in errors


def test_output_that_nobody_reads(bucket: Bucket) -> None:
    bucket.put("k", bytes(3_000_000))
    process = spawn("cat", f"{bucket.url}/k")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait() == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
