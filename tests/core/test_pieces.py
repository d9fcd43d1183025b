"""`Pieces`: buffers as one content, without a copy of them."""

from __future__ import annotations

import array
import os
import random

import pytest

from cumulo._native import Bytes, Pieces, checksum

DATA = os.urandom(300_001)


def _split(seed: int) -> list[bytes | memoryview | Bytes]:
    chosen = random.Random(seed)
    pieces: list[bytes | memoryview | Bytes] = []
    at = 0
    while at < len(DATA):
        size = chosen.choice([0, 1, 100, 70_000])
        part = DATA[at : at + size]
        pieces.append(chosen.choice([part, memoryview(part), Bytes(part)]))
        at += size
    return pieces


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "SHA256"])
def test_it_is_all_of_them_in_order(seed: int, algorithm: str) -> None:
    pieces = Pieces(_split(seed))
    assert len(pieces) == len(DATA)
    assert pieces.join() == DATA
    assert checksum(algorithm, pieces, None) == checksum(algorithm, DATA, None)


@pytest.mark.parametrize("empty", [[], [b""], [b"", memoryview(b"")]], ids=len)
def test_none_at_all(empty: list[bytes]) -> None:
    pieces = Pieces(empty)
    assert len(pieces) == 0
    assert pieces.join() == b""
    assert checksum("CRC32C", pieces, None) == checksum("CRC32C", b"", None)


def test_its_length_is_in_bytes() -> None:
    assert len(Pieces([array.array("Q", [1, 2, 3]), b"x"])) == 25


def test_the_memory_is_held_for_as_long_as_it_lives() -> None:
    owners = [bytearray(b"one"), bytearray(b"two")]
    pieces = Pieces(owners)
    for owner in owners:
        with pytest.raises(BufferError):
            owner.clear()
    del pieces
    for owner in owners:
        owner.clear()


def test_what_is_no_buffer_lets_go_of_the_others() -> None:
    owner = bytearray(b"one")
    with pytest.raises(TypeError, match="bytes-like"):
        Pieces([owner, "two"])  # type: ignore[list-item]
    with pytest.raises(BufferError, match="contiguous"):
        Pieces([owner, memoryview(b"abcd")[::2]])
    owner.clear()
    with pytest.raises(TypeError):
        Pieces(None)  # type: ignore[arg-type]
