"""The SHA-256 that signatures need: made before a request is sent, of what is sent, once for all attempts."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import SourceChangedError
from cumulo.store import S3Store
from tests.ctrl_c import ctrl_c_when
from tests.faults import FaultServer, Object, Request, Response, Step, Upload

from .support import MIB, PATH, fault_store

DATA = os.urandom(6 * MIB + 1)
SOURCES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda _: DATA,
    "changeable": lambda _: bytearray(DATA),
    "file": lambda path: path,
    "stream": lambda _: io.BytesIO(DATA),
    "iterator": lambda _: iter([DATA[:100], DATA[100 : 5 * MIB], DATA[5 * MIB :]]),
}
sources = pytest.mark.parametrize("source", SOURCES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of the content."""
    (tmp_path / "source").write_bytes(DATA)
    return tmp_path / "source"


def _checked(step: Step) -> Callable[[Request], Response]:
    """As S3 does: what is not what was signed is refused."""

    def check(request: Request) -> Response:
        if request.body_length and request.header("x-amz-content-sha256") != request.body_sha256:
            return Response.error(400, "XAmzContentSHA256Mismatch")
        return step if isinstance(step, Response) else step(request)

    return check


@sources
@pytest.mark.parametrize("in_parts", [True, False])
def test_each_attempt_sends_it(
    fault_server: FaultServer, faulty: S3Store, file: Path, source: str, in_parts: bool
) -> None:
    upload = Upload()
    fault_server.script(PATH, _checked(upload))
    refused = [_checked(Response.error(503)), Response.dropped("rst"), _checked(upload)]
    for query in ("", "?partNumber=1", "?partNumber=2"):
        fault_server.script(PATH + query, refused, method="PUT")
    faulty.put("key", SOURCES[source](file), use_multipart=in_parts)
    assert upload.object.data == DATA
    sent = fault_server.seen(method="PUT")
    assert len(sent) == (6 if in_parts else 3)
    assert {each.header("x-amz-content-sha256") for each in sent} == {each.body_sha256 for each in sent}


@sources
def test_no_sum_where_none_is_signed(fault_server: FaultServer, file: Path, source: str) -> None:
    stored = Object(None)
    fault_server.script(PATH, stored)
    fault_store(fault_server, unsigned_payload=True).put("key", SOURCES[source](file), use_multipart=False)
    fault_store(fault_server, skip_signature=True).put("key", SOURCES[source](file), use_multipart=False)
    assert stored.data == DATA
    assert [each.header("x-amz-content-sha256") for each in fault_server.requests] == ["UNSIGNED-PAYLOAD", None]


@pytest.mark.parametrize("in_parts", [True, False])
def test_a_file_that_changes_between_two_attempts(
    fault_server: FaultServer, faulty: S3Store, file: Path, in_parts: bool
) -> None:
    """The second attempt would send what nobody has signed, and is refused; nothing is stored."""
    upload = Upload()

    def change(_: Request) -> Response:
        file.write_bytes(DATA[::-1])
        return Response.error(503)

    fault_server.script(PATH, _checked(upload))
    for query in ("", "?partNumber=2"):
        fault_server.script(PATH + query, [change, _checked(upload)], method="PUT")
    with pytest.raises(SourceChangedError, match="written to"):
        faulty.put("key", file, use_multipart=in_parts)
    assert upload.object.data is None
    assert upload.parts == {}


def test_ctrl_c_while_it_is_made(fault_server: FaultServer, faulty: S3Store, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(4 << 30)  # seconds of work, and no space
    fault_server.script(PATH, Object(None))
    begun: list[int] = []
    with ctrl_c_when(lambda: len(begun) > 20 or begun.append(1)):
        faulty.put("key", tmp_path / "large", use_multipart=False)
    assert fault_server.requests == []
