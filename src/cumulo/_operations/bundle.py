"""`Bundle`: many plans inside one, a bounded number at a time, their results as they end.

Pure: a bundle yields the effects of its children and knows no I/O. What wakes it names the child that has news, so an
end costs the same however many others wait. It runs only while its consumer asks for a result (`advance`), in whatever
driver that is; between two results of a slow consumer nothing is begun, and what is under way fills the memory it has.

What always holds: at most `most` children are under way; the items pulled and not yet handed out as results are at
most twice as many; the bytes that children have reserved, until their results are taken, stay within the process's
budget, but for one child: the first in order, or the only one that has any.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from cumulo._drivers.effects import END, Begin, Call, Mailbox, Plan, Pull, Receive, Start, Unbroken, Until
from cumulo._native import Request, after_fork, generation

_HELD_BACK_S = 0.001
"""How long a result may wait for more items to be pulled."""


class Reserve:
    """An effect of children: wait until the process's budget has room for so many bytes, which the result will hold."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class _Abandoned(BaseException):
    """Thrown into children whose results nobody wants any more. (`GeneratorExit` would leave them no clean-up.)"""


class Outcome(NamedTuple):
    """How a child ended. `name` is None when it is the iterator that failed, or an item that is none."""

    number: int
    name: str | None
    value: Any
    error: Exception | None
    size: int


class _Child:
    """A plan under way: what it waits for, and the bytes it has reserved."""

    __slots__ = ("_mailbox", "index", "name", "plan", "size", "waiting")

    def __init__(self, index: int, name: str, plan: Plan[Any], mailbox: Mailbox) -> None:
        self.index = index
        self.name = name
        self.plan = plan
        self.size = 0
        self.waiting: Any = None
        self._mailbox = mailbox

    def on_request(self, _: Request) -> None:
        self._mailbox.put(self)

    def on_note(self) -> None:
        self._mailbox.put(self)


