"""The stall timeout ends what makes no progress, and nothing else; the total timeout ends everything."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from cumulo import _native as native
from tests.faults import Delay, FaultServer, Faulty, Object, Response, Stall, Trickle

from .support import (
    PATH,
    STREAM,
    Dispatcher,
    error_of,
    get,
    make_client,
    open_stream,
    raw_server,
    read_piece,
    read_stream,
    request,
)

DATA = bytes(range(256)) * 400
STALL_MS = 1000
"""Short, and still long against the pauses of a busy machine."""
LONG_S = 3 * STALL_MS / 1000
Connect = Callable[..., native.Client]


@pytest.fixture
def hasty(connect: Connect) -> native.Client:
    """A client that loses patience soon."""
    return connect(stall_timeout_ms=STALL_MS, max_retries=2)


def ranged(client: native.Client) -> bytes:
    """The whole object as a range, so that it can be gone on with."""
    return bytes(native.get_range(client, "key", 0, len(DATA), None))


def test_a_stall_before_the_headers_is_repaired(fault_server: FaultServer, hasty: native.Client) -> None:
    fault_server.script(PATH, [Response.never(), Object(DATA)])
    assert ranged(hasty) == DATA
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer == 1)


def test_a_stall_in_the_body_is_repaired(fault_server: FaultServer, hasty: native.Client) -> None:
    fault_server.script(PATH, [Faulty(Object(DATA), Stall(40_000)), Object(DATA)])
    assert ranged(hasty) == DATA
    assert fault_server.requests[1].header("range") == f"bytes=40000-{len(DATA) - 1}"


@pytest.mark.parametrize("after", [None, 0, 40_000])
def test_it_stalls_every_time(fault_server: FaultServer, hasty: native.Client, after: int | None) -> None:
    fault_server.script(PATH, Response.of(DATA).having(Stall(after)))
    began = time.monotonic()
    error = error_of(lambda: get(hasty))
    assert (error.error, error.attempts) == ("stall_timeout", 3)
    assert time.monotonic() - began >= 3 * STALL_MS / 1000


def test_slow_but_steady(fault_server: FaultServer, hasty: native.Client) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Trickle(len(DATA) / LONG_S)))
    began = time.monotonic()
    assert ranged(hasty) == DATA
    assert time.monotonic() - began > 2 * STALL_MS / 1000, "it was not slow"
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize("size", [3 << 20, 6 << 20])
def test_a_slow_upload(size: int) -> None:
    # The kernel takes megabytes at once, so that for longer than the stall timeout the engine has nothing to do.
    def read_slowly(sock: socket.socket) -> None:
        left, began = size, time.monotonic()
        head, _, body = sock.recv(4096).partition(b"\r\n\r\n")
        assert head.startswith(b"PUT")
        left -= len(body)
        while left:
            data = sock.recv(min(left, 65536))
            assert data, "the client has left"
            left -= len(data)
            time.sleep(max(0, (size - left) / 1e6 - (time.monotonic() - began)))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with raw_server(read_slowly) as url:
        done = request(make_client(url, stall_timeout_ms=STALL_MS, max_retries=0), "PUT", body=bytes(size)).perform()
    assert (done.response[0], done.attempts) == (200, 1)


def test_an_upload_that_nobody_reads(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(stall_timeout_ms=STALL_MS, max_retries=1)
    fault_server.script(PATH, Response(read_stall=1 << 20))
    error = error_of(lambda: request(client, "PUT", body=bytes(64 << 20)).perform())
    assert (error.error, error.attempts) == ("stall_timeout", 2)


def test_a_reader_that_pauses(fault_server: FaultServer, hasty: native.Client) -> None:
    data = DATA * (STREAM // len(DATA))
    fault_server.script(PATH, Object(data))
    stream = open_stream(hasty)
    received = read_piece(stream) + read_piece(stream)
    time.sleep(LONG_S)
    received += read_piece(stream)
    time.sleep(LONG_S)
    assert received + b"".join(read_stream(stream)) == data
    assert len(fault_server.requests) == 1


def test_a_stream_that_stalls_while_it_is_read(fault_server: FaultServer, hasty: native.Client) -> None:
    data = DATA * (STREAM // len(DATA))
    fault_server.script(PATH, [Faulty(Object(data), Stall(3_000_000)), Object(data)])
    assert b"".join(read_stream(open_stream(hasty))) == data
    assert fault_server.requests[1].header("range") == f"bytes=3000000-{len(data) - 1}"


def test_no_stall_timeout(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(stall_timeout_ms=0)
    fault_server.script(PATH, Faulty(Object(DATA), Stall(40_000, LONG_S)))
    assert ranged(client) == DATA
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize(
    "step",
    [Response.never(), Response.of(DATA).having(Trickle(20_000)), Response.error(503)],
    ids=["stalled", "slow", "retrying"],
)
def test_the_total_timeout(fault_server: FaultServer, connect: Connect, step: Response) -> None:
    client = connect(total_timeout_ms=400, max_retries=1000, backoff_max_ms=100)
    fault_server.script(PATH, step)
    assert error_of(lambda: get(client)).error == "total_timeout"
    fault_server.wait_for(lambda: fault_server.connections.open == 0 or fault_server.requests[-1].answered)


def test_an_answer_that_names_what_it_made(fault_server: FaultServer, connect: Connect) -> None:
    """Is waited for a little longer than the total timeout: nobody else could take that back."""
    client = connect(total_timeout_ms=200)
    fault_server.script(PATH, Response.of(b"name").having(Delay(0.6)))
    assert bytes(request(client, "POST", names=True).perform().take_body()) == b"name"
    assert error_of(lambda: request(client, "POST").perform()).error == "total_timeout"


@pytest.mark.parametrize(
    ("step", "error"),
    [(Response.never(), "total_timeout"), (Response.error(503).having(Delay(0.6)), "status")],
    ids=["never", "refused"],
)
def test_such_an_answer_that_does_not_come(
    fault_server: FaultServer, connect: Connect, step: Response, error: str
) -> None:
    fault_server.script(PATH, step)
    failed = error_of(lambda: request(connect(total_timeout_ms=200), "POST", names=True).perform())
    assert (failed.error, failed.attempts) == (error, 1)


def test_the_total_timeout_of_one_request(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.never())
    assert error_of(lambda: get(client, timeout_s=2)).error == "total_timeout"
    fault_server.wait_for(lambda: fault_server.connections.closed_by_peer == 1)


def test_the_total_timeout_bounds_the_wait_for_a_connection(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_connections=1)
    fault_server.script("/bucket/first", Response.never())
    with Dispatcher() as dispatcher:
        first = request(client, path="/bucket/first")
        done = dispatcher.submit(first)
        fault_server.wait_for(lambda: fault_server.stalled == 1)
        assert error_of(lambda: get(client, timeout_s=0.2)).error == "total_timeout"
        first.cancel()
        assert done.wait(10)
    assert [each.path for each in fault_server.requests] == ["/bucket/first"]


def test_a_total_timeout_that_is_not_reached(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Response.of(DATA).having(Delay(0.2)))
    assert get(client, timeout_s=20) == DATA


def test_the_time_for_retries(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=1000, retry_timeout_ms=2000, backoff_init_ms=100, backoff_max_ms=100)
    fault_server.script(PATH, Response.error(500))
    error = error_of(lambda: get(client))
    assert (error.error, error.status) == ("status", 500)
    assert 3 < error.attempts < 100
