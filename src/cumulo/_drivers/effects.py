"""What plans yield. See the table in `cumulo._drivers`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from cumulo._native import Queue, Request

T = TypeVar("T")


class _End:
    def __repr__(self) -> str:
        return "END"


END: Final = _End()
"""The outcome of a `Pull` when there is nothing more."""


class Start:
    """Submit, don't wait."""

    __slots__ = ("request",)

    def __init__(self, request: Request) -> None:
        self.request = request


class Until:
    """Wait for the end of a submitted request; or, before that, for its headers or a number of filled pieces."""

    __slots__ = ("headers", "pieces", "request")

    def __init__(self, request: Request, *, headers: bool = False, pieces: int = 0) -> None:
        self.request = request
        self.headers = headers
        self.pieces = pieces

    def holds(self) -> bool:
        """Whether there is nothing to wait for."""
        headers_ready, finished, pieces_done, _, _ = self.request.progress
        return bool(finished or (self.headers and headers_ready) or (self.pieces and pieces_done >= self.pieces))


class Unbroken(Until):
    """Submit, and wait for the end, which a cancel does not bring about: it is thrown once the request has ended.

    For what a server begins on our behalf: only its answer says what there is to take back.
    """

    __slots__ = ()


class AnyOf:
    """Wait for the first of these: the outcome is the one that holds. A failed request is an outcome too."""

    __slots__ = ("waits",)

    def __init__(self, waits: Sequence[Request | Until]) -> None:
        self.waits = waits

    def settled(self) -> Request | Until | None:
        """The first for which there is nothing to wait."""
        for wait in self.waits:
            if wait.holds() if isinstance(wait, Until) else wait.finished:
                return wait
        return None

    @property
    def requests(self) -> tuple[Request, ...]:
        """What is waited for."""
        return tuple(wait.request if isinstance(wait, Until) else wait for wait in self.waits)


class Pull:
    """The next item of an iterator, or of an async iterator where the caller is on an event loop."""

    __slots__ = ("source",)

    def __init__(self, source: Any) -> None:
        self.source = source


class Close:
    """End an iterator that is not wanted any more, once what is still taking an item from it has it."""

    __slots__ = ("source",)

    def __init__(self, source: Any) -> None:
        self.source = source


class Call:
    """A function that may block: on an event loop it runs in a thread."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments


class Mailbox:
    """What a plan has begun and not waited for leaves its notes here."""

    __slots__ = ("notes", "queue", "wake")

    def __init__(self) -> None:
        self.notes: deque[Any] = deque()
        self.queue: Queue | None = None
        """Where requests of the plan send their news: the queue of the driver that ran it last."""
        self.wake: Callable[[], None] | None = None
        """What the driver wants called once, when there is a note; set by drivers that don't sleep on `queue`."""

    def put(self, note: Any) -> None:
        """Leave a note and go on with who waits for it: where that one runs, and nowhere else."""
        self.notes.append(note)
        wake, self.wake = self.wake, None
        if wake is not None:
            wake()


class Begin:
    """Begin a `Call` or a `Pull`, don't wait: its end is the note `(key, outcome, error)` in the mailbox.

    The outcome of the effect itself is what stops a `Pull`, where it can be stopped: a function, or None.
    """

    __slots__ = ("effect", "key", "mailbox")

    def __init__(self, mailbox: Mailbox, key: Any, effect: Call | Pull) -> None:
        self.mailbox = mailbox
        self.key = key
        self.effect = effect


class Receive:
    """Wait until the mailbox has a note; without `wait`, only look. The mailbox then has the driver's queue."""

    __slots__ = ("mailbox", "wait")

    def __init__(self, mailbox: Mailbox, *, wait: bool = True) -> None:
        self.mailbox = mailbox
        self.wait = wait


Effect: TypeAlias = "Request | Start | Until | Unbroken | AnyOf | Pull | Close | Call | Begin | Receive"
Plan: TypeAlias = Generator[Any, Any, T]