class _Budget:
    """Bytes reserved by all bundles of the process. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = 0

    def take(self, size: int, limit: int, *, must: bool) -> bool:
        with self._lock:
            if not must and self._used + size > limit:
                return False
            self._used += size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._used -= size


_budget = _Budget()


def _after_fork() -> None:
    global _budget
    _budget = _Budget()  # a thread of the parent's may have held the lock


after_fork(_after_fork)


class Bundle:
    """`start` gives an item's name and plan; what it raises itself ends the bundle. `limit` is the budget in bytes."""

    def __init__(
        self,
        start: Callable[[Any], tuple[str, Plan[Any]]],
        *,
        most: int,
        limit: int,
        ordered: bool,
        stop_at_error: bool,
    ) -> None:
        self._start = start
        self._most = most
        self._limit = limit
        self._ordered = ordered
        self._stop_at_error = stop_at_error
        self._mailbox = Mailbox()
        self._generation = generation()
        self._items: Any = None
        self._direct = False
        self._pulling = False
        self._stop_pulling: Callable[[], None] | None = None
        self._exhausted = False
        self._pulled = 0
        self._taken = 0
        self._reserved = 0
        self._children: dict[_Child, None] = {}
        self._unreserved: deque[_Child] = deque()
        self._early: dict[int, Outcome] = {}
        self._ready: deque[Outcome] = deque()

    def open(self, items: Any, *, direct: bool) -> None:
        """The iterator that items come from; `direct` if to take one never blocks nor runs code of the user's."""
        self._items = items
        self._direct = direct

    def take(self) -> Outcome | None:
        """The next result, if it is there."""
        if not self._ready:
            return None
        outcome = self._ready.popleft()
        self._taken += 1
        self._give_back(outcome.size)
        return outcome

    # -- running

    def advance(self) -> Plan[None]:
        """Run until there is a result to take, or none will come. When it fails, `abandon` has to be called."""
        yield from self._come_here()
        looked = monotonic()
        while True:
            while self._mailbox.notes:
                yield from self._on_note(self._mailbox.notes.popleft())
            yield from self._let_in()
            yield from self._fill()
            late = monotonic() - looked > _HELD_BACK_S
            if self._mailbox.notes and not (late and self._ready):
                if late:  # the iterator is slow: is a result there meanwhile?
                    looked = monotonic()
                    yield Receive(self._mailbox, wait=False)
                continue
            if self._ready or not (self._children or self._pulling):
                return
            yield Receive(self._mailbox)

    def _come_here(self) -> Plan[None]:
        """News comes to the driver that runs us now; look at everything once if it is another than before."""
        mailbox = self._mailbox
        before = mailbox.queue
        yield Receive(mailbox, wait=False)
        if before is None or mailbox.queue is None or mailbox.queue is before:
            return
        for child in self._children:
            if isinstance(child.waiting, Receive):
                child.waiting.mailbox.come_to(mailbox.queue)
                mailbox.notes.append(child)
            elif (request := _request_of(child.waiting)) is not None:
                request.retarget(mailbox.queue)
                request.waiter = child.on_request  # which it has lost where a thread has ended meanwhile
                mailbox.notes.append(child)

    def _on_note(self, note: Any) -> Plan[None]:
        if isinstance(note, _Child):
            waiting = note.waiting
            outcome = _settled(waiting)
            if outcome is not None:
                if (request := _request_of(waiting)) is not None:
                    request.waiter = None  # one under way would keep what is to stop it when nobody wants it
                yield from self._step(note, *outcome)
            return
        key, value, error = note
        if key is None:
            self._pulling = False
            yield from self._on_item(value, error)
            return
        child, effect = key
        if child.waiting is effect:
            yield from self._step(child, value, error)

    # -- items

    def _fill(self) -> Plan[None]:
        """Begin as many as may be. Of an iterator that may block one item is pulled at a time."""
        while (
            not (self._exhausted or self._pulling or self._unreserved)
            and len(self._children) < self._most
            and self._pulled - self._taken < 2 * self._most
        ):
            if not self._direct:
                self._pulling = True
                try:
                    self._stop_pulling = yield Begin(self._mailbox, None, Pull(self._items))
                except Exception as error:  # it can't be pulled from here
                    self._pulling = False
                    yield from self._on_item(None, error)
                return
            try:
                item, failure = next(self._items, END), None
            except Exception as error:  # a dict that changed
                item, failure = None, error
            yield from self._on_item(item, failure)

    def _on_item(self, item: Any, error: BaseException | None) -> Plan[None]:
        if self._exhausted or item is END:
            self._exhausted = True
            return
        index = self._pulled
        self._pulled += 1
        if error is None:
            try:
                name, plan = self._start(item)
            except Exception as failure:
                error = failure
            else:
                child = _Child(index, name, plan, self._mailbox)
                self._children[child] = None
                yield from self._step(child, None, None)
                return
        if not isinstance(error, Exception):
            raise error
        self._exhausted = True
        self._add(Outcome(index, None, None, error, 0))

    def _add(self, outcome: Outcome) -> None:
        if not self._ordered:
            self._ready.append(outcome)
            return
        self._early[outcome.number] = outcome
        while (following := self._early.pop(self._next, None)) is not None:
            self._ready.append(following)

    @property
    def _next(self) -> int:
        """In order: the index of the result that all others wait for."""
        return self._taken + len(self._ready)

    # -- children

    def _step(self, child: _Child, value: Any, error: BaseException | None) -> Plan[None]:
        child.waiting = None
        while True:
            try:
                effect = child.plan.throw(error) if error is not None else child.plan.send(value)
            except StopIteration as stop:
                self._end(child, stop.value, None)
                return
            except BaseException as failure:
                if child in self._children and not isinstance(failure, Exception):
                    raise
                error = begun = None  # the failure's traceback has this frame: no cycle
                self._end(child, None, failure)
                return
            begun = yield from self._begin(child, effect)
            if begun is None:
                return
            value, error = begun

    def _begin(self, child: _Child, effect: Any) -> Plan[tuple[Any, BaseException | None] | None]:
        """Begin a child's effect: (outcome, error) when it needs no waiting."""
        if isinstance(effect, (Until, Receive)) and not isinstance(effect, Unbroken):
            return self._begin_wait(child, effect)
        try:
            if isinstance(effect, Start):
                return (yield effect), None
            child.waiting = effect
            if isinstance(effect, Request):
                effect.waiter = child.on_request
                yield Start(effect)
            elif isinstance(effect, Unbroken):
                yield Start(effect.request)
                return self._begin_wait(child, effect)
            elif isinstance(effect, Reserve):
                return self._reserve(child, effect)
            elif isinstance(effect, Call):
                yield Begin(self._mailbox, (child, effect), effect)
            else:
                raise TypeError(f"not an effect: {effect!r}")
        except Exception as error:
            child.waiting = None
            return None, error
        return None

    def _begin_wait(self, child: _Child, effect: Until | Receive) -> tuple[Any, BaseException | None] | None:
        assert self._mailbox.queue is not None
        if isinstance(effect, Receive):
            effect.mailbox.come_to(self._mailbox.queue)
            effect.mailbox.wake = child.on_note
        else:
            effect.request.retarget(self._mailbox.queue)
            effect.request.waiter = child.on_request
        outcome = _settled(effect)
        child.waiting = effect if outcome is None else None
        return outcome

    def _end(self, child: _Child, value: Any, error: BaseException | None) -> None:
        if child not in self._children:  # abandoned
            return
        assert error is None or isinstance(error, Exception)
        del self._children[child]
        if error is not None:
            self._give_back(child.size)
            child.size = 0
            self._exhausted = self._exhausted or self._stop_at_error  # what is under way may still give results
        self._add(Outcome(child.index, child.name, value, error, child.size))

    # -- the budget

    def _reserve(self, child: _Child, effect: Reserve) -> tuple[None, None] | None:
        if not self._grant(child, effect.size):
            self._unreserved.append(child)
            return None
        return None, None

    def _grant(self, child: _Child, size: int) -> bool:
        must = self._reserved == 0 or (self._ordered and child.index == self._next)
        if not must and self._unreserved and self._unreserved[0] is not child:
            return False
        if not _budget.take(size, self._limit, must=must):
            return False
        self._reserved += size
        child.size = size
        return True

    def _give_back(self, size: int) -> None:
        if size:
            self._reserved -= size
            _budget.give_back(size)

    def _let_in(self) -> Plan[None]:
        """Those who wait for the budget, as they came; in order, if that is asked for."""
        if self._ordered and len(self._unreserved) > 1:
            self._unreserved = deque(sorted(self._unreserved, key=lambda child: child.index))
        while self._unreserved:
            child = self._unreserved[0]
            if not self._grant(child, child.waiting.size):
                return
            self._unreserved.popleft()
            yield from self._step(child, None, None)

    # -- stopping

    def abandon(self) -> list[Plan[None]]:
        """Stop everything, at once. What is returned is left to do: plans that take back what had begun at a server.

        In a forked child nothing is: all of it is the parent's. This may be called there before any hook has run.
        """
        children, self._children = list(self._children), {}
        if self._generation != generation():
            self._exhausted = True
            return []
        if self._pulling and self._stop_pulling is not None:
            self._stop_pulling()
        self._pulling = False
        self._exhausted = True
        self._items = None
        self._unreserved.clear()
        self._give_back(self._reserved)
        self._ready.clear()
        self._early.clear()
        for child in children:
            if (request := _request_of(child.waiting)) is not None:
                request.waiter = None
                if not isinstance(child.waiting, Unbroken):
                    request.cancel()
        left = [_abandoned(child) for child in children]
        return [plan for plan in left if plan is not None]


