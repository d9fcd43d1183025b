"""Streams: bodies that come as their reader makes room, in any framing and in pieces of any size."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cumulo import _native as native
from tests.faults import FaultServer, Faulty, Object, Response, Stall, Trickle

from .support import PATH, STREAM, error_of, open_stream, read_piece, read_stream, request

DATA = bytes(range(251)) * (STREAM // 251)
CHUNKED = Response.of(DATA).but(framing="chunked")
Connect = Callable[..., native.Client]


@pytest.mark.parametrize("size", [1, 999, 65536, 1 << 20, 64 << 20])
def test_pieces_of_any_size(fault_server: FaultServer, client: native.Client, size: int) -> None:
    data = DATA if size > 1 else DATA[: (4 << 20) + 500]
    fault_server.script(PATH, Object(data))
    stream = open_stream(client)
    if size == 1:
        assert b"".join(read_piece(stream, 1) for _ in range(500)) == data[:500]
        stream.cancel()
        return
    pieces = list(read_stream(stream, size))
    assert b"".join(pieces) == data
    assert {len(piece) for piece in pieces[:-1]} <= {size}


@pytest.mark.parametrize("data", [b"", b"x", DATA[:100_000], DATA[: 4 << 20]], ids=len)
def test_short_ones_come_unasked(fault_server: FaultServer, client: native.Client, data: bytes) -> None:
    fault_server.script(PATH, Object(data))
    assert b"".join(read_stream(open_stream(client))) == data


def test_room_for_several_pieces(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA))
    stream = open_stream(client)
    room = 0
    while stream.feed_piece(100_000):
        room += 1
    assert room >= 2
    pieces = [read_piece(stream) for _ in range(room)]
    assert pieces == [DATA[number * 100_000 : (number + 1) * 100_000] for number in range(room)]
    assert b"".join(read_stream(stream)) == DATA[room * 100_000 :]


def test_it_reads_no_further_than_there_is_room(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(b"x" * (64 << 20)))
    stream = open_stream(client)
    read_piece(stream, 100_000)
    time.sleep(0.2)
    received = stream.progress[3] + stream.progress[4]
    assert received < 1 << 20
    assert native.runtime_stats()["buffer_bytes"] < 8 << 20
    stream.cancel()


@pytest.mark.parametrize("size", [10_000, 1 << 20])
def test_chunked(fault_server: FaultServer, client: native.Client, size: int) -> None:
    fault_server.script(PATH, CHUNKED)
    assert b"".join(read_stream(open_stream(client), size)) == DATA


@pytest.mark.parametrize("chunk_bytes", [1, 7, 300_000])
def test_chunks_of_any_size(fault_server: FaultServer, client: native.Client, chunk_bytes: int) -> None:
    data = DATA[: 5 << 20] if chunk_bytes > 7 else DATA[:20_000]
    fault_server.script(PATH, Response.of(data).but(framing="chunked", chunk_bytes=chunk_bytes))
    assert b"".join(read_stream(open_stream(client))) == data


def test_a_chunked_one_whose_reader_pauses(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, CHUNKED)
    stream = open_stream(connect(stall_timeout_ms=1000))
    received = read_piece(stream) + read_piece(stream)
    time.sleep(2)
    assert received + b"".join(read_stream(stream)) == DATA
    assert len(fault_server.requests) == 1


def test_a_chunked_one_that_stalls(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, CHUNKED.having(Stall(3 << 20)))
    stream = open_stream(connect(stall_timeout_ms=300))
    assert error_of(lambda: list(read_stream(stream))).error == "stall_timeout"


def test_a_range(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA))
    stream = open_stream(client, range=("offset", 1000, 0))
    assert stream.response[2:] == (len(DATA) - 1000, (1000, len(DATA), len(DATA)))
    assert b"".join(read_stream(stream)) == DATA[1000:]


def test_an_error_before_it_begins(fault_server: FaultServer, client: native.Client) -> None:
    error = error_of(lambda: open_stream(client))
    assert (error.error, error.status) == ("status", 404)
    assert b"NoSuchKey" in error.body


def test_what_came_before_an_error_can_be_read(fault_server: FaultServer, connect: Connect) -> None:
    fault_server.script(PATH, [Faulty(Object(DATA), Stall(5_000_000)), Response.error(403)])
    stream = open_stream(connect(stall_timeout_ms=1000))
    pieces = list[bytes]()
    error = error_of(lambda: pieces.extend(read_stream(stream, 1_000_000)))
    assert (error.error, error.status) == ("status", 403)
    assert b"".join(pieces) == DATA[: len(b"".join(pieces))]
    assert len(b"".join(pieces)) >= 4_000_000


def test_dropped_half_read(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA))
    for _ in range(20):
        stream = open_stream(client)
        read_piece(stream)
        stream.cancel()
        del stream
    fault_server.wait_for(lambda: fault_server.connections.open == 0)


@pytest.mark.parametrize(("size", "ended"), [(1 << 20, True), (STREAM, False)])
def test_news_of_a_body_that_is_wanted_whole(
    fault_server: FaultServer, client: native.Client, size: int, ended: bool
) -> None:
    # One that is fetched unasked is heard of at its end only; a longer one waits for room, and so must be heard of.
    fault_server.script(PATH, Faulty(Object(bytes(size)), Trickle(4 << 20)))
    wanted = request(client, sink="stream", announce_headers=True)
    wanted.expect_whole()
    news: list[bool] = []
    wanted.waiter = lambda each: news.append(each.finished)
    queue = native.thread_queue()
    wanted.submit(queue)
    until = time.monotonic() + 20
    while not news and time.monotonic() < until:
        queue.wait_and_drain(50)
    assert news == [ended]
    wanted.cancel()
    wanted.wait()
