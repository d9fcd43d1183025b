"""A body that breaks off is gone on with from the byte it stopped at, of the same object, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cumulo import _native as native
from tests.faults import Cut, FaultServer, Faulty, Object, Request, Response, Step, Trickle
from tests.faults.responses import Ending

from .support import PATH, STREAM, error_of, get, make_client, open_stream, read_piece, read_stream, request

DATA = bytes(range(256)) * 2000
OBJECT = Object(DATA)
Connect = Callable[..., native.Client]


def whole(client: native.Client, size: int = len(DATA)) -> bytes:
    """The whole object into memory made for it."""
    asked = request(client, sink="buffer")
    asked.feed_target(size)
    asked.perform()
    return bytes(asked.take_target())


def broken(after: int, how: Ending = "rst", step: Step = OBJECT) -> Faulty:
    """The object, until its connection ends."""
    return Faulty(step, Cut(after, how))


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_goes_on_where_it_stopped(fault_server: FaultServer, client: native.Client, how: Ending) -> None:
    fault_server.script(PATH, [broken(200_000, how), OBJECT])
    assert whole(client) == DATA
    first, second = fault_server.requests
    assert (first.header("range"), first.header("if-match")) == (None, None)
    assert second.header("range") == f"bytes=200000-{len(DATA) - 1}"
    assert second.header("if-match") == OBJECT.current_etag


@pytest.mark.parametrize("how", ["rst", "fin", "truncate"])
def test_over_tls(fault_server: FaultServer, how: Ending) -> None:
    client = make_client(fault_server.tls_url(), ca_pem=fault_server.ca_file.read_bytes())
    fault_server.script(PATH, [broken(200_000, how), OBJECT])
    assert whole(client) == DATA
    resumed = fault_server.requests[1]
    assert resumed.header("range") == f"bytes=200000-{len(DATA) - 1}"
    assert resumed.header("if-match") == OBJECT.current_etag


def test_a_range_goes_on_within_itself(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [broken(50_000), OBJECT])
    assert bytes(native.get_range(client, "key", 1000, 101_000, None)) == DATA[1000:101_000]
    assert [each.header("range") for each in fault_server.requests] == ["bytes=1000-100999", "bytes=51000-100999"]


def test_the_end_of_an_object_goes_on_by_its_place(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [broken(50_000), OBJECT])
    asked = request(client, sink="buffer", range=("suffix", 0, 100_000))
    asked.feed_target(100_000)
    asked.perform()
    assert bytes(asked.take_target()) == DATA[-100_000:]
    assert fault_server.requests[1].header("range") == f"bytes={len(DATA) - 50_000}-{len(DATA) - 1}"


def test_again_and_again(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [*[broken(60_000)] * 8, OBJECT])
    assert whole(client) == DATA
    starts = [each.header("range") for each in fault_server.requests[1:]]
    assert starts == [f"bytes={60_000 * turn}-{len(DATA) - 1}" for turn in range(1, 9)]
    assert {each.header("if-match") for each in fault_server.requests[1:]} == {OBJECT.current_etag}


def test_more_breaks_than_retries(fault_server: FaultServer, connect: Connect) -> None:
    """What gets on is not given up: only breaks in a row count."""
    fault_server.script(PATH, broken(70_000))
    assert whole(connect(max_retries=1)) == DATA
    assert len(fault_server.requests) == len(DATA) // 70_000 + 1


def test_breaks_that_bring_next_to_nothing(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, broken(100))
    error = error_of(lambda: whole(connect(max_retries=3)))
    assert (error.error, error.attempts) == ("truncated", 4)


def test_what_came_is_forgiven_for_once(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, [broken(100_000), broken(0)])
    error = error_of(lambda: whole(connect(max_retries=3)))
    assert (error.attempts, len(fault_server.requests)) == (4, 4)


def test_no_connection_after_a_break(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(max_retries=3)

    def last(request: Request) -> Response:
        fault_server.greet("rst")
        return broken(100_000)(request)

    fault_server.script(PATH, last)
    assert error_of(lambda: whole(client)).attempts == 4


def test_a_break_after_a_time_longer_than_that_for_retries(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, [Faulty(OBJECT, Trickle(100_000), Cut(200_000)), OBJECT])
    assert whole(connect(retry_timeout_ms=1000)) == DATA


def test_the_time_of_a_reader_is_none_of_retries(fault_server: FaultServer, connect: Connect) -> None:
    client = connect(retry_timeout_ms=1000)
    long = Object(DATA * 20)
    fault_server.script(PATH, [broken(300_000, step=long), Response.error(503), long])
    stream = open_stream(client)
    data = read_piece(stream, 50_000)
    fault_server.wait_for(lambda: fault_server.connections.open == 0)
    time.sleep(2)
    assert data + b"".join(read_stream(stream, 50_000)) == long.data


def test_no_connection_after_the_time_of_a_reader(fault_server: FaultServer) -> None:
    url = fault_server.tls_url()
    ca_pem = fault_server.ca_file.read_bytes()
    client = make_client(url, ca_pem=ca_pem, max_connections=1, max_idle=0, retry_timeout_ms=200)
    long = Object(DATA * 20)
    fault_server.script(PATH, long)
    fault_server.script("/bucket/other", Response.of(b"other"))
    stream = open_stream(client)
    data = read_piece(stream, 50_000)
    assert get(client, "/bucket/other") == b"other"  # it has had the stream's connection
    time.sleep(0.4)
    fault_server.greet(["rst", "serve"], url=url)
    assert data + b"".join(read_stream(stream, 50_000)) == long.data


def test_failures_between_which_a_reader_was_waited_for(fault_server: FaultServer, connect: Connect) -> None:
    """They are none in a row either, where others had the stream's connection each time."""
    client = connect(max_connections=1, max_retries=1)
    long = Object(DATA * 20)
    fault_server.script(PATH, [*[long, Response.error(503)] * 3, long])
    fault_server.script("/bucket/other", Response.of(b"other"))
    stream = open_stream(client)
    data = b""
    for _ in range(3):
        data += read_piece(stream, 100_000)
        assert get(client, "/bucket/other") == b"other"
    assert data + b"".join(read_stream(stream, 50_000)) == long.data


