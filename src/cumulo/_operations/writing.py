"""A writer: a put that is fed by pushes, over any store.

The put's plan is begun with a source that has nothing yet. Whenever it asks for content that was not written so far, it
is left where it is; the next write that brings enough goes on with it, on whatever thread or event loop that write is.
So a put decides here what it decides everywhere: one request for what is short, parts for what is long, the parts'
size, how many are under way, and what is done when one fails. A write waits while as many are.

Methods that return plans are run one at a time. A writer is its process's: a forked child can neither publish what its
parent writes nor take it back.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan
from cumulo._native import generation
from cumulo.exceptions import GenericError

from .put import check_numbers, checked
from .sources import StreamSource, check_content

if TYPE_CHECKING:
    from cumulo._types import PutResult
    from cumulo.store._base import ObjectStoreMethods

_GATHERED_BYTES = 1 << 20
"""What is written in small pieces is copied together up to so much."""


class _Wanted:
    """The effect of a source that has no more for now. No driver sees it."""


_WANTED = _Wanted()


class _Discarded(BaseException):
    """Thrown into a put that is not wanted any more."""


class PushSource(StreamSource):
    """Content that somebody pushes."""

    def __init__(self) -> None:
        super().__init__(None)
        self._pushed: deque[memoryview] = deque()
        self._pushed_bytes = 0
        self._over = False
        self._missing = 0

    @property
    def is_enough(self) -> bool:
        """Whether there is what the put waits for."""
        return self._over or self._pushed_bytes >= self._missing

    def push(self, view: memoryview) -> None:
        """More content, which does not change any more."""
        self._pushed.append(view)
        self._pushed_bytes += len(view)

    def end(self) -> None:
        """No more comes."""
        self._over = True

    def _take(self, length: int) -> Plan[Any]:
        while not self._pushed:
            if self._over:
                return END
            self._missing = length - self._have
            yield _WANTED
        view = self._pushed.popleft()
        self._pushed_bytes -= len(view)
        return view

    def give_up(self) -> Plan[None]:
        self._pushed.clear()
        yield from ()


class Writer:
    """The state of a writer."""

    def __init__(
        self,
        store: ObjectStoreMethods,
        path: str,
        *,
        attributes: Any,
        tags: Any,
        mode: Any = None,
        chunk_bytes: int,
        max_concurrency: int,
    ) -> None:
        check_numbers(chunk_bytes, max_concurrency)
        checked(attributes, tags, mode, by_version=True)
        store._check_path(path, written=True)
        self.written = 0
        """Bytes, so far."""
        self.over = False
        """Whether nothing can be written any more."""
        self.result: PutResult | None = None
        """What was published."""
        self._source = PushSource()
        self._gathered = bytearray()
        self._put: Plan[PutResult] = store._plan_put(
            path, self._source, attributes=attributes, tags=tags, mode=mode, use_multipart=None,
            chunk_size=chunk_bytes, max_concurrency=max_concurrency,
        )  # fmt: skip
        self._begun = False
        self._going = False
        """Whether a plan runs the put: one at a time, or that of a call that was cancelled and ends by itself."""
        self._failure: Exception | None = None
        self._cut_short: BaseException | None = None
        """What ended a write half-way, without the put's knowledge."""
        self._generation = generation()

    @property
    def is_inherited(self) -> bool:
        """Whether a parent process is who writes, and this is its child."""
        return self._generation != generation()

    def take(self, content: Any) -> int:
        """Take content over; how many bytes it has. `TypeError` for what is no buffer."""
        if isinstance(content, str):
            raise TypeError("a str is not content: encode it, or open the writer in an io.TextIOWrapper")
        with memoryview(content) as given:
            check_content(given)
            try:
                self._keep(content, given)
            except BaseException as error:  # Ctrl-C, half-way: what is there now is not what was written
                self._cut_short = error
                raise
            return given.nbytes

    def _keep(self, content: Any, given: memoryview) -> None:
        if type(content) is bytes and len(content) >= _GATHERED_BYTES // 16:
            self._push_gathered()
            self._source.push(memoryview(content))
        else:
            self._gathered += given if given.c_contiguous else given.tobytes()
            if len(self._gathered) >= _GATHERED_BYTES:
                self._push_gathered()
        self.written += given.nbytes

    def _push_gathered(self) -> None:
        if self._gathered:
            self._source.push(memoryview(self._gathered).toreadonly())
            self._gathered = bytearray()

    @property
    def has_work(self) -> bool:
        """Whether `advance` would do anything."""
        return self._cut_short is not None or self._source.is_enough

    def advance(self) -> Plan[None]:
        """Go on with the put as far as the content reaches. After an error there will be no object."""
        if self._cut_short is not None:
            yield from self.discard(self._cut_short)
        if self._failure is not None:
            raise self._failure
        try:
            if self.is_inherited:
                raise GenericError("this writer was opened before a fork: it is the parent process's, not the child's")
            yield from self._go_on(None)
        except BaseException as error:
            self._fail_by(error)
            raise

    def close(self) -> Plan[None]:
        """Publish."""
        if self.over and self._failure is None:
            return
        self._push_gathered()
        self._source.end()
        yield from self.advance()
        self.over = True

    def discard(self, cause: BaseException | None = None) -> Plan[None]:
        """Publish nothing: take back what was sent. With a cause, which cut a call short, `close` is an error."""
        if self.over:
            return
        self.over = True
        if cause is not None:
            self._fail_by(cause)
        if self.is_inherited or self._going:
            return
        if not self._begun:
            self._put.close()
            return
        with suppress(_Discarded):
            yield from self._go_on(_Discarded())

    def _go_on(self, error: BaseException | None) -> Plan[None]:
        """Run the put until it wants what is not there."""
        self._begun = self._going = True
        try:
            yield from self._run_put(error)
        finally:
            self._going = False

    def _run_put(self, error: BaseException | None) -> Plan[None]:
        outcome: Any = None
        while True:
            try:
                effect = self._put.throw(error) if error is not None else self._put.send(outcome)
            except StopIteration as stop:
                self.result = stop.value
                return
            if effect is _WANTED and not isinstance(error, _Discarded):
                return
            outcome, error = None, None
            try:
                outcome = yield effect
            except BaseException as raised:
                error = raised
                if not isinstance(raised, Exception):  # cancelled: what follows is the put's clean-up
                    self._fail_by(raised)

    def _fail_by(self, error: BaseException) -> None:
        self.over = True
        if isinstance(error, Exception):
            self._failure = error
        elif self._failure is None:
            self._failure = GenericError("a call of this writer was cut short, and what it had written was discarded")
