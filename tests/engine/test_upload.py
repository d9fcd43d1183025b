"""Request bodies: sent whole and right, again if need be, and not to the end when the answer is there already."""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cumulo import _native as native
from tests.faults import Cut, FaultServer, Faulty, Object, Response, Upload

from .support import (
    CHILD_S,
    PATH,
    Dispatcher,
    error_of,
    get,
    make_client,
    make_signing_client,
    raw_server,
    request,
    run_program,
)

Connect = Callable[..., native.Client]
LARGE = os.urandom(1 << 20) * 24
"""More than what the kernel takes unread."""


@pytest.fixture(params=[make_client, make_signing_client])
def files_client(fault_server: FaultServer, request: pytest.FixtureRequest) -> native.Client:
    """A client that copies what it sends of files, and one for which the kernel sends them."""
    client: native.Client = request.param(fault_server.url)
    return client


def put(client: native.Client, body: object, **options: object) -> native.Request:
    """A PUT, to its end."""
    return request(client, "PUT", body=body, **options).perform()


@pytest.mark.parametrize("body", [b"", b"x", LARGE, bytearray(b"changeable"), memoryview(LARGE)[5:-7]], ids=len)
def test_from_memory(fault_server: FaultServer, client: native.Client, body: bytes) -> None:
    stored = Object(None)
    fault_server.script(PATH, stored)
    put(client, body)
    assert stored.data == body
    (asked,) = fault_server.requests
    assert asked.header("content-length") == str(len(body))
    assert asked.body_sha256 == hashlib.sha256(body).hexdigest() or not body
    assert client.stats()["bytes_sent"] == len(body)


def test_what_the_collector_finds_lets_go(client: native.Client) -> None:
    """Of a request that was never sent, and of a target, that nobody has any more but themselves."""
    content, target = bytearray(100), bytearray(100)
    unsent = request(client, "PUT", body=memoryview(content))
    unsent.context = [unsent, memoryview(native.Exported(memoryview(target)))]
    del unsent
    gc.collect()
    content.append(1)
    target.append(1)


