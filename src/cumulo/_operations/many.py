"""get_many and put_many: what an item is, and the plan for one of them. `bundle.py` runs many of those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from cumulo._drivers.effects import Plan

from . import ranges
from .bundle import Reserve

if TYPE_CHECKING:
    from collections.abc import Callable

    from cumulo._native import Bytes
    from cumulo._result import GetResult
    from cumulo._types import ObjectMeta, PutResult

T = TypeVar("T")
U = TypeVar("U")


class Wish(NamedTuple):
    """An item of `get_many`: an object, or `length` bytes of it from `start` on."""

    path: str
    start: object = None
    length: object = None


class Got(NamedTuple):
    """What came of a `Wish`."""

    content: Bytes
    span: tuple[int, int]
    meta: ObjectMeta | None


class Gift(NamedTuple):
    """An item of `put_many`."""

    path: str
    content: Any
    size: int
    """Bytes it takes in memory."""


def wish_of(item: Any) -> Wish:
    """An item of `get_many`, as far as its shape goes."""
    if isinstance(item, str):
        return Wish(item)
    parts = cast("tuple[Any, ...]", item) if isinstance(item, tuple) else ()
    if len(parts) == 3 and isinstance(parts[0], str) and None not in parts[1:]:
        return Wish(*parts)
    raise TypeError(f"an item of get_many is a path or (path, start, length), not {_told(cast('object', item))}")


def gift_of(item: Any) -> Gift:
    """An item of `put_many`, as far as its shape goes."""
    parts = cast("tuple[Any, ...]", item) if isinstance(item, tuple) else ()
    if len(parts) == 2 and isinstance(parts[0], str):
        path, content = parts
        return Gift(path, content, 0 if isinstance(content, os.PathLike) else _size_of(path, content))
    raise TypeError(f"an item of put_many is (path, content), not {_told(cast('object', item))}")


def _told(item: object) -> str:
    told = repr(item)
    return told if len(told) <= 100 else f"{told[:100]}... ({type(item).__name__})"


def get_one(
    wish: Wish,
    get: Callable[[str], Plan[GetResult]],
    get_range: Callable[[str, int, int], Plan[Bytes]],
    *,
    bounded: bool,
) -> Plan[Got]:
    """One object or range. `bounded`: its bytes are reserved before there is memory for them."""
    if wish.start is None:
        result = yield from get(wish.path)
        start, end = result.range
        if bounded:
            yield Reserve(end - start)
        return Got((yield from result._consume().collect()), (start, end), result.meta)
    try:
        first, last = ranges.span(wish.start, None, wish.length)
    except (TypeError, ValueError) as error:
        raise type(error)(f"get_many {wish.path!r}: {error}") from None
    if bounded:
        yield Reserve(last - first)
    content = yield from get_range(wish.path, first, last)
    return Got(content, (first, first + len(content)), None)


def put_one(gift: Gift, put: Callable[[str, Any], Plan[PutResult]], *, bounded: bool) -> Plan[PutResult]:
    """One object. `bounded`: content in memory is reserved, so that no more is pulled than the budget holds."""
    if bounded:
        yield Reserve(gift.size)
    return (yield from put(gift.path, gift.content))


def mapped(plan: Plan[T], make: Callable[[T], U]) -> Plan[U]:
    """The plan, with `make` of its result."""
    return make((yield from plan))


def _size_of(path: str, content: Any) -> int:
    try:
        with memoryview(content) as view:
            return view.nbytes
    except TypeError:
        raise TypeError(
            f"put_many {path!r}: it takes bytes, buffers and paths of files, not {type(content).__name__}: use put"
        ) from None
