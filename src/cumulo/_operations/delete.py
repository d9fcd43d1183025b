"""delete: one object, or many with as few requests as the provider allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import News, Plan, Start
from cumulo.exceptions import NotFoundError

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Objects

_AT_ONCE = 10


def paths_of(paths: str | Sequence[str]) -> list[str]:
    """One path or several, checked."""
    if isinstance(paths, str):
        return [paths]
    listed = list(paths)
    for path in listed:
        if not isinstance(path, str):
            raise TypeError(f"a path must be a str, not {type(path).__name__}")
    return listed


def delete(provider: Objects, paths: str | Sequence[str], version: str | None = None) -> Plan[None]:
    """All of them, or a version of one; the first failure is raised when what was under way has ended."""
    wanted = paths_of(paths)
    if isinstance(paths, str):
        request = provider.delete(paths, version)
        try:
            yield request
        except NotFoundError:
            if not request.in_doubt:  # else an earlier attempt of ours, whose answer was lost, has deleted it
                raise
        return
    yield from _run_all(provider, batches(provider, wanted))


def batches(provider: Objects, paths: list[str]) -> list[list[str] | str]:
    """What goes into a request each: several paths, or one alone."""
    size = provider.bulk_delete_keys
    bulk = [path for path in paths if size and provider.can_bulk_delete(path)]
    single = [path for path in paths if not (size and provider.can_bulk_delete(path))]
    batches = [bulk[i : i + size] for i in range(0, len(bulk), size)] if size else []
    return [*batches, *single]


def _run_all(provider: Objects, batches: list[list[str] | str]) -> Plan[None]:
    pending = list(reversed(batches))
    in_flight: dict[Any, bool] = {}
    news = News()
    failure: BaseException | None = None
    try:
        while pending or in_flight:
            while pending and len(in_flight) < _AT_ONCE and failure is None:
                batch = pending.pop()
                request = provider.delete(batch) if isinstance(batch, str) else provider.bulk_delete(batch)
                in_flight[request] = not isinstance(batch, str)
                news.watch(request)
                yield Start(request)
            if not in_flight:
                break
            request = yield from news.one_done()
            is_bulk = in_flight.pop(request)
            try:
                again = _take(provider, request, is_bulk=is_bulk)
                pending.extend(again)
            except Exception as error:
                failure = failure or error
    except BaseException:
        for request in in_flight:
            request.cancel()
        news.clear()
        raise
    if failure is not None:
        raise failure


def _take(provider: Objects, request: Request, *, is_bulk: bool) -> Sequence[str]:
    """What has to be asked for again."""
    try:
        request.raise_if_failed()
    except NotFoundError:
        if not request.in_doubt:
            raise
        return ()
    if not is_bulk:
        return ()
    again, failed = provider.bulk_deleted(request)
    if failed:
        raise failed[0]
    return again
