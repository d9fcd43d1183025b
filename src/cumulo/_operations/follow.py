"""Redirects: the same plan once more, for where the server says. docs/design/http.md says why here.

Nothing of a redirected request has reached the caller: a redirect takes the place of the response. So a plan that meets
one is thrown away and begun anew, with a provider that knows the new place; what it then fetches in parts goes straight
there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from cumulo._drivers.effects import Plan, Until
from cumulo._native import Request
from cumulo._redirected import Redirected
from cumulo.exceptions import BaseError, GenericError

if TYPE_CHECKING:
    from cumulo._providers.http import HTTPProvider

T = TypeVar("T")

MOST_REDIRECTS = 10


def followed(provider: HTTPProvider, make: Callable[[HTTPProvider], Plan[T]], met: Redirected | None = None) -> Plan[T]:
    """What `make`'s plan gives at the end of all redirects. `met`: the first is known already.

    Raises:
        GenericError: there are too many, or one that is not to be followed.
    """
    for _ in range(MOST_REDIRECTS + 1):
        if met is not None:
            provider.keep_cookies(met.request, met.request.failure[0][1])
            provider = provider.after(met)
        try:
            plan = make(provider)
            return (yield from plan if provider.cookies is None else _watched(provider, plan))
        except Redirected as redirect:
            met = redirect
    assert met is not None
    raise GenericError(f"{met}; and {MOST_REDIRECTS} redirects before it") from None


def renewed(provider: HTTPProvider, path: str) -> Plan[bool]:
    """Let a provider that a redirect has led elsewhere ask the store's own URL once more; False when that fails.

    Signed URLs expire, and a large object may take longer than that. Its version is not at stake: parts are asked for
    on condition of the ETag.
    """
    try:
        provider.move((yield from followed(provider.at_home(), lambda at: _reached(at, path))))
    except BaseError:
        return False  # what was refused says why
    return True


def _reached(at: HTTPProvider, path: str) -> Plan[HTTPProvider]:
    """By a GET: URLs that are signed for it refuse a HEAD."""
    request = at.get_span(path, 0, 1)
    request.feed_target(1)
    yield request
    request.raise_if_failed()
    return at


def _watched(provider: HTTPProvider, plan: Plan[T]) -> Plan[T]:
    """A plan, the cookies of whose responses are kept."""
    try:
        effect = next(plan)
        while True:
            try:
                outcome = yield effect
            except GeneratorExit:
                plan.close()
                raise
            except BaseException as error:
                effect = plan.throw(error)
            else:
                _keep(provider, outcome)
                effect = plan.send(outcome)
    except StopIteration as stop:
        return stop.value


def _keep(provider: HTTPProvider, outcome: Any) -> None:
    request = outcome.request if isinstance(outcome, Until) else outcome
    if isinstance(request, Request) and request.headers_ready:
        with suppress(ValueError):
            provider.keep_cookies(request, request.response[1])
