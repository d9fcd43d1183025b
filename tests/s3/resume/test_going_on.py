"""put with `resume`: where another call or process goes on, and when it must not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import (
    AlreadyExistsError,
    LocalFileError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
)
from cumulo.store import LocalStore, MemoryStore, S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Faulty, Request, Response, Stall, Upload
from tests.s3.support import MIB, PATH, server_store, with_query
from tests.servers import S3Server

from .support import DATA, PART, PARTS, assert_whole, broken_off, parts_sent, state_of, token_of

# -- going on


@pytest.mark.parametrize("how", ["sync", "async", "futures"])
def test_the_rest_issent(fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, how: str) -> None:
    broken_off(fault_server, plain, source, upload)
    if how == "sync":
        result = plain.put("key", source, resume=True, chunk_size=8 * MIB)  # the parts stay as they were
    elif how == "futures":
        result = plain.futures.put("key", source, resume=True).result(60)
    else:

        async def run() -> Any:
            return await plain.put_async("key", source, resume=True)

        result = asyncio.run(run())
    assert parts_sent(fault_server) == [5, 6, 7]
    assert result["e_tag"] == upload.object.etag
    assert upload.parts == {}
    assert not with_query(fault_server, "uploads")
    assert_whole(upload, source)


def test_listings_of_several_pages(fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path) -> None:
    upload.page = 2
    broken_off(fault_server, plain, source, upload)
    plain.put("key", source, resume=True)
    assert parts_sent(fault_server) == [5, 6, 7]
    assert len(with_query(fault_server, "uploadId", "GET")) == 2
    assert_whole(upload, source)


def test_a_token_elsewhere(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, tmp_path: Path
) -> None:
    fault_server.script(PATH + "?partNumber=5", Response.error(403))
    with pytest.raises(PermissionDeniedError):
        plain.put("key", source, resume=tmp_path / "token", max_concurrency=1)
    assert os.listdir(source.parent) == ["file"]
    fault_server.script(PATH + "?partNumber=5", upload)
    fault_server.requests.clear()
    plain.put("key", source, resume=str(tmp_path / "token"))
    assert parts_sent(fault_server) == [5, 6, 7]
    assert not (tmp_path / "token").exists()
    assert_whole(upload, source)


@pytest.mark.parametrize("begun", [False, True], ids=["fresh", "broken off before"])
def test_several_at_a_time(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, begun: bool
) -> None:
    """The object is whole, whoever writes it; who comes too late for the upload is told so, and nothing is left."""
    if begun:
        broken_off(fault_server, plain, source, upload)
    futures = [plain.futures.put("key", source, resume=True, max_concurrency=2) for _ in range(3)]
    errors = [future.exception(60) for future in futures]
    assert None in errors
    assert all(error is None or isinstance(error, NotFoundError) for error in errors)
    assert_whole(upload, source)
    assert upload.parts == {}


def test_two_targets_have_two_tokens(fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path) -> None:
    broken_off(fault_server, plain, source, upload)
    other = Upload()
    fault_server.script("/bucket/other", other)
    plain.put("other", source, resume=True)
    assert other.object.data == DATA
    fault_server.requests.clear()
    plain.put("key", source, resume=True)
    assert parts_sent(fault_server) == [5, 6, 7]


def _wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def _cancel_task(store: S3Store, source: Path, stalled: Callable[[], object]) -> None:
    async def run() -> None:
        waiting = store.put_async("key", source, resume=True)
        await asyncio.to_thread(_wait, stalled)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.3)  # for what is kept

    asyncio.run(run())


def _cancel_future(store: S3Store, source: Path, stalled: Callable[[], object]) -> None:
    future = store.futures.put("key", source, resume=True)
    _wait(stalled)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(30)


def _interrupt(store: S3Store, source: Path, stalled: Callable[[], object]) -> None:
    with ctrl_c_when(stalled):
        store.put("key", source, resume=True)


@pytest.mark.parametrize("end", [_cancel_task, _cancel_future, _interrupt])
def test_a_cancelled_call_goes_on(
    fault_server: FaultServer, faulty: S3Store, upload: Upload, source: Path, end: Callable[..., None]
) -> None:
    fault_server.script(PATH + "?partNumber=6", Faulty(upload, Stall()))

    def stalled() -> bool:
        return bool(fault_server.stalled) and len(next(iter(upload.parts.values()))) == PARTS

    end(faulty, source, stalled)
    until = time.monotonic() + 20
    while len(state_of(token_of(source))["parts"]) == 0 and time.monotonic() < until:
        time.sleep(0.01)
    had = {int(number) for number in state_of(token_of(source))["parts"]}
    assert had
    assert not upload.aborted
    fault_server.script(PATH + "?partNumber=6", upload)
    fault_server.requests.clear()
    faulty.put("key", source, resume=True)
    assert parts_sent(fault_server) == sorted(set(range(1, PARTS + 1)) - had)
    assert_whole(upload, source)


# -- killed


KILLED = """
import json, sys
from pathlib import Path
from cumulo.store import S3Store
store = S3Store(client_options={"allow_http": True}, **json.loads(sys.argv[1]))
store.put("key", Path(sys.argv[2]), resume=True, max_concurrency=1)
"""


def _killed(options: dict[str, Any], source: Path) -> set[int]:
    """Run an upload and kill it once its token has parts. Those."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, json.dumps(options), str(source)])
    until = time.monotonic() + 120
    parts: set[int] = set()
    while not parts and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
        for token in source.parent.glob(".file.cumulo-put-*.json"):
            parts = {int(number) for number in state_of(token)["parts"]}
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return {int(number) for number in state_of(token_of(source))["parts"]}


