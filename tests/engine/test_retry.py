"""Answers that ask for another attempt get one, later; all others are final."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise

import pytest

from cumulo import _native as native
from tests.faults import BadChunk, Cut, Fault, FaultServer, Object, Response, Stall

from .support import CHILD_S, PATH, Dispatcher, error_of, get, open_stream, request

DATA = b"data" * 1000
OBJECT = Object(DATA)
Connect = Callable[..., native.Client]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_tried_again(fault_server: FaultServer, client: native.Client, status: int) -> None:
    fault_server.script(PATH, [Response.error(status), Response.error(status), OBJECT])
    assert get(client) == DATA
    assert [each.status for each in fault_server.requests] == [status, status, 200]
    assert client.stats()["retries"] == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "RequestTimeout"),
        (400, "SlowDown"),
        (403, "Throttling"),
        (409, "OperationAborted"),
        (409, "ConditionalRequestConflict"),
    ],
)
def test_tried_again_by_the_code(fault_server: FaultServer, client: native.Client, status: int, code: str) -> None:
    fault_server.script(PATH, [Response.error(status, code), OBJECT])
    assert get(client) == DATA


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, None),
        (307, None),
        (400, "InvalidRequest"),
        (401, None),
        (403, None),
        (404, None),
        (405, None),
        (409, "BucketAlreadyExists"),
        (410, "Gone"),
        (411, None),
        (412, None),
        (416, None),
        (501, None),
        (505, "HTTPVersionNotSupported"),
    ],
)
def test_final(fault_server: FaultServer, client: native.Client, status: int, code: str | None) -> None:
    fault_server.script(PATH, Response.error(status, code))
    error = error_of(lambda: get(client))
    assert (error.error, error.status, error.attempts) == ("status", status, 1)
    assert b"<Error>" in error.body
    assert error.headers["x-amz-request-id"]
    assert len(fault_server.requests) == 1


def test_not_modified(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, OBJECT)
    error = error_of(lambda: get(client, headers=[("If-None-Match", OBJECT.current_etag)]))
    assert (error.error, error.status, error.body) == ("status", 304, b"")
    assert error.headers["etag"] == OBJECT.current_etag
    assert get(client) == DATA
    assert fault_server.connections.accepted == 1, "a 304 has no body to wait for"


def test_precondition_failed(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, OBJECT)
    error = error_of(lambda: get(client, headers=[("If-Match", '"another"')]))
    assert (error.error, error.status, error.attempts) == ("status", 412, 1)


def test_it_gives_up(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.error(503))
    error = error_of(lambda: get(connect(max_retries=4)))
    assert (error.error, error.status, error.attempts) == ("status", 503, 5)
    assert b"SlowDown" in error.body
    assert len(fault_server.requests) == 5


def test_no_retries(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.error(500))
    assert error_of(lambda: get(connect(max_retries=0))).attempts == 1


def test_it_waits_longer_each_time(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, [*[Response.error(503)] * 5, OBJECT])
    assert get(connect(backoff_init_ms=20, backoff_max_ms=2000)) == DATA
    times = [each.received for each in fault_server.requests]
    pauses = [after - before for before, after in pairwise(times)]
    # Half of 20 ms doubled each time is the least that jitter leaves.
    assert all(pause >= 0.010 * 2**turn for turn, pause in enumerate(pauses))


@pytest.mark.parametrize("retry_after", [1, "date"])
def test_retry_after(fault_server: FaultServer, client: native.Client, retry_after: int | str) -> None:
    asked = retry_after if retry_after == 1 else formatdate(time.time() + 2, usegmt=True)
    fault_server.script(PATH, [Response.error(503, retry_after=asked), OBJECT])
    assert get(client) == DATA
    first, second = fault_server.requests
    assert second.received - first.received >= 0.9


def test_a_retry_after_beyond_the_time_for_retries(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.error(503, retry_after=3000))
    began = time.monotonic()
    error = error_of(lambda: get(connect(retry_timeout_ms=20_000)))
    assert (error.status, error.attempts) == (503, 1)
    assert time.monotonic() - began < 5


def test_a_retry_after_that_is_none(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [Response.error(503, retry_after="soon"), Response.error(503, retry_after=-5), OBJECT])
    assert get(client) == DATA


def test_a_long_error_page(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.html(503, 5_000_000))
    error = error_of(lambda: get(connect(max_retries=1)))
    assert (error.status, len(error.body)) == (503, 65536)
    assert fault_server.connections.accepted <= 2


HALF_SAID = [
    Cut(40, "rst"),
    Cut(40, "fin"),
    Stall(40),
    BadChunk(1, b"zz"),
]


@pytest.mark.parametrize("fault", HALF_SAID, ids=str)
def test_an_error_that_is_half_said(fault_server: FaultServer, connect: Connect, fault: Fault) -> None:
    client = connect(stall_timeout_ms=300)
    framing = "chunked" if isinstance(fault, BadChunk) else "length"
    fault_server.script(PATH, Response.error(404).having(fault).but(framing=framing, chunk_bytes=20))
    error = error_of(lambda: get(client))
    assert (error.error, error.status, error.attempts) == ("status", 404, 1)
    fault_server.script(PATH, [Response.error(503).having(fault).but(framing=framing, chunk_bytes=20), OBJECT])
    assert get(client) == DATA


def test_an_error_to_a_stream(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [Response.html(503, 300_000), OBJECT])
    stream = open_stream(client)
    assert stream.response[0] == 200
    stream.wait()


def test_other_requests_go_on_meanwhile(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_connections=1)
    fault_server.script("/bucket/slow", [Response.error(503, retry_after=1), OBJECT])
    fault_server.script(PATH, OBJECT)
    with Dispatcher() as dispatcher:
        waiting = request(client, path="/bucket/slow")
        done = dispatcher.submit(waiting)
        fault_server.wait_for(lambda: fault_server.seen("/bucket/slow"))
        assert get(client) == DATA
        assert not done.is_set(), "a request that waits for its turn holds its connection"
        assert done.wait(CHILD_S)


def test_an_error_in_a_200(fault_server: FaultServer, client: native.Client) -> None:
    late = Response.error(500, "InternalError").but(status=200)
    fault_server.script(PATH, [late, Response.xml("<CompleteMultipartUploadResult/>")])
    assert b"Complete" in get(client, error_in_200=True)
    assert len(fault_server.requests) == 2


def test_an_error_in_every_200(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, Response.error(500, "InternalError").but(status=200))
    error = error_of(lambda: get(connect(max_retries=2), error_in_200=True))
    assert (error.error, error.status, error.attempts) == ("status", 200, 3)
    assert b"InternalError" in error.body
    assert b"<Error>" in get(connect()), "elsewhere it is an object like any other"
