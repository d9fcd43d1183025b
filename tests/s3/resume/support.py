"""What the tests of `put(resume=)` share: an upload that was broken off, and its token."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import (
    PermissionDeniedError,
)
from cumulo.store import S3Store
from tests.faults import FaultServer, Response, Upload
from tests.s3.support import MIB, PATH, with_query

DATA = os.urandom(32 * MIB + 12_345)
PARTS = 7
PART = 5 * MIB


def token_of(source: Path) -> Path:
    """Where the token of an upload of it is."""
    (found,) = source.parent.glob(".file.cumulo-put-*.json")
    return found


def state_of(token: Path) -> dict[str, Any]:
    """What a token says."""
    return json.loads(json.loads(token.read_text())["state"])


def write_state(token: Path, state: dict[str, Any]) -> None:
    """Make a token say something else."""
    content = json.dumps(state)
    token.write_text(json.dumps({"cumulo": 1, "crc32": zlib.crc32(content.encode()), "state": content}))


def parts_sent(server: FaultServer) -> list[int]:
    """The numbers of the parts that were put."""
    return sorted(int(each.query["partNumber"]) for each in with_query(server, "partNumber", "PUT"))


def broken_off(server: FaultServer, store: S3Store, source: Path, upload: Upload, **options: Any) -> None:
    """Parts 1 to 4 are sent, the fifth is refused."""
    server.script(PATH + "?partNumber=5", Response.error(403))
    with pytest.raises(PermissionDeniedError):
        store.put("key", source, resume=True, max_concurrency=1, **options)
    server.script(PATH + "?partNumber=5", upload)
    assert not upload.aborted
    assert sorted(state_of(token_of(source))["parts"]) == ["1", "2", "3", "4"]
    server.requests.clear()


def assert_whole(upload: Upload, source: Path) -> None:
    """The object is the file, and no token is left."""
    assert upload.object.data == source.read_bytes()
    assert os.listdir(source.parent) == ["file"]