def test_a_killed_process(fault_server: FaultServer, faulty: S3Store, upload: Upload, source: Path) -> None:
    fault_server.script(PATH + "?partNumber", Faulty(upload, read_rate=10 * MIB), method="PUT")
    options = {"bucket": "bucket", "endpoint": fault_server.url, "region": "us-east-1", "skip_signature": True}
    had = _killed(options, source)
    assert 0 < len(had) < PARTS
    fault_server.script(PATH + "?partNumber", upload, method="PUT")
    fault_server.wait_for(lambda: fault_server.connections.open == 0)  # it has come to all that was sent
    fault_server.requests.clear()
    faulty.put("key", source, resume=True)
    assert parts_sent(fault_server) == sorted(set(range(1, PARTS + 1)) - had)
    assert_whole(upload, source)


@pytest.mark.parametrize("name", ["ministack", "moto"])
def test_a_killed_process_and_real_servers(request: pytest.FixtureRequest, name: str, tmp_path: Path) -> None:
    server: S3Server = request.getfixturevalue(name)
    source = tmp_path / "folder" / "file"
    source.parent.mkdir()
    content = os.urandom(MIB) * 401
    source.write_bytes(content)
    store = server_store(server)
    options = {
        "bucket": store._settings.bucket, "endpoint": server.endpoint, "region": server.region,
        "access_key_id": server.access_key_id, "secret_access_key": server.secret_access_key,
    }  # fmt: skip
    had = _killed(options, source)
    before = store.stats()
    store.put("key", source, resume=True)
    after = store.stats()
    parts = -(-len(content) // PART) - len(had)
    assert 0 < len(had) < -(-len(content) // PART)
    assert after["requests"] - before["requests"] == parts + 2  # ListParts and the completion
    assert after["bytes_sent"] - before["bytes_sent"] < len(content) - (len(had) - 1) * PART
    assert store.get("key").bytes() == content
    assert os.listdir(source.parent) == ["file"]


# -- conditions


@pytest.mark.parametrize(
    ("mode", "header", "kind"),
    [
        ("create", ("if-none-match", "*"), AlreadyExistsError),
        ({"e_tag": '"old"'}, ("if-match", '"old"'), PreconditionError),
    ],
)
def test_conditions_hold_for_the_completion(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, mode: Any, header: Any, kind: Any
) -> None:
    broken_off(fault_server, plain, source, upload, mode=mode)
    fault_server.script(PATH + "?uploadId", Response.error(412, "PreconditionFailed"), method="POST")
    with pytest.raises(kind):
        plain.put("key", source, resume=True, mode=mode)
    assert not upload.aborted
    fault_server.script(PATH + "?uploadId", upload, method="POST")
    fault_server.requests.clear()
    plain.put("key", source, resume=True, mode=mode)
    assert parts_sent(fault_server) == []
    (complete,) = with_query(fault_server, "uploadId", "POST")
    assert complete.header(header[0]) == header[1]
    assert_whole(upload, source)


def test_create_on_a_real_server(ministack: S3Server, source: Path) -> None:
    store = server_store(ministack)
    store.put("key", source, resume=True, mode="create")
    assert store.get("key").bytes() == DATA
    with pytest.raises(AlreadyExistsError):
        store.put("key", source, resume=True, mode="create")


# -- arguments


def test_other_sources_are_refused(fault_server: FaultServer, plain: S3Store, source: Path, tmp_path: Path) -> None:
    for store in (plain, LocalStore(tmp_path), MemoryStore()):
        with source.open("rb") as file:
            for content in (b"x", iter([b"x"]), file):
                with pytest.raises(ValueError, match="Path"):
                    store.put("key", content, resume=True)
        with pytest.raises(TypeError, match="resume"):
            store.put("key", source, resume=1)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="resume"):
            store.put("key", source, resume="")
    assert fault_server.requests == []


def test_stores_without_uploads_justwrite(source: Path, tmp_path: Path) -> None:
    for store in (LocalStore(tmp_path), MemoryStore()):
        store.put("key", source, resume=True)
        assert store.get("key").bytes() == DATA
    assert os.listdir(source.parent) == ["file"]


@pytest.mark.parametrize("options", [{"use_multipart": False}, {"chunk_size": 40 * MIB}])
def test_one_request_needs_notoken(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, options: dict[str, Any]
) -> None:
    seen: list[list[str]] = []

    def step(request: Request) -> Response:
        seen.append(os.listdir(source.parent))
        return Response(headers=(("ETag", '"x"'),))

    fault_server.script(PATH, step, method="PUT")
    plain.put("key", source, resume=True, **options)
    assert seen == [["file"]]


def test_a_token_that_can_not_be_written(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(LocalFileError) as caught:
        plain.put("key", source, resume=tmp_path / "missing" / "token")
    assert caught.value.filename == str(tmp_path / "missing" / "token")
    assert parts_sent(fault_server) == []
    assert upload.aborted == ["upload-1"]