def _abandoned(child: _Child) -> Plan[None] | None:
    waiting, child.waiting = child.waiting, None
    if isinstance(waiting, Unbroken):
        return _ended(child.plan, waiting)
    try:
        effect = child.plan.throw(_Abandoned())
    except BaseException:  # what made us stop is what the caller has to know
        return None
    return _resumed(child.plan, effect)


def _ended(plan: Plan[Any], waiting: Unbroken) -> Generator[Any, Any, None]:
    if waiting.request.submitted:
        with suppress(Exception):
            yield Until(waiting.request)
    with suppress(BaseException):
        yield from _resumed(plan, plan.throw(_Abandoned()))


def _resumed(plan: Plan[Any], effect: Any) -> Generator[Any, Any, None]:
    """The rest of a plan that has yielded this effect. Its result and error are nobody's."""
    with suppress(BaseException):
        while True:
            try:
                outcome = yield effect
            except BaseException as error:
                effect = plan.throw(error)
            else:
                effect = plan.send(outcome)


def _request_of(effect: Any) -> Request | None:
    if isinstance(effect, Until):
        return effect.request
    return effect if isinstance(effect, Request) else None


def _settled(effect: Any) -> tuple[Any, BaseException | None] | None:
    """(outcome, error) of a wait that is over; None for one that is not, and for what is no wait for requests."""
    if isinstance(effect, Receive):
        return (None, None) if effect.mailbox.notes else None
    if isinstance(effect, Until):
        request, over = effect.request, effect.holds()
    elif isinstance(effect, Request):
        request, over = effect, effect.finished
    else:
        return None
    if not over:
        return None
    try:
        request.raise_if_failed()
    except Exception as error:
        return None, error
    return request, None
