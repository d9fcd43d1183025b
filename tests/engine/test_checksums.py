"""A checksum the server sends is held against the body; a body that does not match is fetched once more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cumulo import _native as native
from tests.faults import Cut, FaultServer, Faulty, Flip, Object

from .support import PATH, STREAM, EngineError, error_of, open_stream, read_piece, read_stream, request

DATA = bytes(range(256)) * 600
LONG = DATA * (STREAM // len(DATA))
ALGORITHMS = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "md5"]
Connect = Callable[..., native.Client]


def checked(*algorithms: str, data: bytes = DATA) -> Object:
    """An object whose checksums are sent unasked."""
    return Object(data, checksums=algorithms, checksums_asked=False)


def collected(client: native.Client) -> bytes:
    """Gathered by the engine."""
    return bytes(request(client, verify=True).perform().take_body())


def placed(client: native.Client) -> bytes:
    """Into memory made for it."""
    asked = request(client, sink="buffer", verify=True)
    asked.feed_target(len(DATA))
    asked.perform()
    return bytes(asked.take_target())


def streamed(client: native.Client) -> bytes:
    """As a stream, so short that it is fetched unasked."""
    return b"".join(read_stream(open_stream(client, verify=True)))


def streamed_whole(client: native.Client) -> bytes:
    """As a stream that is shown to nobody before its end."""
    stream = open_stream(client, verify=True)
    if stream.prefetched is None:
        stream.feed_target(len(LONG))
    stream.wait()
    stream.raise_if_failed()
    return bytes(stream.prefetched or stream.take_target())


WAYS = [collected, placed, streamed]
way = pytest.mark.parametrize("get", WAYS, ids=lambda each: each.__name__)
algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@way
@algorithm
def test_right(
    fault_server: FaultServer, client: native.Client, get: Callable[[native.Client], bytes], algorithm: str
) -> None:
    fault_server.script(PATH, checked(algorithm))
    assert get(client) == DATA
    assert len(fault_server.requests) == 1


@way
@algorithm
def test_a_flipped_bit_is_fetched_again(
    fault_server: FaultServer, client: native.Client, get: Callable[[native.Client], bytes], algorithm: str
) -> None:
    fault_server.script(PATH, [Faulty(checked(algorithm), Flip(77_777)), checked(algorithm)])
    assert get(client) == DATA
    assert [each.header("range") for each in fault_server.requests] == [None, None]


@way
@algorithm
def test_flipped_every_time(
    fault_server: FaultServer, client: native.Client, get: Callable[[native.Client], bytes], algorithm: str
) -> None:
    fault_server.script(PATH, Faulty(checked(algorithm), Flip(0)))
    error = error_of(lambda: get(client))
    assert error.error == "checksum"
    assert error.attempts == len(fault_server.requests) <= 2


def test_what_nobody_has_seen_is_fetched_again(fault_server: FaultServer, client: native.Client) -> None:
    right = checked("crc32", data=LONG)
    for _ in range(5):
        fault_server.script(PATH, [Faulty(right, Flip(len(LONG) - 1)), right])
        assert streamed_whole(client) == LONG
    assert len(fault_server.requests) == 10


def test_a_stream_ends_with_the_error(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Faulty(checked("crc32", data=LONG), Flip(len(LONG) // 2)))
    stream = open_stream(client, verify=True)
    first = read_piece(stream)
    assert first == LONG[: len(first)]
    assert error_of(lambda: list(read_stream(stream))).error == "checksum"
    assert len(fault_server.requests) == 1


def test_over_a_resumed_body(fault_server: FaultServer, client: native.Client) -> None:
    right = checked("sha256")
    fault_server.script(PATH, [Faulty(right, Cut(100_000, "rst")), right])
    assert placed(client) == DATA
    assert fault_server.requests[1].header("range") == f"bytes=100000-{len(DATA) - 1}"


def test_a_flipped_bit_in_a_resumed_body(fault_server: FaultServer, client: native.Client) -> None:
    right = checked("crc32c")
    fault_server.script(PATH, [Faulty(right, Flip(5), Cut(100_000, "rst")), right, right])
    assert placed(client) == DATA
    assert [each.header("range") for each in fault_server.requests] == [None, f"bytes=100000-{len(DATA) - 1}", None]


def test_over_chunks(fault_server: FaultServer, client: native.Client) -> None:
    right = checked("sha1")
    fault_server.script(PATH, Faulty(right, framing="chunked", chunk_bytes=777))
    assert collected(client) == DATA
    fault_server.script(PATH, [Faulty(right, Flip(9), framing="chunked"), right])
    assert collected(client) == DATA
    assert len(fault_server.requests) == 3


def test_of_several_one_is_enough(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Faulty(checked(*ALGORITHMS), Flip(3)))
    assert error_of(lambda: collected(client)).error == "checksum"


def test_a_checksum_of_checksums_is_left_alone(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Object(DATA, headers=(("x-amz-checksum-crc32", "AAAAAA==-3"),)))
    assert collected(client) == DATA


@pytest.mark.parametrize("value", ["not base64!", "AAAA", ""])
def test_what_is_no_checksum(fault_server: FaultServer, client: native.Client, value: str) -> None:
    fault_server.script(PATH, Object(DATA, headers=(("x-amz-checksum-crc32", value),)))
    try:
        body = collected(client)
    except EngineError as error:
        problem = error.error
    else:
        problem = None if body == DATA else "other bytes"
    # Either it is not read, or it does not match.
    assert problem in (None, "checksum")


def test_not_asked_for(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, Faulty(checked("crc32"), Flip(3)))
    body = bytes(request(client).perform().take_body())
    assert body != DATA
    assert len(body) == len(DATA)


def test_an_empty_body(fault_server: FaultServer, client: native.Client) -> None:
    fault_server.script(PATH, checked(*ALGORITHMS, data=b""))
    assert collected(client) == b""


def test_parts_are_not_held_against_the_whole(fault_server: FaultServer, client: native.Client) -> None:
    whole = Object(DATA, headers=(("x-amz-checksum-crc32", "AAAAAA=="),))
    fault_server.script(PATH, whole)
    asked = request(client, range=("bounded", 10, 20), verify=True)
    assert bytes(asked.perform().take_body()) == DATA[10:20]
