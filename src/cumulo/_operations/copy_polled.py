"""copy where the server may go on with it after it has answered (Azure): asked for until it is done."""

from __future__ import annotations

import time
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from cumulo._drivers.effects import Call, Plan
from cumulo.exceptions import BaseError, GenericError

from . import doubt
from .copy import copied_before

if TYPE_CHECKING:
    from cumulo._providers.azure import AzureProvider
    from cumulo._providers.base import Provider

_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 5.0


def copy(provider: AzureProvider, source: str, target: str, *, overwrite: bool, origin: Provider) -> Plan[None]:
    """Copy `source` to `target`; a cancel ends the copy too."""
    began = monotonic()
    request = provider.copy(source, target, create=not overwrite)
    try:
        yield request
    except BaseError as error:
        if not doubt.is_in_doubt(request, error):
            raise
        if not (yield from copied_before(provider, source, target, began, origin)):
            raise doubt.told(error) from error
        return
    copy_id, status, description = provider.copy_status(request)
    try:
        yield from _wait(provider, target, copy_id, status, description)
    except GeneratorExit:  # the call was dropped: nobody runs another effect
        raise
    except BaseException as error:
        with suppress(BaseError):
            if not isinstance(error, BaseError):
                yield provider.abort_copy(target, copy_id)
            yield from _clear(provider, target, copy_id)
        raise


def _clear(provider: AzureProvider, target: str, copy_id: str) -> Plan[None]:
    """A copy that failed or was aborted leaves an empty blob with the source's metadata, which is nobody's."""
    head = provider.probe(target)
    yield head
    found, status, _ = provider.copy_status(head)
    meta = provider.meta(target, head)
    if found == copy_id and status in ("failed", "aborted") and meta["size"] == 0 and meta["e_tag"] is not None:
        yield provider.delete_leftover(target, meta["e_tag"])


def _wait(provider: AzureProvider, target: str, copy_id: str, status: str, description: str) -> Plan[None]:
    wait_s = _FIRST_WAIT_S
    while status == "pending":
        yield Call(time.sleep, wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        head = provider.probe(target)
        yield head
        found, status, description = provider.copy_status(head)
        if found != copy_id:
            raise _failed(provider, target, "another copy to the same place has replaced it")
    if status != "success":
        raise _failed(provider, target, f"{status}: {description}")


def _failed(provider: AzureProvider, target: str, why: str) -> GenericError:
    store = repr(provider.store)
    return GenericError(
        f"copy to {target!r} in {store}: the server has not finished it: {why}",
        operation="copy", store=store, path=target,
    )  # fmt: skip
