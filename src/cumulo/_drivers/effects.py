"""What plans yield. See the table in `cumulo._drivers`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
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
    """Submit, don't wait. Belongs into the `try` that cancels it: Ctrl-C may come right after the submission."""

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

    def __init__(self) -> None:
        self.notes: deque[Any] = deque()
        self.queue: Queue | None = None
        """Where requests of the plan send their news: the queue of the driver that ran it last."""
        self.wake: Callable[[], None] | None = None
        """What the driver wants called once, when there is a note; set by drivers that don't sleep on `queue`. On any
        thread.
        """

    def put(self, note: Any) -> None:
        """Leave a note and wake who waits for it. Any thread: one that read a stream may still hand out its news when
        another driver has come already.
        """
        self.notes.append(note)
        wake = vars(self).pop("wake", None)  # in one step, whatever other threads do
        if wake is not None:
            wake()

    def come_to(self, queue: Queue) -> None:
        """A driver with this queue runs the plan from now on."""
        self.queue = queue


class News(Mailbox):
    """The mailbox of requests under way: each with news leaves itself as a note. So an end costs the same however many
    others there are, while to wait for any of them would mean to look at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[Request, int] = {}
        """Those that are not done, and how many filled pieces are enough for that (0: only its end is)."""
        self._fresh: dict[Request, None] = {}
        """Those of them that have been watched since the last `come_to`: perhaps started by another driver since."""

    def watch(self, request: Request, *, pieces: int = 0) -> None:
        """From now on its news come here: to the queue of the driver with the next `Receive`, whoever starts it."""
        self.watched[request] = pieces
        self._fresh[request] = None
        request.waiter = self.put

    def forget(self, request: Request) -> None:
        """Its news are not wanted any more."""
        self._fresh.pop(request, None)
        if self.watched.pop(request, None) is not None:
            request.waiter = None

    def clear(self) -> None:
        """Forget all of them, and begin anew."""
        for request in list(self.watched):
            self.forget(request)
        self.notes.clear()
        self.queue = self.wake = None

    def come_to(self, queue: Queue) -> None:
        moving = self._fresh if self.queue is queue else self.watched
        self.queue, self._fresh = queue, {}
        for request in moving:
            moved = request.retarget(queue)
            request.waiter = self.put  # which it has lost where the queue before has no reader any more
            if moved or request.ended or self.watched[request]:  # else what it has to say still comes here
                self.notes.append(request)

    def _is_done(self, request: Request) -> bool:
        pieces = self.watched[request]
        _, finished, pieces_done, _, _ = request.progress
        return bool(finished or 0 < pieces <= pieces_done)

    def next_done(self) -> Request | None:
        """One of those that have left a note and are done, failed or not; it is watched no more."""
        while self.notes:
            request: Request = self.notes.popleft()
            if request in self.watched and self._is_done(request):
                self.forget(request)
                return request
        return None

    def one_done(self) -> Plan[Request]:
        """The same, waited for."""
        while (request := self.next_done()) is None:
            yield Receive(self)
        return request


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


def told(error: BaseException) -> BaseException:
    """What is thrown into a plan for an error: `GeneratorExit`, from code of the caller's, would say that the plan is
    dropped, and leave no time to clean up.
    """
    if not isinstance(error, GeneratorExit):
        return error
    said = RuntimeError("an iterator or a file raised GeneratorExit")
    said.__cause__ = error
    return said


Effect: TypeAlias = "Request | Start | Until | Unbroken | Pull | Close | Call | Begin | Receive"
Plan: TypeAlias = Generator[Any, Any, T]
