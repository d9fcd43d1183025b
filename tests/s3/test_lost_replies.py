"""Conditional writes whose answer is lost: the next attempt meets their own work, and that is no refusal.

Content alone proves nothing: it has to have been written since the call began, and an attempt has to have gone
unanswered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cumulo.exceptions import AlreadyExistsError, BaseError, PreconditionError
from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Request, Response, Step, Upload

from .support import MIB, PATH, copied, fault_store

DATA = b"content"
TOLD = "may have succeeded"


def _lost(step: Step, how: str = "rst") -> Step:
    """Does it, and drops the connection, or says that something failed, instead of answering."""

    def answer(request: Request) -> Response:
        assert callable(step)
        step(request)
        return Response.error(500) if how == "500" else Response.dropped(how)  # type: ignore[arg-type]

    return answer


def _create(store: S3Store, content: Any = DATA) -> Any:
    return store.put("key", content, mode="create")


def _update(store: S3Store, content: Any = DATA) -> Any:
    return store.put("key", content, mode={"e_tag": '"old"'})


@pytest.mark.parametrize("how", ["rst", "fin", "500"])
def test_a_create_that_was_done(fault_server: FaultServer, faulty: S3Store, how: str) -> None:
    stored = Object(None)
    fault_server.script(PATH, [_lost(stored, how), Response.error(412)], method="PUT")
    fault_server.script(PATH, stored, method="HEAD")
    assert _create(faulty)["e_tag"] == stored.current_etag
    assert [each.method for each in fault_server.requests] == ["PUT", "PUT", "HEAD"]


def test_an_update_that_was_done(fault_server: FaultServer, faulty: S3Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    for content in (DATA, iter([DATA]), tmp_path / "f"):
        stored = Object(None, etag=None)
        stored.replace(None)
        fault_server.script(PATH, [_lost(lambda asked, s=stored: s._write(asked)), Response.error(412)], method="PUT")
        fault_server.script(PATH, stored, method="HEAD")
        assert _update(faulty, content)["e_tag"] == stored.current_etag


def test_it_is_proven_by_a_checksum_where_the_etag_is_none_of_the_content(fault_server: FaultServer) -> None:
    """As with SSE-KMS."""
    store = fault_store(fault_server, checksum_algorithm="CRC64NVME")
    stored = Object(None, checksums=["crc64nvme"])

    def encrypted(request: Request) -> Response:
        stored(request)
        stored.etag = '"0123456789abcdef0123456789abcdef"'
        return Response()

    fault_server.script(PATH, [_lost(encrypted), Response.error(412)], method="PUT")
    fault_server.script(PATH, stored, method="HEAD")
    assert _create(store)["e_tag"] == stored.etag


def _recent(data: bytes) -> Object:
    made = Object(None)
    made._write(Request("PUT", "/", "HTTP/1.1", [], 0, 0, 0.0, body=data))
    return made


@pytest.mark.parametrize(
    ("found", "content"),
    [
        (Object(DATA), DATA),  # it was there before
        (_recent(b"CONTENT"), DATA),
        (_recent(DATA + DATA), DATA),
        (_recent(b""), b""),  # as anybody's
        (Response.error(403), DATA),
        (Response.error(404), DATA),
    ],
    ids=["old", "other content", "other size", "nothing", "forbidden", "gone"],
)
@pytest.mark.parametrize(("write", "kind"), [(_create, AlreadyExistsError), (_update, PreconditionError)])
def test_what_is_not_proven_stays_an_error_that_says_so(
    fault_server: FaultServer, faulty: S3Store, found: Step, content: bytes, write: Any, kind: type[BaseError]
) -> None:
    fault_server.script(PATH, [Response.dropped("rst"), Response.error(412)], method="PUT")
    fault_server.script(PATH, found, method="HEAD")
    with pytest.raises(kind, match=TOLD) as caught:
        write(faulty, content)
    assert (caught.value.status, caught.value.attempts, caught.value.path) == (412, 2, "key")


@pytest.mark.parametrize(
    "first", [Response.error(503), Response.error(429), Response.error(409, "ConditionalRequestConflict")]
)
def test_an_attempt_that_was_refused_was_not_done(fault_server: FaultServer, faulty: S3Store, first: Response) -> None:
    """Two writers of the same content met: one is told so."""
    fault_server.script(PATH, [first, Response.error(412)], method="PUT")
    fault_server.script(PATH, _recent(DATA), method="HEAD")
    with pytest.raises(AlreadyExistsError) as caught:
        _create(faulty)
    assert TOLD not in str(caught.value)
    assert not fault_server.seen(method="HEAD")


def test_a_refusal_at_once_asks_nothing_more(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(PATH, Response.error(412))
    with pytest.raises(AlreadyExistsError) as caught:
        _create(faulty)
    assert TOLD not in str(caught.value)
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("old", [False, True])
def test_a_create_in_parts(fault_server: FaultServer, faulty: S3Store, old: bool) -> None:
    """As with one request. What was there before has the same ETag if it was uploaded alike."""
    upload, data = Upload(), bytes(6 * MIB)
    fault_server.script(PATH, upload)
    steps: list[Step] = [Response.dropped("rst") if old else _lost(upload), Response.error(412)]
    fault_server.script(PATH + "?uploadId", steps, method="POST")
    if not old:
        assert faulty.put("key", data, mode="create", use_multipart=True)["e_tag"] == upload.object.etag
        return
    digests = b"".join(hashlib.md5(part).digest() for part in (bytes(5 * MIB), bytes(MIB)))
    upload.object = Object(data, etag=f'"{hashlib.md5(digests).hexdigest()}-2"')
    with pytest.raises(AlreadyExistsError, match=TOLD):
        faulty.put("key", data, mode="create", use_multipart=True)
    assert upload.aborted


def _copying(fault_server: FaultServer, source: Object, target: Step) -> S3Store:
    fault_server.script("/bucket/from", source)
    fault_server.script("/bucket/to", [target, Response.error(412)], method="PUT")
    return fault_store(fault_server, copy_if_not_exists="header: cf-copy-destination-if-none-match: *")


CALLS: dict[str, Callable[[S3Store], None]] = {
    "copy": lambda store: store.copy("from", "to", overwrite=False),
    "rename": lambda store: store.rename("from", "to", overwrite=False),
}


@pytest.mark.parametrize("verb", CALLS)
def test_a_copy_that_was_done(fault_server: FaultServer, verb: str) -> None:
    source = Object(DATA)
    store = _copying(fault_server, source, _lost(lambda _: copied()))
    fault_server.script("/bucket/to", _recent(DATA), method="HEAD")
    CALLS[verb](store)
    assert (source.data is None) == (verb == "rename")


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("found", [Object(DATA), _recent(b"CONTENT"), Response.error(403)], ids=["old", "other", "?"])
def test_a_copy_that_is_not_proven(fault_server: FaultServer, verb: str, found: Step) -> None:
    source = Object(DATA)
    store = _copying(fault_server, source, Response.dropped("rst"))
    fault_server.script("/bucket/to", found, method="HEAD")
    with pytest.raises(AlreadyExistsError, match=TOLD):
        CALLS[verb](store)
    assert source.data == DATA, "a rename keeps what it could not copy for sure"
