"""CRC32C or MD5 of what is read, as `x-goog-hash` has it. What is wrong comes from the fault server."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest

from cumulo.exceptions import ChecksumError, GenericError
from tests.faults import FaultServer, Faulty, Flip, Object
from tests.servers.gcs_objects import crc32c

from .support import MIB, PATH, fault_store

DATA = os.urandom(3 * MIB + 17)
GOOD = "crc32c=" + crc32c(DATA)
MD5 = "md5=" + base64.b64encode(hashlib.md5(DATA).digest()).decode()
FORMS = {
    "two headers": [GOOD, MD5],
    "one header": [f"{GOOD},{MD5}"],
    "md5 first": [f"{MD5}, {GOOD}"],
    "crc32c alone": [GOOD],
    "md5 alone": [MD5],
}


def _object(hashes: list[str]) -> Object:
    return Object(DATA, headers=tuple(("x-goog-hash", text) for text in hashes))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part_size", [MIB, 64 * MIB], ids=["parts", "whole"])
def test_what_was_damaged_is_noticed(fault_server: FaultServer, form: str, part_size: int) -> None:
    fault_server.script(PATH, Faulty(_object(FORMS[form]), Flip(MIB // 2)))
    with pytest.raises(ChecksumError):
        fault_store(fault_server).get("key", part_size=part_size).bytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part_size", [MIB, 64 * MIB], ids=["parts", "whole"])
def test_what_is_right_is_read(fault_server: FaultServer, form: str, part_size: int) -> None:
    fault_server.script(PATH, _object(FORMS[form]))
    store = fault_store(fault_server)
    assert store.get("key", part_size=part_size).bytes() == DATA
    assert store.get_range("key", start=5, length=100) == DATA[5:105]
    assert store.get("key", options={"range": (5, 105)}).bytes() == DATA[5:105]


@pytest.mark.parametrize("text", ["", "crc32c=", "crc32c=!!", "sha9=AAAA", ",,", "=", "crc32c=" + "A" * 500])
def test_hashes_that_are_none(fault_server: FaultServer, text: str) -> None:
    fault_server.script(PATH, _object([text]))
    assert fault_store(fault_server).get("key").bytes() == DATA


def test_what_is_decompressed_on_the_way_has_no_hash(fault_server: FaultServer) -> None:
    """Those in its headers are of what is stored: https://cloud.google.com/storage/docs/transcoding"""
    headers = (("x-goog-hash", "crc32c=" + crc32c(b"what is stored")), ("X-Goog-Stored-Content-Encoding", "gzip"))
    fault_server.script(PATH, Object(DATA, headers=headers))
    assert fault_store(fault_server).get("key", part_size=MIB).bytes() == DATA
    assert fault_store(fault_server).get("key", max_concurrency=1).bytes() == DATA
    stored = Object(DATA, headers=(*headers, ("Content-Encoding", "gzip")))
    for part_size in (MIB, 64 * MIB):
        fault_server.script(PATH, stored)
        with pytest.raises(ChecksumError):
            fault_store(fault_server).get("key", part_size=part_size).bytes()


def test_what_was_damaged_on_its_way_up_is_refused(gcs, store) -> None:
    """That the server checks what we send, so that the header is the right one."""
    from cumulo._providers.base import PutPlan

    request = store._use().provider.put("key", PutPlan(), body=b"content", checksum=crc32c(b"other"))
    with pytest.raises(GenericError) as caught:
        request.perform()
    assert caught.value.code == "BadDigest"
