"""`ManyStream` and `FutureStream`: the results of `get_many` and `put_many`, for the three ways to call.

A `ManyStream` holds a `Bundle` and runs it while it is asked for a result, on the asker's thread or event loop. It is
the only reference to the bundle that a consumer has: when it goes, everything under way is stopped.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from ._drivers import run_async, run_in_background, sync
from ._given import flag
from ._native import generation, runtime_stats
from ._operations.bundle import Bundle, Outcome
from ._types import Buffer

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

    from ._drivers.effects import Plan
    from ._native import Bytes
    from ._operations.many import Got
    from ._types import ObjectMeta, PutResult

T = TypeVar("T")
Content: TypeAlias = Buffer | os.PathLike[str]
"""What `put_many` takes for an object: a contiguous buffer, or a file's path."""
OnError: TypeAlias = Literal["raise", "return"]
"""What an error does: end the stream, or become a result among the others."""

_AFTER_CTRL_C_S = 1.0
"""How long after Ctrl-C uploads that had begun are waited for; they are taken back in any case."""
_IN_MEMORY = (list, tuple, range, deque, AbstractSet, Mapping)
"""To take an item of these never blocks."""


class GetItem:
    """One result of `get_many`."""

    __slots__ = ("_bytes", "error", "index", "meta", "path", "range")

    def __init__(self, index: int, path: str, got: Got | None, error: Exception | None) -> None:
        self.index = index
        """Which item it is of, from 0."""
        self.path = path
        """The object's path, as it was given."""
        self.range: tuple[int, int] | None = got.span if got is not None else None
        """`(start, end)` of the content in the object, `end` exclusive; None after an error."""
        self.meta: ObjectMeta | None = got.meta if got is not None else None
        """The object's metadata; None for a range, and after an error."""
        self.error = error
        """What went wrong, with `errors="return"`."""
        self._bytes = got.content if got is not None else None

    @property
    def bytes(self) -> Bytes:
        """The content. Raises `error` where there is one."""
        if self._bytes is None:
            assert self.error is not None
            raise self.error
        return self._bytes

    def __repr__(self) -> str:
        told = f"error={self.error!r}" if self.error is not None else f"range={self.range}"
        return f"GetItem(index={self.index}, path={self.path!r}, {told})"


class PutItem:
    """One result of `put_many`."""

    __slots__ = ("_result", "error", "index", "path")

    def __init__(self, index: int, path: str, result: PutResult | None, error: Exception | None) -> None:
        self.index = index
        """Which item it is of, from 0."""
        self.path = path
        """The object's path, as it was given."""
        self.error = error
        """What went wrong, with `errors="return"`."""
        self._result = result

    @property
    def result(self) -> PutResult:
        """What was written. Raises `error` where there is one."""
        if self._result is None:
            assert self.error is not None
            raise self.error
        return self._result

    def __repr__(self) -> str:
        told = f"error={self.error!r}" if self.error is not None else f"result={self._result}"
        return f"PutItem(index={self.index}, path={self.path!r}, {told})"


