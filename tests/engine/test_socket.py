"""Bodies read to their place and wakes saved up by the kernel: every size, place and pace brings the same bytes."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cumulo import _native as native
from tests.faults import Cut, FaultServer, Faulty, Object, Response, Trickle
from tests.faults.responses import Ending

from .support import PATH, error_of, get, make_client, open_stream, raw_server, read_stream, request

KIB = 1024
DATA = random.Random(5).randbytes(6 << 20)
SIZES = [(size << 10) + more for size in (16, 32, 48, 64, 128, 256, 288) for more in (-400, -1, 0, 1)]
Connect = Callable[..., native.Client]


def into_file(client: native.Client, path: Path, length: int, pieces: int) -> bytes:
    """The object by way of a file, each piece of it to its place."""
    with path.open("wb+") as file:
        download = request(client, sink="stream", announce_headers=True)
        step = -(-length // pieces)
        for start in range(0, length, step):
            download.feed_file(file, start, min(step, length - start))
        download.perform()
        return path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_sizes(fault_server: FaultServer, client: native.Client, tmp_path: Path, size: int) -> None:
    data = DATA[:size]
    fault_server.script(PATH, Object(data))
    assert bytes(native.get_range(client, "key", 0, size, None)) == data
    assert b"".join(read_stream(open_stream(client))) == data
    assert get(client) == data
    assert into_file(client, tmp_path / "file", size, 3) == data
    assert len(fault_server.connections.all) <= 2, "with flow control and without it"


@pytest.mark.parametrize("piece", [1000, 20_000, 64 * KIB + 1, 300_000, 2 << 20])
def test_pieces(fault_server: FaultServer, client: native.Client, tmp_path: Path, piece: int) -> None:
    fault_server.script(PATH, Object(DATA))
    assert b"".join(read_stream(open_stream(client), piece)) == DATA
    assert into_file(client, tmp_path / "file", len(DATA), max(1, min(4, len(DATA) // piece))) == DATA


def test_gaps_between_ranges(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA))
    spans = [(0, 100), (50_000, 200_000), (200_000, 200_001), (900_000, 1_500_000)]
    scattered = request(client, range=("bounded", 0, 1_500_000), sink="buffer")
    scattered.feed_scatter(spans)
    scattered.perform()
    assert [bytes(part) for part in scattered.take_scatter()] == [DATA[start:end] for start, end in spans]


def test_a_short_body_after_a_long_one(fault_server: FaultServer, connect: Connect) -> None:
    # What the kernel was told of the long one must not hold back the short one, or an error.
    client = connect(max_connections=1)
    for _ in range(3):
        fault_server.script(PATH, [Object(DATA), Object(b"short"), Response.error(404)])
        assert bytes(native.get_range(client, "key", 0, len(DATA), None)) == DATA
        assert bytes(native.get_range(client, "key", 0, 5, None)) == b"short"
        assert error_of(lambda: native.get_range(client, "key", 0, 100, None)).status == 404


def test_a_checksum_of_what_was_read_to_its_place(fault_server: FaultServer, client: native.Client) -> None:
    digest = request(client, range=("bounded", 0, len(DATA)), sink="buffer", digest="CRC32C")
    fault_server.script(PATH, Object(DATA))
    digest.feed_target(len(DATA))
    digest.perform()
    whole = digest.digest
    parts = []
    for start, end in ((0, 1 << 20), (1 << 20, len(DATA))):
        part = request(client, range=("bounded", start, end), sink="buffer", digest="CRC32C")
        part.feed_target(end - start)
        parts.append(part.perform().digest)
    assert native.combine_digests("CRC32C", *parts, len(DATA) - (1 << 20)) == whole


def test_it_goes_on_where_a_long_body_broke_off(fault_server: FaultServer, client: native.Client) -> None:
    whole = Object(DATA)
    fault_server.script(PATH, [Faulty(whole, Cut(1_234_567)), Faulty(whole, Cut(3_000_001)), whole])
    assert bytes(native.get_range(client, "key", 0, len(DATA), None)) == DATA
    second, third = fault_server.requests[1:]
    assert second.header("range") == f"bytes=1234567-{len(DATA) - 1}"
    assert str(third.header("range")).endswith(f"-{len(DATA) - 1}")


def test_slower_than_the_kernel_wakes(fault_server: FaultServer, connect: Connect) -> None:
    # Four seconds and more for what the kernel hands out in one piece, and a third of that without progress is a stall.
    client = connect(stall_timeout_ms=1200, max_retries=0)
    data = DATA[: 200 * KIB]
    fault_server.script(PATH, Faulty(Object(data), Trickle(len(data) / 4.5)))
    began = time.monotonic()
    assert bytes(native.get_range(client, "key", 0, len(data), None)) == data
    assert time.monotonic() - began > 3, "it was not slow"


def test_a_stall_with_bytes_in_the_kernel() -> None:
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA))
        sock.sendall(DATA[: 40 * KIB])
        time.sleep(0.1)
        sock.sendall(DATA[: 10 * KIB])
        done.wait(30)

    with raw_server(serve) as url:
        stalled = request(make_client(url, stall_timeout_ms=300, max_retries=0), sink="buffer")
        stalled.feed_target(len(DATA))
        assert error_of(stalled.perform).error == "stall_timeout"
        assert stalled.progress[3] <= 50 * KIB
        done.set()


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("sink", ["buffer", "collect"])
def test_a_hang_up_behind_more_than_is_read_at_once(
    fault_server: FaultServer, connect: Connect, sink: str, how: Ending
) -> None:
    """It is told of but once, with the first of what comes before it: the connection is open already then."""
    client, data = connect(max_retries=0), DATA[: 1 << 20]
    for _ in range(40):
        fault_server.script(PATH, [Object(data), Faulty(Object(data), Cut(600_000, how))])
        whole, broken = (request(client, range=("bounded", 0, len(data)), sink=sink) for _ in range(2))
        for each in (whole, broken) if sink == "buffer" else ():
            each.feed_target(len(data))
        whole.perform()
        assert error_of(broken.perform).error in ("truncated", "reset"), "not that it stalled"


def test_not_a_byte_after_a_cancel(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Faulty(Object(DATA), Trickle(40 << 20, 0.001)))
    for _ in range(20):
        memory = bytearray(len(DATA))
        transfer = request(client, range=("bounded", 0, len(DATA)), sink="buffer")
        transfer.feed_into(memory, 0, len(memory))
        transfer.submit(native.thread_queue())
        while transfer.progress[3] < 500_000:
            time.sleep(0.001)
        transfer.cancel()
        seen = bytes(memory)
        time.sleep(0.01)
        assert memory == seen
        transfer.wait()
