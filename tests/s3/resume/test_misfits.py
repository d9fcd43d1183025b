"""What is left of an upload and does not fit any more: it begins anew, and says so."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import (
    BaseError,
    ServerError,
)
from cumulo.store import S3Store
from tests.faults import FaultServer, Response, Upload
from tests.s3.support import MIB, PATH, with_query

from .support import DATA, PART, PARTS, assert_whole, broken_off, parts_sent, state_of, token_of, write_state


def _assert_anew(server: FaultServer, store: S3Store, upload: Upload, source: Path, caplog: Any, why: str) -> None:
    with caplog.at_level(logging.WARNING, "cumulo"):
        store.put("key", source, resume=True)
    assert why in caplog.text
    assert_whole(upload, source)


def _touch(source: Path) -> None:
    os.utime(source, ns=(1, 1))


def _grow(source: Path) -> None:
    with source.open("ab") as file:
        file.write(b"more")


def _replace(source: Path) -> None:
    status = source.stat()
    other = source.with_name("other")
    other.write_bytes(bytes(len(DATA)))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(source)


def _rewrite_and_set_back(source: Path) -> None:
    status = source.stat()
    source.write_bytes(bytes(len(DATA)))
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [_touch, _grow, _replace, _rewrite_and_set_back])
def test_a_source_that_changed(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any, change: Callable[[Path], None]
) -> None:
    broken_off(fault_server, plain, source, upload)
    change(source)
    _assert_anew(fault_server, plain, upload, source, caplog, "source was")
    assert parts_sent(fault_server) == list(range(1, PARTS + 1))
    assert upload.aborted == ["upload-1"]


def test_a_source_that_became_small(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any
) -> None:
    broken_off(fault_server, plain, source, upload)
    source.write_bytes(b"small")
    _assert_anew(fault_server, plain, upload, source, caplog, "source was")
    assert upload.aborted == ["upload-1"]


WRONG: dict[str, list[Any]] = {
    "target": ["elsewhere", None],
    "made": ["", 5],
    "source": [[], None, [1, 2, 3, 4, 5]],
    "upload": ["upload-99", "", None, 7],
    "part": [0, -1, True, "x", 6 * MIB, 2**60, len(DATA) - PART, None],
    "parts": [None, [], {"1": []}, {"x": [0, PART, "e", None]}, {"0": [-PART, PART, "e", None]},
              {"1": [0, PART, '"wrong"', None]}, {"8": [7 * PART, PART, "e", None]}, {"1": 5}],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_token_with_a_wrong_field(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any, name: str, value: Any
) -> None:
    broken_off(fault_server, plain, source, upload)
    write_state(token_of(source), {**state_of(token_of(source)), name: value})
    _assert_anew(fault_server, plain, upload, source, caplog, "begins anew")
    assert parts_sent(fault_server) == list(range(1, PARTS + 1))


@pytest.mark.parametrize("name", WRONG)
def test_a_token_that_lacks_a_field(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any, name: str
) -> None:
    broken_off(fault_server, plain, source, upload)
    state = state_of(token_of(source))
    del state[name]
    write_state(token_of(source), state)
    _assert_anew(fault_server, plain, upload, source, caplog, "begins anew")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", b'{"cumulo": 1, "crc32": 0, "state": "{}"}'])
def test_a_token_that_is_none(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any, content: bytes
) -> None:
    broken_off(fault_server, plain, source, upload)
    token_of(source).write_bytes(content)
    _assert_anew(fault_server, plain, upload, source, caplog, "can't be read")


def test_other_attributes(fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any) -> None:
    broken_off(fault_server, plain, source, upload)
    with caplog.at_level(logging.WARNING, "cumulo"):
        plain.put("key", source, resume=True, attributes={"made-by": "me"})
    assert "made was" in caplog.text
    (create,) = with_query(fault_server, "uploads")
    assert create.header("x-amz-meta-made-by") == "me"
    assert upload.aborted == ["upload-1"]
    assert_whole(upload, source)


def test_an_upload_that_is_gone(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any
) -> None:
    broken_off(fault_server, plain, source, upload)
    upload.aborted.append(upload.parts.popitem()[0])
    _assert_anew(fault_server, plain, upload, source, caplog, "NoSuchUpload")
    assert parts_sent(fault_server) == list(range(1, PARTS + 1))


@pytest.mark.parametrize("harm", ["missing", "other content", "other size"])
def test_parts_that_the_server_has_not(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, harm: str
) -> None:
    broken_off(fault_server, plain, source, upload)
    (parts,) = upload.parts.values()
    if harm == "missing":
        del parts[2]
    else:
        parts[2] = bytes(PART if harm == "other content" else MIB)
    plain.put("key", source, resume=True)
    assert parts_sent(fault_server) == [2, 5, 6, 7]
    assert_whole(upload, source)


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_that_does_not_list_parts(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path, caplog: Any, status: int
) -> None:
    broken_off(fault_server, plain, source, upload)
    fault_server.script(PATH + "?uploadId", Response.error(status, "Whatever"), method="GET")
    _assert_anew(fault_server, plain, upload, source, caplog, "does not say what it has")
    assert upload.aborted == ["upload-1"]


def test_a_server_that_is_down_for_a_moment(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path
) -> None:
    broken_off(fault_server, plain, source, upload)
    fault_server.script(PATH + "?uploadId", Response.error(503), method="GET")
    with pytest.raises(ServerError):
        plain.put("key", source, resume=True)
    fault_server.script(PATH + "?uploadId", upload, method="GET")
    fault_server.requests.clear()
    plain.put("key", source, resume=True)
    assert parts_sent(fault_server) == [5, 6, 7]


def test_a_completion_that_finds_the_parts_wrong_ends_it(
    fault_server: FaultServer, plain: S3Store, upload: Upload, source: Path
) -> None:
    broken_off(fault_server, plain, source, upload)
    fault_server.script(PATH + "?uploadId", Response.error(400, "InvalidPart"), method="POST")
    with pytest.raises(BaseError):
        plain.put("key", source, resume=True)
    assert upload.aborted == ["upload-1"]
    assert os.listdir(source.parent) == ["file"]
