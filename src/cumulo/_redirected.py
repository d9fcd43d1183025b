"""`Redirected`: how a redirect gets from the request that met it to the plan that follows it (`_operations.follow`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import exceptions as e

if TYPE_CHECKING:
    import asyncio

    from ._native import Request


class Redirected(e.GenericError):
    """A redirect, for the plans of a store that follows them. No user sees it, unless it is not to be followed."""

    def __init__(self, message: str, *, location: str, request: Request, **details: Any) -> None:
        super().__init__(message, **details)
        self._location = location
        self._request = request

    @property
    def location(self) -> str:
        """Where to; it may hold a signature."""
        return self._location

    @property
    def request(self) -> Request:
        """What was redirected."""
        return self._request

    def take_over(self, future: asyncio.Future[Any]) -> bool:
        """Let a plan resolve the future of the redirected request. False where nobody waits for more."""
        redo = getattr(self._request.context, "redo", None)
        if redo is None:
            return False
        from ._drivers import run_async

        rest = run_async(redo(self))
        future.request = rest  # type: ignore[attr-defined]  # what a cancel stops
        rest.add_done_callback(lambda _: _hand_on(rest, future))
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return e._rebuilt, (e.GenericError, str(self), _public(self))


def _hand_on(rest: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
    future.request = None  # type: ignore[attr-defined]
    if rest.cancelled() or future.done():
        return
    error = rest.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(rest.result())


def _public(error: e.BaseError) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if not name.startswith("_")}
