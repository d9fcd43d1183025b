"""Writes in doubt: an attempt whose answer was lost may have been carried out, and the next then meets its work.

A conditional write is refused in that case (the object is there, or another version now) although the object is ours.
Whether it is can be proven by what the server says of it, see `Objects.is_stored_as`; where it can't, the refusal
stands, and says so.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from cumulo._drivers.effects import Plan
from cumulo.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._providers.base import Objects

_CLOCKS_DIFFER_BY_S = 5
"""Dates are of whole seconds, and the machines of a server may differ a little."""


def is_in_doubt(request: Request, error: BaseError) -> bool:
    """Whether a refusal may be due to an earlier attempt of the same request."""
    return request.in_doubt and isinstance(error, (AlreadyExistsError, NotFoundError, PreconditionError))


def probed(provider: Objects, path: str, began: float) -> Plan[Request | None]:
    """What a HEAD finds there, if it was written since `began` (of `time.monotonic`), by the server's own clock.

    So the same content that was there all the time is not taken for ours.
    """
    head = provider.probe(path)
    with suppress(BaseError):
        yield head
        age_s = provider.age_s(head)
        if age_s is not None and age_s <= monotonic() - began + _CLOCKS_DIFFER_BY_S:
            return head
    return None


def told(error: BaseError) -> BaseError:
    """The same error, with what the caller has to know in addition."""
    message = f"{error}; an earlier attempt, whose answer was lost, may have succeeded: look at the object"
    return type(error)(message, **error.__dict__)
