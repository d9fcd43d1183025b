"""Every server comes up, takes its keys, stores and gives back, and goes with its whole group.

And the feature table is right where a mistake would hide a bug in cumulo: what a server is said to
check, it does check.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from .process import ServerError, executable, running
from .s3server import S3Server

DATA = b"cloud-native" * 100


def _code(error: pytest.ExceptionInfo[ClientError]) -> int:
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_objects_come_back(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    s3_server.boto3.put_object(Bucket=bucket, Key="folder/key", Body=DATA)
    assert s3_server.boto3.get_object(Bucket=bucket, Key="folder/key")["Body"].read() == DATA
    listed = s3_server.boto3.list_objects_v2(Bucket=bucket, Prefix="folder/")
    assert [each["Key"] for each in listed["Contents"]] == ["folder/key"]


def test_tls(ministack_tls: S3Server) -> None:
    bucket = ministack_tls.new_bucket()
    ministack_tls.boto3.put_object(Bucket=bucket, Key="key", Body=DATA)
    assert ministack_tls.endpoint.startswith("https:")
    assert ministack_tls.boto3.head_object(Bucket=bucket, Key="key")["ContentLength"] == len(DATA)


@pytest.mark.needs("secret_verified")
def test_a_wrong_secret_is_refused(s3_server: S3Server) -> None:
    client = s3_server.boto3_client("s3", secret="wrong")
    with pytest.raises(ClientError) as error:
        client.list_buckets()
    assert _code(error) == 403


@pytest.mark.needs("range")
def test_ranges(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=DATA)
    answer = s3_server.boto3.get_object(Bucket=bucket, Key="key", Range="bytes=2-5")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["Body"].read() == DATA[2:6]


@pytest.mark.needs("put_if_none_match")
def test_create_is_refused_for_an_existing_key(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=DATA, IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=DATA, IfNoneMatch="*")
    assert _code(error) == 412


@pytest.mark.needs("put_if_match")
def test_update_is_refused_for_another_etag(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    etag = s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=DATA)["ETag"]
    etag = s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=b"new", IfMatch=etag)["ETag"]
    with pytest.raises(ClientError) as error:
        s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=DATA, IfMatch='"0123456789abcdef"')
    assert _code(error) == 412


@pytest.mark.needs("checksums_verified")
def test_a_wrong_checksum_is_refused(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    with pytest.raises(ClientError) as error:
        s3_server.boto3.put_object(Bucket=bucket, Key="key", Body=DATA, ChecksumCRC32="AAAAAA==")
    assert _code(error) == 400


def test_a_server_that_fails_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
    with running(command, tmp_path / "log") as process, pytest.raises(ServerError, match="no such thing"):
        process.wait_until(lambda: False)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(ServerError, match="--group test"):
        executable("no-such-server")


TWO_PROCESSES = """
import os, subprocess, sys, time
if len(sys.argv) > 1:
    os.setsid()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


def _printed(log: Path) -> list[int]:
    until = time.monotonic() + 10
    while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < until:
        time.sleep(0.01)
    return [int(pid) for pid in log.read_text().split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not _alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("arguments", [[], ["own-session"]])
def test_a_server_is_killed_with_its_children(tmp_path: Path, arguments: list[str]) -> None:
    log = tmp_path / "log"
    with running([sys.executable, "-c", TWO_PROCESSES, *arguments], log):
        pids = _printed(log)
        assert all(_alive(pid) for pid in pids)
    assert all(_gone(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_servers_go_when_the_test_run_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = f"[sys.executable, '-c', {TWO_PROCESSES!r}, 'own-session']"
    script = (
        "import sys, time; from pathlib import Path; from tests.servers.process import running\n"
        f"with running({command}, Path({str(log)!r})): time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    try:
        pids = _printed(log)
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    assert len(pids) == 2
    assert all(_gone(pid) for pid in pids)
