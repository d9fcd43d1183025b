"""`Bytes`: as `bytes`, without the copy."""

from __future__ import annotations

import pickle

import pytest

from cumulo import Bytes

DATA = bytes(range(256))


def test_compares_and_hashes_like_bytes() -> None:
    found = Bytes(DATA)
    assert found == DATA
    assert DATA == found  # noqa: SIM300 - the other way round
    assert found == Bytes(DATA)
    assert found != DATA[1:]
    assert found != "text"
    assert hash(found) == hash(DATA)
    assert {DATA: 1}[found] == 1


@pytest.mark.parametrize(
    "part", [slice(None), slice(3, 9), slice(-4, None), slice(9, 3), slice(0, 300), slice(None, None, 3)], ids=str
)
def test_slices(part: slice) -> None:
    found = Bytes(DATA)[part]
    assert isinstance(found, Bytes)
    assert found == DATA[part]
    assert found[1:] == DATA[part][1:]


def test_items() -> None:
    found = Bytes(DATA)
    assert (found[0], found[-1], len(found), [*found][:3]) == (0, 255, 256, [0, 1, 2])
    assert 7 in found
    assert b"\x07\x08" in found
    with pytest.raises(IndexError):
        found[256]


def test_views_are_read_only_and_share_the_memory() -> None:
    found = Bytes(DATA)
    view = memoryview(found)
    assert view.readonly
    assert view == DATA
    part = found[10:20]
    del found
    assert part == DATA[10:20]


def test_methods_of_bytes() -> None:
    found = Bytes(b"II*\x00 header")
    assert found.startswith(b"II*")
    assert found.find(b"header") == 5
    assert found.split(b" ") == [b"II*\x00", b"header"]
    assert found[5:].decode() == "header"
    assert found + b"!" == b"II*\x00 header!"
    assert Bytes(b"ab") * 2 == b"abab"
    with pytest.raises(AttributeError, match="no attribute 'encode'"):
        found.encode  # noqa: B018


def test_copies_and_pickles() -> None:
    found = Bytes(DATA)
    assert type(found.to_bytes()) is bytes
    assert bytes(found) == DATA
    assert pickle.loads(pickle.dumps(found)) == DATA
    assert repr(Bytes(b"x")) == "Bytes(b'x')"
    assert repr(found) == "<Bytes of 256 bytes>"
