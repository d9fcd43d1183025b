"""The only code that waits: runs a plan on this thread, as an asyncio future, or as a `concurrent.futures.Future`.

A plan is a generator that knows no I/O. It yields effects and is sent their outcomes:

| effect | what the driver does | outcome |
| --- | --- | --- |
| a `Request` | submits it and waits for its end | the request, or its failure is thrown |
| `Start(request)` | submits it | the request |
| `Until(request, ...)` | waits for its end, its headers or filled pieces | the request, or its failure is thrown |
| `Unbroken(request)` | submits it and waits for its end, even if cancelled | the same; or the cancel is thrown |
| `Pull(source)` | takes the next item of the user's iterator | the item, or `END` |
| `Close(source)` | ends the user's iterator | None |
| `Call(function, *args)` | calls what may block | its result, or what it raised is thrown |
| `Begin(mailbox, key, effect)` | begins a `Call` or a `Pull` | None; its end becomes a note in the mailbox |
| `Receive(mailbox)` | waits until there is a note in the mailbox; `News` has those of requests | None |

A cancelled plan has `CancelledError` (Ctrl-C: `KeyboardInterrupt`) thrown in. Effects it yields after that are its
clean-up, which is not cancelled again. A plan that is dropped instead (its event loop is gone) has `GeneratorExit`
thrown in, and must not yield any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cumulo._types import CallFuture

    from .effects import Plan

T = TypeVar("T")


# The drivers are imported when they are first used: asyncio alone takes longer than all the rest of the package.


def run_async(plan: Plan[T]) -> CallFuture[T]:
    """A future of the running event loop."""
    from .aio import run

    return run(plan)


def run_in_background(plan: Plan[T]) -> Future[T]:
    """A `concurrent.futures.Future`."""
    from .background import run

    return run(plan)
