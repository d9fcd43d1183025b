"""delete_prefix: lists, and deletes what a page has while the next is asked for. What fails does not keep the rest.

Held are a page of the listing and the requests under way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cumulo._drivers.effects import END, News, Plan, Start
from cumulo.exceptions import BaseError, NotFoundError

from .delete import batches

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Objects

_AT_ONCE = 64


class DeletedPrefix(NamedTuple):
    """What `delete_prefix` has done."""

    deleted: int
    """How many of the objects that were listed are gone."""
    errors: list[BaseError]
    """One for each that is not; `path` says which."""


def check_prefix(prefix: object, *, raw: bool, everything: bool) -> None:
    """Raises where all of a store would be deleted and that was not said, or said of something else."""
    if not isinstance(prefix, str):
        raise TypeError(f"a prefix must be a str, not {type(prefix).__name__}")
    empty = not (prefix if raw else prefix.strip("/"))
    if empty and not everything:
        raise ValueError("an empty prefix is all of the store: say everything=True if that is what is to be deleted")
    if everything and not empty:
        raise ValueError(f"everything=True goes with an empty prefix, not with {prefix!r}")


def told(plan: Plan[DeletedPrefix], prefix: str, errors: str) -> Plan[DeletedPrefix]:
    """With errors "raise": the first of them, with what has been done."""
    result = yield from plan
    if result.errors and errors == "raise":
        first = result.errors[0]
        raise type(first)(
            f"delete_prefix {prefix!r}: {len(result.errors)} objects could not be deleted, {result.deleted} are; "
            f"the first: {first}", **vars(first),
        ) from first  # fmt: skip
    return result


def _next_paths(pages: Any) -> Plan[list[str] | None]:
    page = cast("Any", (yield from pages.next_page()))
    return None if page is END else [meta["path"] for meta in page.objects]


def one_by_one(pages: Any, delete: Callable[[Any], Plan[None]]) -> Plan[DeletedPrefix]:
    """With a plan that deletes some paths."""
    deleted = 0
    errors: list[BaseError] = []
    while (paths := (yield from _next_paths(pages))) is not None:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            failed = yield from _delete_some(some, delete)
            deleted += len(some) - len(failed)
            errors += failed
    return DeletedPrefix(deleted, errors)


def _delete_some(paths: list[str], delete: Callable[[Any], Plan[None]]) -> Plan[list[BaseError]]:
    try:
        yield from delete(paths)
    except BaseError:
        pass
    else:
        return []
    failed: list[BaseError] = []
    for path in paths:  # some of them are deleted
        try:
            yield from delete(path)
        except NotFoundError:
            pass
        except BaseError as error:
            failed.append(error)
    return failed


class Deletion:
    """Requests that delete, up to `most` at a time."""

    def __init__(self, provider: Objects, most: int) -> None:
        self._provider = provider
        self._most = most
        self._under_way: dict[Request, list[str] | str] = {}
        self._news = News()
        self._deleted = 0
        self._errors: list[BaseError] = []

    def run(self, pages: Any) -> Plan[DeletedPrefix]:
        """Delete what there is on the pages."""
        try:
            while (paths := (yield from _next_paths(pages))) is not None:
                for batch in batches(self._provider, paths):
                    yield from self._begin(batch)
            while self._under_way:
                yield from self._end_one()
        except BaseException:
            for request in self._under_way:
                request.cancel()
            self._news.clear()
            raise
        return DeletedPrefix(self._deleted, self._errors)

    def _begin(self, batch: list[str] | str) -> Plan[None]:
        while len(self._under_way) >= self._most:
            yield from self._end_one()
        provider = self._provider
        request = provider.delete(batch) if isinstance(batch, str) else provider.bulk_delete(batch)
        self._under_way[request] = batch
        self._news.watch(request)
        yield Start(request)

    def _end_one(self) -> Plan[None]:
        request = yield from self._news.one_done()
        batch = self._under_way.pop(request)
        if isinstance(batch, str):
            self._end_single(request)
            return
        request.raise_if_failed()
        again, failed = self._provider.bulk_deleted(request)
        lost = [error for error in failed if not isinstance(error, NotFoundError)]
        self._errors += lost
        self._deleted += len(batch) - len(again) - len(lost)
        for path in again:
            yield from self._begin(path)

    def _end_single(self, request: Request) -> None:
        try:
            request.raise_if_failed()
        except NotFoundError:
            pass  # somebody else was faster
        except BaseError as error:
            self._errors.append(error)
            return
        self._deleted += 1
