"""Downloads to files: what goes over the wire, and what is left when something goes wrong. By the engine, and by
aws-c-s3 where that makes a difference."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import BaseError, ChecksumError, LocalFileError, ObjectChangedError, PermissionDeniedError
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import Cut, FaultServer, Faulty, Flip, Object, Request, Response, Stall, Trickle
from tests.servers import S3Server

from .support import MIB, PATH, fault_store, of_aws_c_s3, server_store

DATA = os.urandom(6 * MIB + 12_345)
PARTS = 7
SLOW = Trickle(2 * MIB, 0.01)
CRAWLING = Trickle(64 * 1024, 0.01)


def _ranges(server: FaultServer) -> list[str | None]:
    return [request.header("range") for request in server.requests if request.method == "GET"]


def _start(request: Request) -> int:
    wanted = request.header("range")
    return int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0


@pytest.fixture(params=["engine", "crt"])
def client(request: pytest.FixtureRequest) -> str:
    """Each bulk client in turn."""
    return request.param


@pytest.fixture
def either(fault_server: FaultServer, client: str) -> S3Store:
    """A store on the fault server with that bulk client."""
    return fault_store(fault_server, bulk_client=client)


# -- what goes over the wire


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha256", "md5", None])
def test_parts_and_their_checksum(
    fault_server: FaultServer, either: S3Store, client: str, tmp_path: Path, algorithm: str | None
) -> None:
    fault_server.script(PATH, Object(DATA, checksums=[algorithm] if algorithm else []))
    either.download("key", tmp_path / "file", part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA
    if client == "engine":  # the first request is for all of it, and brings the first part
        assert len(_ranges(fault_server)) == PARTS
    else:
        assert len(of_aws_c_s3(fault_server)) == PARTS


def _three_ways(store: S3Store, file: Path, how: str) -> Any:
    if how == "sync":
        return store.download("key", file, part_size=MIB)
    if how == "futures":
        return store.futures.download("key", file, part_size=MIB).result(60)

    async def run() -> Any:
        return await store.download_async("key", file, part_size=MIB)

    return asyncio.run(run())


@pytest.mark.parametrize("how", ["sync", "asyncio", "futures"])
def test_three_ways(fault_server: FaultServer, either: S3Store, client: str, tmp_path: Path, how: str) -> None:
    fault_server.script(PATH, Object(DATA))
    file = tmp_path / "file"
    assert _three_ways(either, file, how)["size"] == len(DATA)
    assert file.read_bytes() == DATA
    assert os.listdir(tmp_path) == ["file"]
    assert bool(of_aws_c_s3(fault_server)) == (client == "crt")


@pytest.mark.parametrize("span", [(MIB // 2, 5 * MIB + 7), (0, 3 * MIB), (4 * MIB, len(DATA))])
def test_a_range(fault_server: FaultServer, either: S3Store, tmp_path: Path, span: tuple[int, int]) -> None:
    fault_server.script(PATH, Object(DATA))
    either.download("key", tmp_path / "file", part_size=MIB, options={"range": span})
    assert (tmp_path / "file").read_bytes() == DATA[slice(*span)]


@pytest.mark.parametrize("size", [0, 1, MIB])
def test_what_fits_a_part_is_one_request(fault_server: FaultServer, either: S3Store, tmp_path: Path, size: int) -> None:
    fault_server.script(PATH, Object(DATA[:size]))
    either.download("key", tmp_path / "file", part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA[:size]
    assert len(fault_server.requests) == 1


def test_over_tls(fault_server: FaultServer, client: str, tmp_path: Path) -> None:
    fault_server.script(PATH, Object(DATA))
    store = fault_store(
        fault_server, bulk_client=client, endpoint=fault_server.tls_url(),
        client_options={"root_certificate": fault_server.ca_file.read_bytes()},
    )  # fmt: skip
    store.download("key", tmp_path / "file", part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("algorithm", [None, "SHA256"])
def test_on_real_servers(server: S3Server, client: str, tmp_path: Path, algorithm: str | None) -> None:
    store = server_store(server, bulk_client=client, checksum_algorithm=algorithm)
    store.put("key", DATA, use_multipart=False)
    store.download("key", tmp_path / "file", part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("fault", [Cut(1000, "rst"), Response.error(503, "SlowDown"), Response.error(429)])
def test_a_part_that_heals(fault_server: FaultServer, either: S3Store, tmp_path: Path, fault: Cut | Response) -> None:
    obj, failed = Object(DATA), threading.Event()

    def step(request: Request) -> Response:
        if _start(request) != 3 * MIB or failed.is_set():
            return obj(request)
        failed.set()
        return obj(request).having(fault) if isinstance(fault, Cut) else fault

    fault_server.script(PATH, step)
    either.download("key", tmp_path / "file", part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA
    assert failed.is_set()


def test_a_part_that_is_refused(fault_server: FaultServer, either: S3Store, tmp_path: Path) -> None:
    fault_server.script(PATH, _stops_at(Object(DATA), 4 * MIB))
    with pytest.raises(PermissionDeniedError) as caught:
        either.download("key", tmp_path / "file", part_size=MIB)
    assert caught.value.status == 403
    assert os.listdir(tmp_path) == []


def test_what_may_be_resumed_is_the_engines(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.script(PATH, Object(DATA))
    store = fault_store(fault_server, bulk_client="crt")
    store.download("key", tmp_path / "file", part_size=MIB, resume=True)
    assert (tmp_path / "file").read_bytes() == DATA
    assert not of_aws_c_s3(fault_server)


@pytest.mark.parametrize("changes", [{"ranges": "ignored"}, {"etag": 'W/"weak"'}, {"etag": ""}])
def test_servers_of_whole_objects(
    fault_server: FaultServer, either: S3Store, tmp_path: Path, changes: dict[str, Any]
) -> None:
    obj = Object(DATA, **changes)
    fault_server.script(PATH, obj)
    for resume in (False, True):
        either.download("key", tmp_path / "file", part_size=MIB, resume=resume)
        assert (tmp_path / "file").read_bytes() == DATA
        assert os.listdir(tmp_path) == ["file"]


def test_one_at_a_time_is_one_request(fault_server: FaultServer, faulty: S3Store, tmp_path: Path) -> None:
    fault_server.script(PATH, Object(DATA))
    faulty.download("key", tmp_path / "file", part_size=MIB, max_concurrency=1)
    assert (tmp_path / "file").read_bytes() == DATA
    assert _ranges(fault_server) == [None]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_what_breaks_off_goes_on(fault_server: FaultServer, either: S3Store, tmp_path: Path, etag: str | None) -> None:
    """Without a strong ETag all of it comes once more: nobody has seen the first attempt."""
    obj = Object(DATA, etag=etag)
    fault_server.script(PATH, [Faulty(obj, Cut(5 * MIB), after="rst"), obj])
    either.download("key", tmp_path / "file", max_concurrency=1)
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("algorithm", ["crc32c", "sha256", "sha1", "md5"])
def test_wrong_content_is_no_file(fault_server: FaultServer, either: S3Store, tmp_path: Path, algorithm: str) -> None:
    obj = Object(DATA, checksums=[algorithm])
    fault_server.script(PATH, lambda r: obj(r).having(Flip(100)) if _start(r) == 3 * MIB else obj(r))
    with pytest.raises(ChecksumError):
        either.download("key", tmp_path / "file", part_size=MIB)
    assert os.listdir(tmp_path) == []


def test_an_object_that_is_replaced_meanwhile(fault_server: FaultServer, either: S3Store, tmp_path: Path) -> None:
    obj = Object(DATA)

    def step(request: Request) -> Response:
        if _start(request) == 4 * MIB:
            obj.replace(DATA[::-1])
        return obj(request)

    fault_server.script(PATH, step)
    with pytest.raises(ObjectChangedError, match="ETag"):
        either.download("key", tmp_path / "file", part_size=MIB, max_concurrency=2)
    assert os.listdir(tmp_path) == []


# -- a disk that refuses


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting needs root; test_a_limit_of_the_process shows the same path with another errno")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_full_disk(fault_server: FaultServer, either: S3Store, small_disk: Path, concurrency: int) -> None:
    fault_server.script(PATH, Object(DATA))
    with pytest.raises(LocalFileError, match="No space left.*make room") as caught:
        either.download("key", small_disk / "file", part_size=MIB, max_concurrency=concurrency)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(small_disk / "file")
    assert os.listdir(small_disk) == []


@pytest.mark.parametrize("how", ["sync", "asyncio", "futures"])
def test_a_disk_that_is_full_before_the_parts_are_here(
    fault_server: FaultServer, faulty: S3Store, small_disk: Path, how: str
) -> None:
    """The call does not wait for them: none of them ever comes."""
    fault_server.script(PATH, Faulty(Object(DATA), Stall(1000)))
    with pytest.raises(LocalFileError, match="No space left") as caught:
        _three_ways(faulty, small_disk / "file", how)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(small_disk) == []


def test_a_read_only_disk(fault_server: FaultServer, faulty: S3Store, small_disk: Path) -> None:
    fault_server.script(PATH, Object(DATA))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LocalFileError, match="can be written") as caught:
        faulty.download("key", small_disk / "file")
    assert caught.value.errno == errno.EROFS
    assert len(fault_server.requests) == 0


LIMITED = """
import resource, sys
from cumulo.exceptions import LocalFileError
from cumulo.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], region="us-east-1", skip_signature=True, bulk_client=sys.argv[3],
                client_options={"allow_http": True})