class ManyStream(Generic[T]):
    """Results as they come, for `for` or `async for`: one of the two, by one thread or task at a time.

    Nothing is begun before the first result is asked for. Dropping the stream, leaving its `with` or `async with`
    block, `close` and `aclose` stop what is under way; so do an error that is raised, Ctrl-C, and cancelling the task
    that waits for a result.
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        start: Callable[[Any], tuple[str, Plan[Any]]],
        make: Callable[[int, str, Any, Exception | None], T],
        *,
        max_concurrency: int,
        ordered: bool,
        errors: OnError,
    ) -> None:
        limit = runtime_stats()["memory_bytes"]
        self._raise = errors == "raise"
        self._bundle = Bundle(start, most=max_concurrency, limit=limit, ordered=ordered, stop_at_error=self._raise)
        self._items: Any = items
        self._make = make
        self._style: str | None = None
        self._busy = False

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> T:
        outcome = self._bundle.take()
        if outcome is None:
            self._enter("for")
            try:
                sync.run(self._bundle.advance())
            except BaseException as error:
                self._stop(None if isinstance(error, Exception) else _AFTER_CTRL_C_S)
                raise
            finally:
                self._busy = False
            outcome = self._bundle.take()
            if outcome is None:
                raise StopIteration
        if outcome.error is not None and self._ends_with(outcome):
            self.close()
            try:
                raise outcome.error
            finally:
                del outcome  # the error's traceback has this frame: no cycle
        return self._made(outcome)

    async def __anext__(self) -> T:
        outcome = self._bundle.take()
        if outcome is None:
            self._enter("async for")
            try:
                await run_async(self._bundle.advance())
            except BaseException:
                self._abandon()
                raise
            finally:
                self._busy = False
            outcome = self._bundle.take()
            if outcome is None:
                raise StopAsyncIteration
        if outcome.error is not None and self._ends_with(outcome):
            await self.aclose()
            try:
                raise outcome.error
            finally:
                del outcome
        return self._made(outcome)

    def _enter(self, style: str) -> None:
        if self._busy:
            raise RuntimeError("this stream is being read by another thread or task")
        if self._style is None:
            items, self._items = self._items, None
            self._bundle.open(_iterator_of(items, style), direct=isinstance(items, _IN_MEMORY))
            self._style = style
        elif self._style != style:
            raise RuntimeError(f"this stream is read with {self._style!r}: it can't be read with {style!r} as well")
        self._busy = True

    def _ends_with(self, outcome: Outcome) -> bool:
        return self._raise or outcome.name is None

    def _made(self, outcome: Outcome) -> T:
        assert outcome.name is not None
        return self._make(outcome.number, outcome.name, outcome.value, outcome.error)

    def close(self) -> None:
        """Stop what is under way; returns when uploads that had begun have been taken back."""
        self._stop(None)

    async def aclose(self) -> None:
        """`close`, awaited."""
        if left := self._abandon():
            from asyncio import wait, wrap_future

            await wait([wrap_future(future) for future in left])

    def _stop(self, most_s: float | None) -> None:
        if left := self._abandon():
            from concurrent.futures import wait

            wait(left, most_s)

    def _abandon(self) -> list[Future[None]]:
        """Stop what is under way at once. Futures of what is left to take back: in the background, as loops may end."""
        return [run_in_background(plan) for plan in self._bundle.abandon()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        bundle: Bundle | None = getattr(self, "_bundle", None)
        left = bundle.abandon() if bundle is not None else []
        if not sys.is_finalizing():
            for plan in left:
                run_in_background(plan)


class FutureStream(Iterator["Future[T]"]):
    """A `concurrent.futures.Future` for each item, in their order; an item is pulled when its future is asked for.

    While `max_concurrency` of them are under way the iterator waits. The futures are their owner's: each can be
    cancelled, and dropping the iterator cancels none.
    """

    def __init__(self, items: Iterable[Any], start: Callable[[int, Any], Plan[T]], max_concurrency: int) -> None:
        self._items = _iterator_of(items, "for")
        self._start = start
        self._most = max_concurrency
        self._slots = threading.Semaphore(max_concurrency)
        self._generation = generation()
        self._index = 0

    def __next__(self) -> Future[T]:
        from ._drivers.background import acquire

        if self._generation != generation():  # in a forked child: those of before are the parent's
            self._slots, self._generation = threading.Semaphore(self._most), generation()
        slots = self._slots
        acquire(slots)
        try:
            future = run_in_background(self._start(self._index, next(self._items)))
        except BaseException:
            slots.release()
            raise
        self._index += 1
        future.add_done_callback(lambda _: slots.release())
        return future


def _iterator_of(items: Any, style: str) -> Any:
    if style == "async for" and hasattr(items, "__aiter__"):
        return items.__aiter__()
    if not hasattr(items, "__iter__") and hasattr(items, "__aiter__"):
        raise TypeError("the items are an async iterable: get or put them with 'async for'")
    return iter(items)


def check(max_concurrency: object, errors: object, items: object, ordered: object = False) -> None:
    """The arguments of `get_many` and `put_many`, before anything is pulled."""
    if not isinstance(max_concurrency, int) or isinstance(max_concurrency, bool) or max_concurrency < 1:
        raise ValueError(f"max_concurrency must be a positive integer, not {max_concurrency!r}")
    flag("ordered", ordered)
    if errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', not {errors!r}")
    if isinstance(items, (str, bytes)) or not (hasattr(items, "__iter__") or hasattr(items, "__aiter__")):
        raise TypeError(f"the items must be an iterable or an async iterable, not {type(items).__name__}")
