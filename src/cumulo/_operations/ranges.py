"""Byte ranges: from arguments to what a request asks for, and how near ranges become one request."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

RangeSpec: TypeAlias = tuple[str, int, int]
"""`("bounded", start, end)`, `("offset", start, 0)` or `("suffix", 0, length)`, as the native `Request` takes it."""

MOST = 2**63 - 1
"""The last byte there may be."""


def span(start: object, end: object, length: object) -> tuple[int, int]:
    """`start`, and `end` or `length`, as (start, end). Raises `ValueError` where they make no range."""
    if (end is None) == (length is None):
        raise ValueError("exactly one of end and length must be given")
    first = _number("start", start)
    last = _number("end", end if end is not None else first + _number("length", length))
    if last <= first:
        raise ValueError(f"the range is empty: start {first}, end {last}")
    return first, last


def spans(starts: Sequence[int], ends: Sequence[int] | None, lengths: Sequence[int] | None) -> list[tuple[int, int]]:
    """The same for `get_ranges`. Raises `ValueError` when the sequences differ in length."""
    if (ends is None) == (lengths is None):
        raise ValueError("exactly one of ends and lengths must be given")
    others = ends if ends is not None else lengths
    assert others is not None
    if len(starts) != len(others):
        name = "ends" if ends is not None else "lengths"
        raise ValueError(f"{len(starts)} starts but {len(others)} {name}: they must be as many")
    if ends is not None:
        return [span(s, e, None) for s, e in zip(starts, ends, strict=True)]
    return [span(s, None, n) for s, n in zip(starts, others, strict=True)]


def of_option(value: Any) -> RangeSpec | None:
    """The `range` of `GetOptions`."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return _of_mapping(cast("Mapping[str, Any]", value))
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise _no_range(value)
    ends: Sequence[object] = cast("Sequence[object]", value)
    if len(ends) != 2:
        raise _no_range(ends)
    return ("bounded", *span(ends[0], ends[1], None))


def _of_mapping(value: Mapping[str, Any]) -> RangeSpec:
    if set(value) == {"offset"}:
        return ("offset", _number("offset", value["offset"]), 0)
    if set(value) == {"suffix"}:
        suffix = _number("suffix", value["suffix"])
        if suffix == 0:
            raise ValueError("a suffix range of 0 bytes is empty")
        return ("suffix", 0, suffix)
    raise _no_range(value)


def _no_range(value: object) -> ValueError:
    return ValueError(f"range must be (start, end), {{'offset': n}} or {{'suffix': n}}, not {value!r}")


def _number(name: str, value: object) -> int:
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not 0 <= number <= MOST:
        raise ValueError(f"{name} must be between 0 and 2**63 - 1, not {number}")
    return number


class Group:  # a dataclass would cost each program that imports cumulo the import of `inspect`
    """Ranges that one request fetches: (start, end) of the whole, and each range with its place in the result."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.members: list[tuple[int, int, int]] = []
        """(start, end, index), by start."""

    @property
    def disjoint(self) -> bool:
        """Whether no two members share a byte."""
        return all(a[1] <= b[0] for a, b in zip(self.members, self.members[1:], strict=False))


def coalesced(wanted: Sequence[tuple[int, int]], gap: int) -> list[Group]:
    """Ranges at most `gap` bytes apart together; 0 merges nothing."""
    groups: list[Group] = []
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for index in order:
        start, end = wanted[index]
        if gap > 0 and groups and start <= groups[-1].end + gap:
            groups[-1].end = max(groups[-1].end, end)
        else:
            groups.append(Group(start, end))
        groups[-1].members.append((start, end, index))
    return groups