store.head("key")
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
try:
    store.download("key", sys.argv[2], part_size=1 << 20)
except LocalFileError as error:
    print(error.errno, error.filename)
"""


def test_a_limit_of_the_process(fault_server: FaultServer, tmp_path: Path, client: str) -> None:
    fault_server.script(PATH, Object(DATA))
    arguments = [sys.executable, "-c", LIMITED, fault_server.url, str(tmp_path / "file"), client]
    told = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True).stdout
    assert told.split() == [str(errno.EFBIG), str(tmp_path / "file")]
    assert os.listdir(tmp_path) == []


FEW_DESCRIPTORS = """
import resource, sys
from cumulo.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], region="us-east-1", skip_signature=True,
                client_options={"allow_http": True})
store.head("key")
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
for _ in range(3):
    future = store.futures.download("key", sys.argv[2], part_size=1 << 18, max_concurrency=24)
    while not future.done():
        for file in [open("/dev/null") for _ in range(16)]:
            file.close()
    future.result()
"""


def test_a_program_has_descriptors_left(fault_server: FaultServer, tmp_path: Path) -> None:
    obj = Object(DATA)
    fault_server.script(PATH, lambda request: obj(request).having(CRAWLING))
    arguments = [sys.executable, "-c", FEW_DESCRIPTORS, fault_server.url, str(tmp_path / "file")]
    subprocess.run(arguments, timeout=120, check=True)
    assert (tmp_path / "file").read_bytes() == DATA


# -- calls that end early


def _has_content(folder: Path) -> bool:
    return any(path.is_file() and path.read_bytes().strip(b"\0") for path in folder.iterdir())


def _wait_for_content(folder: Path) -> None:
    until = time.monotonic() + 30
    while not _has_content(folder):
        if time.monotonic() > until:
            raise AssertionError("nothing came")
        time.sleep(0.05)


def _wait_for_clean_up(folder: Path) -> None:
    """Another thread's, without `resume`."""
    until = time.monotonic() + 30
    while any(path.name.endswith(".tmp") for path in folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.01)


