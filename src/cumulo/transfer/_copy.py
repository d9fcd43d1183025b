"""The plan of a copy from one store to another: by the server where both are on one, else through this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cumulo._drivers.effects import Plan
from cumulo._given import flag
from cumulo._operations.parts import check_parts
from cumulo._operations.put import checked

if TYPE_CHECKING:
    from cumulo._operations.passing import Opened
    from cumulo._types import Attributes
    from cumulo.store import ObjectStoreMethods

_AT_ONCE = 8
"""Half of what a get or a put alone has: there are both."""


def plan(
    source: ObjectStoreMethods,
    from_: str,
    target: ObjectStoreMethods,
    to: str,
    overwrite: bool,
    attributes: Attributes | None,
    part_size: int | None,
    max_concurrency: int | None,
) -> Plan[None]:
    """Copy one object."""
    part_bytes, most = check_parts(part_size, _AT_ONCE if max_concurrency is None else max_concurrency)
    flag("overwrite", overwrite)
    _check_store("source", source)
    _check_store("target", target)
    checked(attributes, None, None)
    source._check_path(from_)
    target._check_path(to, written=True)
    for store in (source, target):
        waiting = store._unready()
        if waiting is not None:
            yield from waiting
    by_server = _by_server(source, from_, target, to, overwrite) if attributes is None else None
    if by_server is not None:
        yield from by_server
        return
    opened = yield from source._plan_open(from_, part_bytes, most)
    opened.attributes = {**opened.attributes, **(attributes or {})}
    try:
        yield from _put(target, to, opened, overwrite, part_bytes, most)
    finally:
        opened.source.close()


def _check_store(name: str, store: object) -> None:
    from cumulo.store import ObjectStoreMethods

    if not isinstance(store, ObjectStoreMethods):
        raise TypeError(f"{name} must be a store of cumulo's, not {type(store).__module__}.{type(store).__qualname__}")


def _by_server(
    source: ObjectStoreMethods, from_: str, target: ObjectStoreMethods, to: str, overwrite: bool
) -> Plan[None] | None:
    if source is target or source == target:
        return target._plan_copy(from_, to, overwrite)
    return target._plan_copy_from(source, from_, to, overwrite)


def _put(
    target: ObjectStoreMethods, to: str, opened: Opened, overwrite: bool, part_bytes: int, most: int
) -> Plan[None]:
    yield from target._plan_put(
        to,
        opened.source,
        attributes=target._kept(opened.attributes),
        tags=opened.tags if target._keeps_tags else None,
        mode="overwrite" if overwrite else "create",
        use_multipart=None,
        chunk_size=part_bytes,
        max_concurrency=most,
    )