@pytest.mark.parametrize("size", [1, 1000, 5000, 100_000, len(LARGE) - 1])
def test_from_pieces(fault_server: FaultServer, client: native.Client, size: int) -> None:
    """Sent again they are read from the first on; their owners have them back with the end."""
    stored = Object(None)
    half = Faulty(Response.error(503), read_stall=len(LARGE) // 2)
    fault_server.script(PATH, [Response.dropped("rst"), half, stored])
    most = LARGE[: size * 1000]
    owners = [bytearray(most[at : at + size]) for at in range(0, len(most), size)]
    sent = request(client, "PUT", body=native.Pieces([b"", *owners, b""]))
    with Dispatcher() as dispatcher:
        done = dispatcher.submit(sent)
        while not done.wait(0.02):
            fault_server.release()
    sent.raise_if_failed()
    assert stored.data == most
    for owner in owners:
        owner.clear()


@pytest.mark.parametrize(("start", "length"), [(0, len(LARGE)), (1000, 500_000), (5, 0)])
def test_from_a_file(
    fault_server: FaultServer, files_client: native.Client, tmp_path: Path, start: int, length: int
) -> None:
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    stored = Object(None)
    fault_server.script(PATH, stored)
    with path.open("rb") as file:
        request(files_client, "PUT", file=(file, start, length)).perform()
        assert file.tell() == 0
    assert stored.data == LARGE[start : start + length]


@pytest.mark.parametrize("start", [0, 12345])
def test_from_a_file_to_a_server_that_pauses(
    fault_server: FaultServer, files_client: native.Client, tmp_path: Path, start: int
) -> None:
    """The kernel takes a part of what it is given, and the rest when there is room again."""
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    stored = Object(None)
    fault_server.script(PATH, [Faulty(Response.error(503), read_stall=len(LARGE) // 3), stored])
    with path.open("rb") as file, Dispatcher() as dispatcher:
        sent = request(files_client, "PUT", file=(file, start, len(LARGE) - start))
        done = dispatcher.submit(sent)
        while not done.wait(0.02):
            fault_server.release()
        assert (sent.error, sent.attempts) == (None, 2)
    assert stored.data == LARGE[start:]


def test_a_file_that_is_cut_on_the_way(fault_server: FaultServer, files_client: native.Client, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    fault_server.script(PATH, Response(read_stall=len(LARGE) // 3))
    with path.open("rb") as file, Dispatcher() as dispatcher:
        sent = request(files_client, "PUT", file=(file, 0, len(LARGE)))
        done = dispatcher.submit(sent)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        os.truncate(path, 1000)
        fault_server.release()
        assert done.wait(CHILD_S)
    assert sent.error == "body_read"


def test_a_hang_up_while_a_file_is_sent(tmp_path: Path) -> None:
    """First of its one direction, then by a reset: then a write raises SIGPIPE, also one that has sent a part."""
    path, attempts = tmp_path / "source", 30
    path.write_bytes(LARGE)

    def hang_up(sock: socket.socket) -> None:
        for _ in range(16):  # the client is in the middle of a write then
            sock.recv(1 << 16)
        sock.shutdown(socket.SHUT_WR)

    with raw_server(hang_up, times=attempts) as url:
        ended = run_program("upload_from_a_file", url, path, attempts)
    assert ended == (0, f"reset {attempts}\n", "")


def test_over_tls(fault_server: FaultServer) -> None:
    stored = Object(None)
    fault_server.script(PATH, stored)
    put(make_client(fault_server.tls_url(), ca_pem=fault_server.ca_file.read_bytes()), LARGE)
    assert stored.data == LARGE


def test_a_file_that_is_shorter_than_it_was(
    fault_server: FaultServer, files_client: native.Client, tmp_path: Path
) -> None:
    path = tmp_path / "source"
    path.write_bytes(LARGE[:1000])
    fault_server.script(PATH, Object(None))
    with path.open("rb") as file:
        error = error_of(lambda: request(files_client, "PUT", file=(file, 0, 5000)).perform())
    assert (error.error, error.attempts) == ("body_read", 1)
    get_after = request(files_client, path="/bucket/other")
    assert error_of(get_after.perform).status == 404, "the client is still of use"


def test_sent_again_whole(fault_server: FaultServer, files_client: native.Client, tmp_path: Path) -> None:
    stored = Object(None)
    fault_server.script(PATH, [Response.error(503), Response.dropped("rst"), Response.error(500), stored])
    put(files_client, LARGE)
    assert stored.data == LARGE
    path = tmp_path / "source"
    path.write_bytes(LARGE)
    fault_server.script(PATH, [Response.error(503), Response.dropped("fin"), stored])
    stored.replace(None)
    with path.open("rb") as file:
        request(files_client, "PUT", file=(file, 10, len(LARGE) - 10)).perform()
    assert stored.data == LARGE[10:]


def test_the_connection_breaks_on_the_way(fault_server: FaultServer, client: native.Client) -> None:
    stored = Object(None)
    fault_server.script(PATH, [Response(read_stall=1 << 20), stored])
    with Dispatcher() as dispatcher:
        upload = request(client, "PUT", body=LARGE)
        done = dispatcher.submit(upload)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        fault_server.close_connections("rst")
        assert done.wait(CHILD_S)
    assert (upload.error, upload.attempts) == (None, 2)
    assert stored.data == LARGE


@pytest.mark.parametrize("retries", [0, 1])
def test_a_break_after_a_time_longer_than_that_for_retries(retries: int) -> None:
    """As long as the upload gets on that is none of it; how often it may be sent is counted all the same."""
    served: list[int] = []

    def serve(sock: socket.socket) -> None:
        left = len(LARGE) + 10_000  # more than there is with the head
        began = time.monotonic()
        while left > 20_000 and (data := sock.recv(min(left, 65536))):
            left -= len(data)
            if not served and time.monotonic() - began < 3:
                time.sleep(0.05)
        served.append(left)
        if len(served) > 1:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset

    with raw_server(serve, times=1 + retries) as url:
        client = make_client(url, retry_timeout_ms=2000, max_retries=retries)
        if retries:
            assert put(client, LARGE).attempts == 2
        else:
            assert error_of(lambda: put(client, LARGE)).attempts == 1


@pytest.mark.parametrize("after", ["keep", "fin", "rst", "hold"])
@pytest.mark.parametrize("body", [b"", b"<Error><Code>EntityTooLarge</Code></Error>"], ids=["empty", "told"])
def test_refused_before_it_was_sent(fault_server: FaultServer, client: native.Client, after: str, body: bytes) -> None:
    refusal = Response(413, body, read_body=False, after=after)  # type: ignore[arg-type]
    fault_server.script(PATH, refusal)
    began = time.monotonic()
    error = error_of(lambda: put(client, LARGE))
    assert (error.error, error.status, error.attempts) == ("status", 413, 1)
    assert error.body == body
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("hang_up", ["fin", "rst"])
def test_a_hang_up_over_tls(fault_server: FaultServer, hang_up: str) -> None:
    """Of the records that are on their way several may fail, each for itself."""
    stored = Object(None)
    cuts = [Response.dropped(hang_up), Response(413, read_body=False, after=hang_up)]  # type: ignore[arg-type]
    client = make_client(fault_server.tls_url(), ca_pem=fault_server.ca_file.read_bytes())
    for _ in range(10):
        fault_server.script(PATH, [cuts[0], stored])
        put(client, LARGE)
        assert stored.data == LARGE
        stored.replace(None)
        fault_server.script(PATH, cuts[1])
        assert error_of(lambda: put(client, LARGE)).error in ("status", "reset")


def test_refused_in_chunks_before_it_was_sent(fault_server: FaultServer, connect: Connect) -> None:
    refusal = Response(413, b"<Error/>", framing="chunked", read_body=False, after="hold")
    fault_server.script(PATH, refusal)
    error = error_of(lambda: put(connect(stall_timeout_ms=500, max_retries=0), LARGE))
    assert (error.error, error.status) == ("status", 413)


def test_asked_to_come_back_before_it_was_sent(fault_server: FaultServer, client: native.Client) -> None:
    stored = Object(None)
    fault_server.script(PATH, [Response.error(503).but(read_body=False), stored])
    put(client, LARGE)
    assert stored.data == LARGE


def test_interim_answers(fault_server: FaultServer, client: native.Client) -> None:
    stored = Object(None)
    fault_server.script(PATH, lambda asked: stored(asked).but(interim=(100, 102, 103)))
    put(client, LARGE)
    assert stored.data == LARGE


@pytest.mark.parametrize("send_continue", [True, False])
def test_100_continue(fault_server: FaultServer, client: native.Client, send_continue: bool) -> None:
    # The engine does not wait for the 100; it may come or not.
    fault_server.script(PATH, Response(send_continue=send_continue))
    put(client, LARGE, headers=[("Expect", "100-continue")])
    assert fault_server.requests[0].body_length == len(LARGE)


def test_the_answer_breaks_off(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [Response.of(b"stored").having(Cut(3, "rst")), Response.of(b"stored")])
    assert bytes(put(client, b"body").take_body()) == b"stored"
    assert len(fault_server.requests) == 2


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
def test_no_body_has_a_length_too(fault_server: FaultServer, client: native.Client, method: str) -> None:
    fault_server.script(PATH, Response())
    request(client, method).perform()
    assert fault_server.requests[0].header("content-length") == "0"


def test_many_at_once(fault_server: FaultServer, connect: Connect) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    client = connect(max_connections=8)
    created = request(client, "POST", f"{PATH}?uploads").perform()
    assert b"upload-1" in bytes(created.take_body())
    parts = [os.urandom(1000) * 200 for _ in range(50)]
    with Dispatcher() as dispatcher:
        sent = [
            request(client, "PUT", f"{PATH}?partNumber={number}&uploadId=upload-1", body=part)
            for number, part in enumerate(parts)
        ]
        dispatcher.finish(sent)
    assert upload.parts["upload-1"] == dict(enumerate(parts))
    request(
        client, "POST", f"{PATH}?uploadId=upload-1", body=b"<CompleteMultipartUpload/>", error_in_200=True
    ).perform()
    assert get(client) == b"".join(parts)


def test_the_source_is_let_go_of(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [Response(), Response.error(403)])
    body = bytearray(LARGE)
    put(client, body)
    body.append(0)
    assert error_of(lambda: put(client, body)).status == 403
    body.append(0)