def _cancel_asyncio(store: S3Store, file: Path, **options: Any) -> None:
    async def run() -> None:
        waiting = store.download_async("key", file, part_size=MIB, **options)
        await asyncio.to_thread(_wait_for_content, file.parent)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.2)  # for what `resume` keeps

    asyncio.run(run())
    _wait_for_clean_up(file.parent)


def _cancel_future(store: S3Store, file: Path, **options: Any) -> None:
    future = store.futures.download("key", file, part_size=MIB, **options)
    _wait_for_content(file.parent)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(30)
    _wait_for_clean_up(file.parent)


def _interrupt(store: S3Store, file: Path, **options: Any) -> None:
    with ctrl_c_when(lambda: _has_content(file.parent)):
        store.download("key", file, part_size=MIB, **options)


@pytest.mark.parametrize("checksums", [[], ["sha256"]])
@pytest.mark.parametrize("end", [_cancel_asyncio, _cancel_future, _interrupt])
def test_a_call_that_is_cancelled_leaves_nothing(
    fault_server: FaultServer, either: S3Store, tmp_path: Path, end: Callable[..., None], checksums: list[str]
) -> None:
    obj = Object(DATA, checksums=checksums)

    def step(request: Request) -> Response:
        # A part that comes whole is what aws-c-s3 writes first.
        return obj(request) if request.header("range") == f"bytes=0-{MIB - 1}" else obj(request).having(CRAWLING)

    fault_server.script(PATH, step)
    end(either, tmp_path / "file")
    assert os.listdir(tmp_path) == []


# -- going on


def _stops_at(obj: Object, start: int) -> Callable[[Request], Response]:
    """Parts from there on are refused."""

    def step(request: Request) -> Response:
        late = request.header("range") is not None and _start(request) >= start
        return Response.error(403, "AccessDenied") if late else obj(request)

    return step


