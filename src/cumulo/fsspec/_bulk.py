"""Many files with one call: by `get_many`, `put_many` and `get_ranges` of their stores."""

from __future__ import annotations

import os
from asyncio import gather
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cumulo.exceptions import RangeNotSatisfiableError

if TYPE_CHECKING:
    from ._store import FsspecStore

_SMALL_BYTES = 1 << 20
"""Up to so many bytes a file is read as a whole and then written: that takes a quarter of a download of its own."""


class Span(NamedTuple):
    """A range of a file, as fsspec has them: either end may be None, or negative."""

    path: str
    start: int | None
    end: int | None

    @property
    def is_plain(self) -> bool:
        """Whether it can be asked for as it stands."""
        return self.start is not None and self.end is not None and 0 <= self.start < self.end


async def contents(fs: FsspecStore, wanted: Sequence[str | Span], most: int) -> list[Any]:
    """Whole files, or plain spans of them, each a request: bytes, or the error."""
    results: list[Any] = [None] * len(wanted)
    buckets: dict[str, list[tuple[int, Any]]] = {}
    for number, each in enumerate(wanted):
        path = each if isinstance(each, str) else each.path
        bucket, key = fs._split_path(path)
        item = key if isinstance(each, str) else (key, each.start, (each.end or 0) - (each.start or 0))
        buckets.setdefault(bucket, []).append((number, item))
    for bucket, items in buckets.items():
        stream = fs._store_of(bucket).get_many([item for _, item in items], max_concurrency=most, errors="return")
        async for found in stream:
            results[items[found.index][0]] = found.error or found.bytes.to_bytes()
    return results


async def spans(fs: FsspecStore, wanted: Sequence[Span], max_gap: int | None, most: int) -> list[Any]:
    """Spans of files: bytes, or the error. Near ones of one file share a request."""
    results: list[Any] = [None] * len(wanted)
    by_path: dict[str, list[int]] = {}
    for number, span in enumerate(wanted):
        if span.is_plain:
            by_path.setdefault(span.path, []).append(number)
    single = [numbers[0] for numbers in by_path.values() if len(numbers) == 1]
    for number, content in zip(single, await contents(fs, [wanted[n] for n in single], most), strict=True):
        results[number] = b"" if isinstance(content, RangeNotSatisfiableError) else content
    several = [numbers for numbers in by_path.values() if len(numbers) > 1]
    await gather(*(_of_one_file(fs, wanted, numbers, max_gap, results) for numbers in several))
    left = [number for number, content in enumerate(results) if content is None]
    await gather(*(_alone(fs, wanted[number], number, results) for number in left))
    return results


async def _of_one_file(
    fs: FsspecStore, wanted: Sequence[Span], numbers: list[int], max_gap: int | None, results: list[Any]
) -> None:
    store, key = fs.store_and_key(wanted[numbers[0]].path)
    gap: Any = {} if max_gap is None else {"coalesce": max_gap}
    starts, ends = [wanted[n].start or 0 for n in numbers], [wanted[n].end or 0 for n in numbers]
    try:
        found = await store.get_ranges_async(key, starts=starts, ends=ends, **gap)
    except RangeNotSatisfiableError:
        return  # one of them is behind the end: each is read alone
    except Exception as error:
        for number in numbers:
            results[number] = error
        return
    for number, content in zip(numbers, found, strict=True):
        results[number] = content.to_bytes()


async def _alone(fs: FsspecStore, span: Span, number: int, results: list[Any]) -> None:
    try:
        results[number] = await fs._cat_file(span.path, span.start, span.end)
    except Exception as error:
        results[number] = error


async def put_all(fs: FsspecStore, files: Iterable[tuple[str, Any]], mode: Any, most: int) -> None:
    """Contents, or local files by their `Path`, to where they belong."""
    buckets: dict[str, list[tuple[str, Any]]] = {}
    for path, content in files:
        bucket, key = fs._split_path(path)
        buckets.setdefault(bucket, []).append((key, content))
    for bucket, items in buckets.items():
        async for _ in fs._store_of(bucket).put_many(items, mode=mode, max_concurrency=most):
            pass


async def get_small(
    fs: FsspecStore, pairs: Iterable[tuple[str, str]], known: Mapping[str, dict[str, Any]], most: int
) -> list[tuple[str, str]]:
    """Download what a listing says is small, and make directories; (file, local name) of all others."""
    left: list[tuple[str, str]] = []
    buckets: dict[str, list[tuple[str, str]]] = {}
    for remote, local in pairs:
        entry = known.get(remote)
        if entry is not None and entry["type"] == "directory":
            os.makedirs(local, exist_ok=True)
        elif entry is None or not 0 <= entry["size"] <= _SMALL_BYTES or os.path.isdir(local):
            left.append((remote, local))
        else:
            bucket, key = fs._split_path(remote)
            buckets.setdefault(bucket, []).append((key, local))
    for bucket, items in buckets.items():
        async for found in fs._store_of(bucket).get_many([key for key, _ in items], max_concurrency=most):
            _write(items[found.index][1], found.bytes)
    return left


def _write(local: str, content: Any) -> None:
    with open(local, "wb") as file:
        try:
            file.write(content)
        except BaseException:
            os.unlink(local)
            raise


def whole(content: Any) -> Any:
    """Content; raises what is an error."""
    if isinstance(content, Exception):
        raise content
    return content
