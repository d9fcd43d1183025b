"""get_into, get_range_into and get_ranges_into: into memory the caller owns, on every store, in the three ways."""

from __future__ import annotations

import array
import ctypes
import mmap
import os
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import pytest

from cumulo.exceptions import BaseError, GenericError, NotFoundError

Call = Callable[..., Any]
SMALL = os.urandom(10_000)
LARGE = os.urandom(5 * 1024 * 1024 + 77)


def _memories(size: int) -> dict[str, Any]:
    return {
        "bytearray": bytearray(size),
        "memoryview": memoryview(bytearray(size)),
        "array": array.array("B", bytes(size)),
        "ctypes": (ctypes.c_ubyte * size)(),
        "numpy": np.zeros(size, np.uint8),
        "mmap": mmap.mmap(-1, size),
    }


@pytest.mark.parametrize("kind", list(_memories(1)))
def test_any_memory(store: Any, call: Call, kind: str) -> None:
    store.put("key", SMALL)
    target = _memories(len(SMALL))[kind]
    assert call(store, "get_into", "key", target) == len(SMALL)
    assert bytes(target) == SMALL


def test_a_large_object(store: Any, call: Call) -> None:
    store.put("key", LARGE)
    target = bytearray(len(LARGE))
    assert call(store, "get_into", "key", target, part_size=1 << 20) == len(LARGE)
    assert target == LARGE
    assert call(store, "get_into", "key", target, part_size=1 << 20, max_concurrency=1) == len(LARGE)
    assert target == LARGE
    target += b"the buffer is the caller's again: it can grow"


def test_numbers_of_several_dimensions(store: Any, call: Call) -> None:
    numbers = np.arange(6000, dtype=">f4").reshape(20, 300)
    store.put("key", numbers.tobytes())
    target = np.zeros((20, 300), ">f4")
    assert call(store, "get_into", "key", target) == numbers.nbytes
    assert (target == numbers).all()
    rows = np.zeros((2, 300), ">f4")
    call(store, "get_ranges_into", "key", [rows[0], rows[1]], starts=[1200, 12_000])
    assert (rows == numbers[[1, 10]]).all()


def test_shared_memory(store: Any, call: Call) -> None:
    store.put("key", SMALL)
    memory = SharedMemory(create=True, size=len(SMALL))
    try:
        assert call(store, "get_range_into", "key", memory.buf[:100], start=50) == 100
        assert bytes(memory.buf[:100]) == SMALL[50:150]
    finally:
        memory.close()
        memory.unlink()


def test_a_larger_buffer_keeps_its_end(store: Any, call: Call) -> None:
    store.put("key", SMALL)
    target = bytearray(b"x" * (len(SMALL) + 100))
    assert call(store, "get_into", "key", target) == len(SMALL)
    assert target == SMALL + b"x" * 100


def test_a_smaller_buffer_is_an_error(store: Any, call: Call) -> None:
    for content in (SMALL, LARGE):
        store.put("key", content)
        with pytest.raises(ValueError, match="more than the buffer"):
            call(store, "get_into", "key", bytearray(len(content) - 1))
    with pytest.raises(ValueError, match="more than the buffer"):
        call(store, "get_into", "key", bytearray())


def test_options(store: Any, call: Call) -> None:
    store.put("key", SMALL)
    target = bytearray(500)
    assert call(store, "get_into", "key", target, options={"range": (1000, 1500)}) == 500
    assert target == SMALL[1000:1500]
    with pytest.raises(ValueError, match="head"):
        call(store, "get_into", "key", target, options={"head": True})
    with pytest.raises(BaseError):
        call(store, "get_into", "key", target, options={"if_match": '"another"'})


def test_an_empty_object(store: Any, call: Call) -> None:
    store.put("key", b"")
    assert call(store, "get_into", "key", bytearray(10)) == 0
    assert call(store, "get_into", "key", bytearray()) == 0


def test_ranges(store: Any, call: Call) -> None:
    store.put("key", SMALL)
    target = bytearray(64)
    assert call(store, "get_range_into", "key", target, start=7) == 64
    assert target == SMALL[7:71]
    assert call(store, "get_range_into", "key", target, start=9, end=73) == 64
    assert call(store, "get_range_into", "key", target, start=9, length=64) == 64
    assert target == SMALL[9:73]
    assert call(store, "get_range_into", "key", target, start=len(SMALL) - 5) == 5
    assert target[:5] == SMALL[-5:]
    with pytest.raises(ValueError, match="64"):
        call(store, "get_range_into", "key", target, start=0, length=65)


@pytest.mark.parametrize("coalesce", [0, 50, 1 << 20])
def test_several_ranges(store: Any, call: Call, coalesce: int) -> None:
    store.put("key", SMALL)
    starts = [5000, 0, 100, 150, 9_990]  # 100 to 200 and 150 to 250 share bytes; the last ends behind the object
    targets = [bytearray(100) for _ in starts]
    counts = call(store, "get_ranges_into", "key", targets, starts=starts, coalesce=coalesce)
    assert counts == [100, 100, 100, 100, 10]
    for start, target, count in zip(starts, targets, counts, strict=True):
        assert target[:count] == SMALL[start : start + count]
    with pytest.raises(ValueError, match="as many"):
        call(store, "get_ranges_into", "key", targets, starts=starts[:-1])


@pytest.mark.parametrize("coalesce", [0, 1 << 20])
def test_a_range_that_begins_behind_the_end(store: Any, call: Call, coalesce: int) -> None:
    """Is an error, alone or together with others."""
    store.put("key", SMALL)
    for start in (len(SMALL), len(SMALL) + 1000):
        with pytest.raises(GenericError):
            call(store, "get_ranges", "key", starts=[0, start], lengths=[10, 10], coalesce=coalesce)
        targets = [bytearray(10), bytearray(10)]
        with pytest.raises(GenericError):
            call(store, "get_ranges_into", "key", targets, starts=[0, start], coalesce=coalesce)


def test_what_is_no_target(store: Any, call: Call) -> None:
    """Before any request: the key does not exist, and nobody finds out."""
    for target in (b"bytes", memoryview(b"read-only"), "text", 5, None, [1]):
        with pytest.raises(TypeError, match="target"):
            call(store, "get_into", "missing", target)
        with pytest.raises(TypeError, match="target"):
            call(store, "get_range_into", "missing", target, start=0)
        with pytest.raises(TypeError, match="target"):
            call(store, "get_ranges_into", "missing", [target], starts=[0])
    with pytest.raises(ValueError, match="contiguous"):
        call(store, "get_into", "missing", memoryview(bytearray(10))[::2])
    with pytest.raises(ValueError, match="empty"):
        call(store, "get_range_into", "missing", bytearray(), start=0)


def test_a_missing_object(store: Any, call: Call) -> None:
    target = bytearray(10)
    for verb, options in (("get_into", {}), ("get_range_into", {"start": 0})):
        with pytest.raises(NotFoundError):
            call(store, verb, "missing", target, **options)
    target += b"it is the caller's again"
