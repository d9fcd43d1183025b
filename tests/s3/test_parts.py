"""The sizes of parts, computed: no object may need more of them than there may be. No server is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cumulo._operations.put import part_bytes
from cumulo._providers.s3 import S3Provider

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
LARGEST = 5 * TIB
LIMITS: Any = SimpleNamespace(
    min_part_bytes=S3Provider.min_part_bytes,
    max_part_bytes=S3Provider.max_part_bytes,
    max_parts=S3Provider.max_parts,
)


def test_the_limits_are_s3s() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
    assert (LIMITS.min_part_bytes, LIMITS.max_part_bytes, LIMITS.max_parts) == (5 * MIB, 5 * GIB, 10_000)
    assert S3Provider.max_put_bytes == 5 * GIB


@pytest.mark.parametrize("chunk", [1, 5 * MIB, 8 * MIB + 1, 100 * MIB, GIB, 5 * GIB, 50 * GIB])
@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 50_000 * MIB, 50_000 * MIB + 1, TIB, TIB + 12_345, LARGEST])
def test_an_object_of_known_size_fits(chunk: int, size: int) -> None:
    part = part_bytes(LIMITS, chunk, size, 1)
    assert LIMITS.min_part_bytes <= part <= LIMITS.max_part_bytes
    assert part * LIMITS.max_parts >= size
    assert part == part_bytes(LIMITS, chunk, size, LIMITS.max_parts)  # one size for all: R2 asks for it


def test_a_size_that_fits_is_left_as_asked() -> None:
    assert part_bytes(LIMITS, 5 * MIB, 50_000 * MIB, 1) == 5 * MIB
    assert part_bytes(LIMITS, 7 * MIB + 3, GIB, 1) == 7 * MIB + 3
    assert part_bytes(LIMITS, 5 * MIB, 50_000 * MIB + 1, 1) == 6 * MIB


@pytest.mark.parametrize("chunk", [1, 5 * MIB, 8 * MIB, 100 * MIB, 5 * GIB])
def test_parts_of_an_unknown_size_grow_to_hold_the_largest_object(chunk: int) -> None:
    sizes = [part_bytes(LIMITS, chunk, None, number) for number in range(1, LIMITS.max_parts + 1)]
    assert sizes[0] == max(chunk, 5 * MIB)
    assert sizes == sorted(sizes)
    assert max(sizes) <= LIMITS.max_part_bytes
    assert sum(sizes) >= LARGEST


def test_parts_of_an_unknown_size_stay_small_as_long_as_they_can() -> None:
    """What is held in memory at a time is a few parts."""
    held, number = 0, 0
    while held < 4000 * MIB:
        number += 1
        held += part_bytes(LIMITS, 5 * MIB, None, number)
    assert part_bytes(LIMITS, 5 * MIB, None, number) == 5 * MIB
