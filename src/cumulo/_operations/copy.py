"""copy and rename by the server, without the content passing through here.

`source` is a path of `origin`, the source's store: the target's own, or one that its provider can copy from
(`copying_from`).
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from cumulo._drivers.effects import Plan
from cumulo.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    NotFoundError,
    NotSupportedError,
    ObjectChangedError,
    PreconditionError,
)

from . import bulk, doubt
from .get import Wanted
from .multipart import Upload
from .put import put_whole
from .sources import MemorySource

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import CopyProvider, Provider, PutPlan
    from cumulo._types import ObjectMeta

_PART_BYTES = 1 << 30
_AT_ONCE = 16
_NO_PLACE = frozenset(("ContainerNotFound", "NoSuchBucket", "NoSuchUpload"))
"""What is not there may be where the copy goes to."""


def copy(
    provider: CopyProvider,
    source: str,
    target: str,
    *,
    overwrite: bool,
    absent: tuple[str, str, int] | None,
    origin: Provider,
) -> Plan[None]:
    """Copy `source` to `target`. `absent` is the provider's header for "only if absent", with the status it refuses by;
    without one, a multipart copy that is completed only if the target is absent.
    """
    if not overwrite:
        yield from _copy_if_absent(provider, source, target, absent, origin)
        return
    by_bulk = provider.bulk is not None and provider.bulk.takes("copy")
    if by_bulk and (yield from _copy_by(provider, source, target, origin)):
        return
    try:
        yield from _to_its_end(provider, provider.copy(source, target))
    except GenericError as error:
        if error.code not in ("InvalidRequest", "EntityTooLarge"):
            raise
        # Larger than one copy request may be (5 GiB): in parts.
        head = origin.head(source, Wanted(None))
        yield head
        if origin.meta(source, head)["size"] <= provider.max_put_bytes:
            raise
        yield from _copy_in_parts(provider, source, target, head, origin, create=False)


def named(plan: Plan[None], source: str, store: object) -> Plan[None]:
    """A copy, of which an object that is not there is the source, whatever the request was for."""
    try:
        yield from plan
    except NotFoundError as error:
        if error.path != source and error.code not in _NO_PLACE:
            told = str(error).removeprefix(f"{error.operation} {error.path!r} in {error.store}: ")
            error.path, error.store = source, repr(store)
            error.args = (f"{error.operation} {source!r} in {error.store}: {told}",)
        raise


def _to_its_end(provider: CopyProvider, request: Request) -> Plan[None]:
    following: Request | None = request
    while following is not None:
        yield following
        following = provider.check_copied(following)


def _copy_if_absent(
    provider: CopyProvider, source: str, target: str, absent: tuple[str, str, int] | None, origin: Provider
) -> Plan[None]:
    if absent is not None:
        yield from _copy_by_header(provider, source, target, absent, origin)
        return
    head = origin.head(source, Wanted(None))
    yield head
    yield from _copy_in_parts(provider, source, target, head, origin, create=True)


def _copy_by_header(
    provider: CopyProvider, source: str, target: str, absent: tuple[str, str, int], origin: Provider
) -> Plan[None]:
    name, value, status = absent
    began = monotonic()
    request = provider.copy_if_absent(source, target, (name, value))
    try:
        yield from _to_its_end(provider, request)
    except BaseError as error:
        refusal = AlreadyExistsError(str(error), **error.__dict__) if error.status == status else error
        if not doubt.is_in_doubt(request, refusal):
            raise refusal  # noqa: B904 - often the same
        if not (yield from copied_before(provider, source, target, began, origin)):
            raise doubt.told(refusal) from error


def copied_before(provider: Provider, source: str, target: str, began: float, origin: Provider) -> Plan[bool]:
    """Whether an earlier attempt has made the copy."""
    made = yield from doubt.probed(provider, target, began)
    if made is None:
        return False
    head = origin.probe(source)
    with suppress(BaseError):
        yield head
        return provider.is_copy_of(made, head)
    return False


def _copy_in_parts(
    provider: CopyProvider, source: str, target: str, head: Request, origin: Provider, *, create: bool
) -> Plan[None]:
    plan = yield from _plan_like(origin, source, head)
    plan.create = create
    meta = origin.meta(source, head)
    if meta["size"] == 0:
        nothing = MemorySource(b"")
        yield from put_whole(provider, target, nothing, (yield from nothing.part(0, 0)), plan)
        return
    upload = Upload(provider, target, plan, _AT_ONCE)
    try:
        yield from upload.run(lambda: _copy_parts(provider, source, target, upload, meta))
    except PreconditionError as error:  # not the target's: that would be an AlreadyExistsError
        message = f"copy {source!r}: the object was replaced while it was copied: its ETag was {meta['e_tag']}"
        raise ObjectChangedError(message, **error.__dict__) from error


def _plan_like(provider: Provider, source: str, head: Request) -> Plan[PutPlan]:
    """What else belongs to an object: a copy in parts takes none of it along by itself."""
    from cumulo._providers.base import PutPlan

    plan = PutPlan(attributes=provider.attributes(head))
    if provider.has_tags(head):
        tags = provider.get_tags(source)
        yield tags
        plan.tags = provider.tags(tags)
    return plan


def _copy_by(provider: CopyProvider, source: str, target: str, origin: Provider) -> Plan[bool]:
    """By the provider's bulk client; False for what one request copies as well."""
    assert provider.bulk is not None
    head = origin.head(source, Wanted(None))
    yield head
    meta = origin.meta(source, head)
    if meta["size"] <= _PART_BYTES or meta["e_tag"] is None:
        return False
    plan = yield from _plan_like(origin, source, head)
    yield from bulk.perform(provider.bulk, provider.bulk.copy(source, target, plan, meta["e_tag"], most=_AT_ONCE))
    return True


def _copy_parts(provider: CopyProvider, source: str, target: str, upload: Upload, meta: ObjectMeta) -> Plan[None]:
    size, etag = meta["size"], meta["e_tag"]
    if etag is not None and etag.startswith("W/"):
        etag = None  # nothing that a condition could be sure of
    starts = list(range(0, size, _PART_BYTES if size > provider.max_put_bytes else size))
    if len(starts) > provider.max_parts:
        raise NotSupportedError(f"copy {source!r}: {size} bytes are more than a copy may hold")
    for number, start in enumerate(starts, 1):
        end = starts[number] if number < len(starts) else size
        yield from upload.room()
        yield from upload.start(provider.copy_part(source, target, upload.id, number, (start, end), etag), number)