def _broken_off(server: FaultServer, store: S3Store, file: Path, obj: Object) -> None:
    server.script(PATH, _stops_at(obj, 4 * MIB))
    with pytest.raises(BaseError):
        store.download("key", file, part_size=MIB, max_concurrency=1, resume=True)
    assert sorted(os.listdir(file.parent)) == [".file.cumulo-part", ".file.cumulo-part.json"]
    server.requests.clear()


@pytest.fixture
def plain(fault_server: FaultServer) -> S3Store:
    """A store that gives up at once."""
    return fault_store(fault_server, retry_config={"max_retries": 0})


@pytest.mark.parametrize("checksums", [[], ["crc64nvme"], ["sha256"]])
def test_what_was_broken_off_goes_on(
    fault_server: FaultServer, plain: S3Store, tmp_path: Path, checksums: list[str]
) -> None:
    obj = Object(DATA, checksums=checksums)
    _broken_off(fault_server, plain, tmp_path / "file", obj)
    fault_server.script(PATH, obj)
    meta = plain.download("key", tmp_path / "file", resume=True)
    assert meta["size"] == len(DATA)
    assert (tmp_path / "file").read_bytes() == DATA
    assert os.listdir(tmp_path) == ["file"]
    assert sorted(str(wanted) for wanted in _ranges(fault_server)) == [
        f"bytes={at}-{min(at + MIB, len(DATA)) - 1}" for at in range(4 * MIB, len(DATA), MIB)
    ]


