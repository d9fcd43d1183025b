"""The command as a process: interrupts, terminals, help, and what it says without its extra."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import gcs_store
from tests.servers.gcs import GCSServer

from .support import COMMAND, Bucket, files, invoke, spawn

MEGA = 1024 * 1024


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while not ready():
        assert process.poll() is None, "the command ended before it could be interrupted"
        assert time.monotonic() < until
        time.sleep(0.005)


def _interrupt(process: subprocess.Popen[bytes]) -> tuple[int, float, bytes]:
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    return process.returncode, time.monotonic() - started, errors


def test_an_interrupted_download_leaves_nothing(bucket: Bucket, tmp_path: Path) -> None:
    for number in range(4):
        bucket.put(f"k{number}", os.urandom(64 * MEGA))
    out = tmp_path / "out"
    process = spawn("cp", "-r", bucket.url, out)
    _wait_until(lambda: any(out.glob(".*.cumulo-*.tmp")), process)
    status, seconds, errors = _interrupt(process)
    assert (status, errors) == (130, b"")
    assert seconds < 5
    left = files(out)
    assert set(left) <= {f"k{number}" for number in range(4)}
    assert all(len(content) == 64 * MEGA for content in left.values())


def test_an_interrupted_download_goes_on(bucket: Bucket, tmp_path: Path) -> None:
    content = os.urandom(256 * MEGA)
    bucket.put("large", content)
    process = spawn("cp", "--resume", f"{bucket.url}/large", tmp_path / "large")
    _wait_until((tmp_path / ".large.cumulo-part.json").exists, process)
    status, _, errors = _interrupt(process)
    assert (status, errors) == (130, b"")
    assert not (tmp_path / "large").exists()
    process = spawn("cp", "--resume", f"{bucket.url}/large", tmp_path / "large")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "large").read_bytes() == content
    assert os.listdir(tmp_path) == ["large"]


def test_an_interrupted_upload_leaves_nothing(bucket: Bucket, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1024 * MEGA)
    process = spawn("cp", tmp_path / "large", bucket.url)
    _wait_until(lambda: bool(bucket.uploads()), process)
    time.sleep(0.1)
    status, seconds, errors = _interrupt(process)
    assert (status, errors) == (130, b"")
    assert seconds < 8
    assert bucket.uploads() == bucket.keys() == []


def test_an_interrupted_copy_between_providers_leaves_nothing(bucket: Bucket, gcs: GCSServer) -> None:
    source = gcs_store(gcs, bucket=(name := gcs.new_bucket()))
    source.put("large", os.urandom(200 * MEGA))
    options = ("-o", f"google_base_url={gcs.url}", "-o", "google_skip_signature=true")
    process = spawn("cp", *options, f"gs://{name}/large", bucket.url)
    _wait_until(lambda: bool(bucket.uploads()), process)
    time.sleep(0.1)
    status, _, errors = _interrupt(process)
    assert (status, errors) == (130, b"")
    assert bucket.uploads() == bucket.keys() == []


def test_stdin_that_never_ends_is_interrupted(bucket: Bucket) -> None:
    process = spawn("cp", "-", f"{bucket.url}/k", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(bytes(12 * MEGA))
    process.stdin.flush()
    _wait_until(lambda: bool(bucket.uploads()), process)
    time.sleep(0.1)
    status, seconds, _ = _interrupt(process)
    assert status == 130
    assert seconds < 5
    assert bucket.uploads() == bucket.keys() == []


def test_a_bar_on_a_terminal(bucket: Bucket, tree: Path) -> None:
    ours, theirs = pty.openpty()
    process = spawn("cp", "-r", tree, bucket.url, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 65536):
            seen += piece
    except OSError:
        pass  # how a terminal ends on Linux
    os.close(ours)
    assert process.wait() == 0
    assert process.stdout is not None
    process.stdout.close()
    assert b"6/6 files" in seen
    assert b"\x1b[?25h" in seen  # the cursor is back
    assert b"copied 6 files" in seen


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra(package: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from cumulo.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'cumulo[cli]'")
    assert "Traceback" not in done.stderr


def test_it_runs_as_a_module() -> None:
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cumulo, version ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Exit status: 0 done; 1 something failed"),
        (("cp",), "without SOURCE's own name"),
        (("ls",), "Names are relative to the folder"),
        (("cat",), "--range"),
        (("head",), "without reading it"),
        (("rm",), "Nothing is asked"),
    ],
)
def test_help(arguments: tuple[str, ...], said: str) -> None:
    result = invoke(*arguments, "--help")
    assert result.exit_code == 0
    assert said in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("cp",),
        ("cp", "a"),
        ("ls", "ftp://b"),
        ("ls", "memory:///"),
        ("ls", "-o", "x", "s3://b"),
        ("rm",),
        ("cp", "--concurrency", "0", "a", "b"),
        ("ls", "-"),
    ],
)
def test_usage(arguments: tuple[str, ...]) -> None:
    result: Any = invoke(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_a_wrong_endpoint_is_wrong_usage() -> None:
    assert invoke("ls", "--endpoint-url", "nonsense", "s3://b").exit_code == 2
