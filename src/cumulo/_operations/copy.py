"""copy and rename inside one store: by the server, without the content passing through here."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import AnyOf, Plan, Start
from cumulo.exceptions import AlreadyExistsError, BaseError, GenericError, NotSupportedError

from .get import Wanted

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Provider

_PART_BYTES = 1 << 30
_AT_ONCE = 16


def copy(
    provider: Provider, source: str, target: str, *, overwrite: bool, absent: tuple[str, str, int] | None
) -> Plan[None]:
    """Copy `source` to `target`. `absent` is the provider's header for "only if absent", with the status it refuses by;
    without one, a multipart copy that is completed only if the target is absent.
    """
    if not overwrite:
        yield from _copy_if_absent(provider, source, target, absent)
        return
    try:
        request = provider.copy(source, target)
        yield request
        provider.check_copied(request)
    except GenericError as error:
        if error.code not in ("InvalidRequest", "EntityTooLarge"):
            raise
        # Larger than one copy request may be (5 GiB): in parts.
        head = provider.head(source, Wanted(None))
        yield head
        if provider.meta(source, head)["size"] <= provider.max_put_bytes:
            raise
        yield from _copy_in_parts(provider, source, target, head, create=False)


def _copy_if_absent(provider: Provider, source: str, target: str, absent: tuple[str, str, int] | None) -> Plan[None]:
    if absent is not None:
        name, value, status = absent
        try:
            request = provider.copy_if_absent(source, target, (name, value))
            yield request
            provider.check_copied(request)
        except BaseError as error:
            if error.status == status and not isinstance(error, AlreadyExistsError):
                raise AlreadyExistsError(str(error), **error.__dict__) from error
            raise
        return
    head = provider.head(source, Wanted(None))
    yield head
    yield from _copy_in_parts(provider, source, target, head, create=True)


def _copy_in_parts(provider: Provider, source: str, target: str, head: Request, *, create: bool) -> Plan[None]:
    from cumulo._providers.base import PutPlan

    plan = PutPlan(attributes=provider.attributes(head), create=create)
    size = provider.meta(source, head)["size"]
    if size == 0:
        yield provider.put(target, plan, body=b"")
        return
    created = provider.create_upload(target, plan)
    yield created
    upload_id = provider.upload_id(created)
    in_flight: dict[Any, int] = {}
    try:
        parts = yield from _copy_parts(provider, source, target, upload_id, size, in_flight)
        yield provider.complete_upload(target, upload_id, parts, plan)
    except BaseException:
        for request in in_flight:
            request.cancel()
        with suppress(BaseError):  # what made us abort is what the caller has to know
            yield provider.abort_upload(target, upload_id)
        raise


def _copy_parts(
    provider: Provider, source: str, target: str, upload_id: str, size: int, in_flight: dict[Any, int]
) -> Plan[list[Any]]:
    starts = list(range(0, size, _PART_BYTES if size > provider.max_put_bytes else size))
    if len(starts) > provider.max_parts:
        raise NotSupportedError(f"copy {source!r}: {size} bytes are more than a copy may hold")
    done: dict[int, Any] = {}
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else size
        if len(in_flight) >= _AT_ONCE:
            yield from _take_one(provider, in_flight, done)
        request = provider.copy_part(source, target, upload_id, number, start, end)
        in_flight[request] = number
        yield Start(request)
    while in_flight:
        yield from _take_one(provider, in_flight, done)
    return [done[number] for number in sorted(done)]


def _take_one(provider: Provider, in_flight: dict[Any, int], done: dict[int, Any]) -> Plan[None]:
    request = yield AnyOf(list(in_flight))
    number = in_flight.pop(request)
    request.raise_if_failed()
    done[number] = provider.part_of(request, number)