def test_it_gives_up_when_nothing_helps(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, broken(0))
    error = error_of(lambda: whole(connect(max_retries=3)))
    assert error.error in ("reset", "truncated")
    assert (error.attempts, len(fault_server.requests)) == (4, 4)


def test_a_cut_before_the_head(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [Response.dropped("rst"), Response.dropped("fin"), OBJECT])
    assert whole(client) == DATA
    assert [each.header("range") for each in fault_server.requests] == [None] * 3


def test_a_stream_goes_on(fault_server: FaultServer, client: native.Client) -> None:
    data = DATA * (STREAM // len(DATA))
    fault_server.script(
        PATH, [broken(3_000_000, step=Object(data)), broken(2_000_000, step=Object(data)), Object(data)]
    )
    assert b"".join(read_stream(open_stream(client))) == data
    assert [each.header("range") for each in fault_server.requests] == [
        None,
        f"bytes=3000000-{len(data) - 1}",
        f"bytes=5000000-{len(data) - 1}",
    ]


def test_what_the_engine_gathers_starts_anew(fault_server: FaultServer, client: native.Client) -> None:
    # Nobody has seen any of it, so that it need not be the same object.
    fault_server.script(PATH, [broken(100_000), Object(b"another")])
    assert get(client) == b"another"


def test_replaced_meanwhile(fault_server: FaultServer, client: native.Client) -> None:
    changing = Object(DATA)

    def replaced(asked: Request) -> Response:
        changing.replace(DATA[::-1])
        return changing(asked)

    fault_server.script(PATH, [broken(200_000, step=changing), replaced])
    error = error_of(lambda: whole(client))
    assert (error.error, error.attempts) == ("changed", 2)
    assert fault_server.requests[1].status == 412


def test_replaced_on_a_server_that_ignores_if_match(fault_server: FaultServer, client: native.Client) -> None:
    newer = Object(DATA[::-1], etag='"newer"')

    def careless(asked: Request) -> Response:
        asked.headers[:] = [pair for pair in asked.headers if pair[0].lower() != "if-match"]
        return newer(asked)

    fault_server.script(PATH, [broken(200_000), careless])
    assert error_of(lambda: whole(client)).error == "changed"


def test_replaced_and_shown_to_a_streams_reader(fault_server: FaultServer, client: native.Client) -> None:
    data = DATA * (STREAM // len(DATA))
    fault_server.script(PATH, [broken(3_000_000, step=Object(data)), Object(data[::-1])])
    stream = open_stream(client)
    assert read_piece(stream) == data[:65536]
    assert error_of(lambda: list(read_stream(stream))).error == "changed"


def test_gone_meanwhile(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [broken(200_000), Response.error(404)])
    error = error_of(lambda: whole(client))
    assert (error.error, error.status) == ("status", 404)


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_it_starts_anew(
    fault_server: FaultServer, client: native.Client, etag: str | None
) -> None:
    plain = Response.of(DATA).header("ETag", etag)
    fault_server.script(PATH, [plain.having(Cut(200_000, "rst")), plain])
    assert whole(client) == DATA
    assert [each.header("range") for each in fault_server.requests] == [None, None]


def test_without_an_etag_a_stream_can_not_start_anew(fault_server: FaultServer, client: native.Client) -> None:
    plain = Response.of(b"x" * STREAM)
    fault_server.script(PATH, [plain.having(Cut(STREAM // 2, "rst")), plain])
    stream = open_stream(client)
    assert error_of(lambda: list(read_stream(stream))).error in ("truncated", "reset")
    assert len(fault_server.requests) == 1


def test_a_server_that_sends_it_all_again(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, [broken(200_000), Object(DATA, ranges="ignored")])
    assert whole(client) == DATA


def test_a_stream_from_a_server_that_sends_it_all_again(fault_server: FaultServer, client: native.Client) -> None:
    data = DATA * (STREAM // len(DATA))
    fault_server.script(PATH, [broken(5_000_000, step=Object(data)), Object(data, ranges="ignored")])
    assert b"".join(read_stream(open_stream(client))) == data


@pytest.mark.parametrize("ranges", ["half", "shifted"])
def test_the_rest_is_checked_like_any_range(fault_server: FaultServer, connect: Connect, ranges: str) -> None:
    wrong = Object(DATA, ranges=ranges)  # type: ignore[arg-type]
    fault_server.script(PATH, [broken(200_000), wrong, OBJECT])
    assert whole(connect(max_retries=5)) == DATA


def test_no_content_is_not_the_rest(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, [broken(200_000), Response(204)])
    assert error_of(lambda: whole(connect(max_retries=5))).error == "wrong_range"


def test_the_last_byte_is_enough(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, OBJECT(_plain_get()).but(after="rst").having(Trickle(5e6)))
    assert whole(client) == DATA
    assert len(fault_server.requests) == 1


def _plain_get() -> Request:
    return Request("GET", PATH, "HTTP/1.1", [], 0, 0, 0.0)