def test_another_object_begins_anew(fault_server: FaultServer, plain: S3Store, tmp_path: Path) -> None:
    obj = Object(DATA)
    _broken_off(fault_server, plain, tmp_path / "file", obj)
    obj.replace(DATA[::-1])
    fault_server.script(PATH, obj)
    plain.download("key", tmp_path / "file", resume=True, part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA[::-1]
    assert len(_ranges(fault_server)) == PARTS


def _garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _flip_a_part(path: Path) -> None:
    path.write_text(path.read_text().replace("1048576", "5242880"))


def _of_another_file(path: Path) -> None:
    part = path.with_suffix("")
    part.rename(part.with_name("x"))
    part.write_bytes(bytes(len(DATA)))


def _cut_file(path: Path) -> None:
    os.truncate(path.with_suffix(""), MIB)


@pytest.mark.parametrize("harm", [_garble, _flip_a_part, _of_another_file, _cut_file, Path.unlink])
def test_a_token_that_can_not_be_trusted(
    fault_server: FaultServer, plain: S3Store, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    obj = Object(DATA)
    _broken_off(fault_server, plain, tmp_path / "file", obj)
    harm(tmp_path / ".file.cumulo-part.json")
    fault_server.script(PATH, obj)
    plain.download("key", tmp_path / "file", resume=True, part_size=MIB)
    assert (tmp_path / "file").read_bytes() == DATA
    assert len(_ranges(fault_server)) == PARTS


@pytest.mark.parametrize("algorithm", ["crc32c", "sha256"])
def test_the_checksum_is_of_what_both_runs_brought(
    fault_server: FaultServer, plain: S3Store, tmp_path: Path, algorithm: str
) -> None:
    """What was wrong in the first run is found out at the end of the second."""
    obj = Object(DATA, checksums=[algorithm])
    wrong = Object(DATA[: 2 * MIB] + bytes(MIB) + DATA[3 * MIB :], etag=obj.current_etag)

    def step(request: Request) -> Response:
        return (wrong if _start(request) == 2 * MIB else _stops_at(obj, 4 * MIB))(request)

    fault_server.script(PATH, step)
    with pytest.raises(BaseError):
        plain.download("key", tmp_path / "file", part_size=MIB, max_concurrency=1, resume=True)
    fault_server.script(PATH, obj)
    with pytest.raises(ChecksumError):
        plain.download("key", tmp_path / "file", resume=True)
    plain.download("key", tmp_path / "file", resume=True)
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("checksums", [[], ["crc64nvme"], ["sha256"]])
@pytest.mark.parametrize("part", [0, 2])
def test_a_part_that_was_changed_in_the_file_is_fetched_again(
    fault_server: FaultServer, plain: S3Store, tmp_path: Path, checksums: list[str], part: int
) -> None:
    """The sums in the token are of what came; between two processes anybody may write to the file."""
    obj = Object(DATA, checksums=checksums)
    _broken_off(fault_server, plain, tmp_path / "file", obj)
    with open(tmp_path / ".file.cumulo-part", "r+b") as file:
        file.seek(part * MIB + 1000)
        file.write(bytes(8))
    fault_server.script(PATH, obj)
    plain.download("key", tmp_path / "file", resume=True)
    assert (tmp_path / "file").read_bytes() == DATA
    assert f"bytes={part * MIB}-{(part + 1) * MIB - 1}" in _ranges(fault_server)


def _download_when_free(store: S3Store, file: Path) -> None:
    """Go on once the thread that has begun lets go of the partial file."""
    until = time.monotonic() + 30
    while True:
        try:
            store.download("key", file, resume=True)
            return
        except LocalFileError:  # it is still at it
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.parametrize("end", [_cancel_asyncio, _cancel_future, _interrupt])
def test_a_cancelled_call_goes_on(
    fault_server: FaultServer, faulty: S3Store, tmp_path: Path, end: Callable[..., None]
) -> None:
    obj = Object(DATA)

    def step(request: Request) -> Response:
        return obj(request).having(CRAWLING) if _start(request) >= 3 * MIB else obj(request)

    fault_server.script(PATH, step)
    folder = tmp_path / "folder"
    folder.mkdir()
    end(faulty, folder / "file", resume=True, max_concurrency=2)
    until = time.monotonic() + 30
    while not (folder / ".file.cumulo-part.json").exists() and time.monotonic() < until:
        time.sleep(0.01)
    fault_server.script(PATH, obj)
    _download_when_free(faulty, folder / "file")
    assert (folder / "file").read_bytes() == DATA
    assert os.listdir(folder) == ["file"]


def test_a_loop_that_ends_before_the_clean_up(
    fault_server: FaultServer, faulty: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partial file is let go of all the same, once what has come is noted."""
    obj = Object(DATA)
    fault_server.script(PATH, lambda request: obj(request).having(CRAWLING) if _start(request) else obj(request))
    closed, noted = threading.Event(), tmp_path / ".file.cumulo-part.json"
    flush, cancelled = os.fdatasync, threading.Event()

    def slow_flush(file: int) -> None:
        if cancelled.is_set():
            closed.wait(30)
        flush(file)

    async def main() -> None:
        waiting = faulty.download_async("key", tmp_path / "file", part_size=MIB, max_concurrency=2, resume=True)
        while not noted.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        cancelled.set()
        waiting.cancel()

    monkeypatch.setattr(os, "fdatasync", slow_flush)
    asyncio.run(main())
    closed.set()
    fault_server.script(PATH, obj)
    _download_when_free(faulty, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


KILLED = """
import sys
from cumulo.store import S3Store
store = S3Store("bucket", endpoint=sys.argv[1], region="us-east-1", skip_signature=True,
                client_options={"allow_http": True})
store.download("key", sys.argv[2], part_size=1 << 20, max_concurrency=1, resume=True)
"""


def test_a_killed_process_goes_on(fault_server: FaultServer, faulty: S3Store, tmp_path: Path) -> None:
    obj = Object(DATA)
    fault_server.script(PATH, lambda request: obj(request).having(SLOW))  # a part takes half a second
    process = subprocess.Popen([sys.executable, "-c", KILLED, fault_server.url, str(tmp_path / "file")])
    token = tmp_path / ".file.cumulo-part.json"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (token.exists() and _parts_in(token) >= 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = _parts_in(token)
    fault_server.wait_for(lambda: fault_server.connections.open == 0)  # it has come to all that was asked for
    fault_server.requests.clear()
    fault_server.script(PATH, obj)
    faulty.download("key", tmp_path / "file", resume=True)
    assert (tmp_path / "file").read_bytes() == DATA
    assert len(_ranges(fault_server)) == PARTS - had
    assert os.listdir(tmp_path) == ["file"]


def _parts_in(token: Path) -> int:
    return len(json.loads(json.loads(token.read_text())["state"])["sums"])


def test_two_at_a_time(fault_server: FaultServer, faulty: S3Store, tmp_path: Path) -> None:
    obj = Object(DATA)
    fault_server.script(PATH, lambda request: obj(request).having(Stall()) if _start(request) else obj(request))
    first = faulty.futures.download("key", tmp_path / "file", part_size=MIB, resume=True)
    _wait_for_content(tmp_path)
    with pytest.raises(LocalFileError, match="another download to it is under way"):
        faulty.download("key", tmp_path / "file", resume=True)
    fault_server.script(PATH, obj)
    fault_server.wait_for(lambda: fault_server.release() or first.done())
    assert (tmp_path / "file").read_bytes() == DATA
