"""copy and rename inside one store: by the server, without the content passing through here."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from cumulo._drivers.effects import Plan
from cumulo.exceptions import AlreadyExistsError, BaseError, GenericError, NotSupportedError

from . import bulk, doubt
from .get import Wanted
from .multipart import Upload
from .put import put_whole
from .sources import MemorySource

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import CopyProvider, Provider, PutPlan

_PART_BYTES = 1 << 30
_AT_ONCE = 16


def copy(
    provider: CopyProvider, source: str, target: str, *, overwrite: bool, absent: tuple[str, str, int] | None
) -> Plan[None]:
    """Copy `source` to `target`. `absent` is the provider's header for "only if absent", with the status it refuses by;
    without one, a multipart copy that is completed only if the target is absent.
    """
    if not overwrite:
        yield from _copy_if_absent(provider, source, target, absent)
        return
    if provider.bulk is not None and provider.bulk.takes("copy") and (yield from _copy_by(provider, source, target)):
        return
    try:
        yield from _to_its_end(provider, provider.copy(source, target))
    except GenericError as error:
        if error.code not in ("InvalidRequest", "EntityTooLarge"):
            raise
        # Larger than one copy request may be (5 GiB): in parts.
        head = provider.head(source, Wanted(None))
        yield head
        if provider.meta(source, head)["size"] <= provider.max_put_bytes:
            raise
        yield from _copy_in_parts(provider, source, target, head, create=False)


def _to_its_end(provider: CopyProvider, request: Request) -> Plan[None]:
    following: Request | None = request
    while following is not None:
        yield following
        following = provider.check_copied(following)


def _copy_if_absent(
    provider: CopyProvider, source: str, target: str, absent: tuple[str, str, int] | None
) -> Plan[None]:
    if absent is not None:
        yield from _copy_by_header(provider, source, target, absent)
        return
    head = provider.head(source, Wanted(None))
    yield head
    yield from _copy_in_parts(provider, source, target, head, create=True)


def _copy_by_header(provider: CopyProvider, source: str, target: str, absent: tuple[str, str, int]) -> Plan[None]:
    name, value, status = absent
    began = monotonic()
    request = provider.copy_if_absent(source, target, (name, value))
    try:
        yield from _to_its_end(provider, request)
    except BaseError as error:
        refusal = AlreadyExistsError(str(error), **error.__dict__) if error.status == status else error
        if not doubt.is_in_doubt(request, refusal):
            raise refusal  # noqa: B904 - often the same
        if not (yield from copied_before(provider, source, target, began)):
            raise doubt.told(refusal) from error


def copied_before(provider: Provider, source: str, target: str, began: float) -> Plan[bool]:
    """Whether an earlier attempt has made the copy."""
    made = yield from doubt.probed(provider, target, began)
    if made is None:
        return False
    head = provider.probe(source)
    with suppress(BaseError):
        yield head
        return provider.is_copy_of(made, head)
    return False


def _copy_in_parts(provider: CopyProvider, source: str, target: str, head: Request, *, create: bool) -> Plan[None]:
    plan = yield from _plan_like(provider, source, head)
    plan.create = create
    size = provider.meta(source, head)["size"]
    if size == 0:
        nothing = MemorySource(b"")
        yield from put_whole(provider, target, nothing, (yield from nothing.part(0, 0)), plan)
        return
    upload = Upload(provider, target, plan, _AT_ONCE)
    yield from upload.run(lambda: _copy_parts(provider, source, target, upload, size))


def _plan_like(provider: CopyProvider, source: str, head: Request) -> Plan[PutPlan]:
    """What else belongs to an object: a copy in parts takes none of it along by itself."""
    from cumulo._providers.base import PutPlan

    plan = PutPlan(attributes=provider.attributes(head))
    if provider.has_tags(head):
        tags = provider.get_tags(source)
        yield tags
        plan.tags = provider.tags(tags)
    return plan


def _copy_by(provider: CopyProvider, source: str, target: str) -> Plan[bool]:
    """By the provider's bulk client; False for what one request copies as well."""
    assert provider.bulk is not None
    head = provider.head(source, Wanted(None))
    yield head
    meta = provider.meta(source, head)
    if meta["size"] <= _PART_BYTES or meta["e_tag"] is None:
        return False
    plan = yield from _plan_like(provider, source, head)
    yield from bulk.perform(provider.bulk, provider.bulk.copy(source, target, plan, meta["e_tag"], most=_AT_ONCE))
    return True


def _copy_parts(provider: CopyProvider, source: str, target: str, upload: Upload, size: int) -> Plan[None]:
    starts = list(range(0, size, _PART_BYTES if size > provider.max_put_bytes else size))
    if len(starts) > provider.max_parts:
        raise NotSupportedError(f"copy {source!r}: {size} bytes are more than a copy may hold")
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else size
        yield from upload.room()
        yield from upload.start(provider.copy_part(source, target, upload.id, number, start, end), number)
