"""An upload in parts, of content or of copies: completed or aborted, never left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import News, Plan, Start, Unbroken
from cumulo._native import claim
from cumulo.exceptions import BaseError, ConnectionFailedError, RequestTimeoutError

from . import doubt

if TYPE_CHECKING:
    from cumulo._native import Claim, Request
    from cumulo._providers.base import Provider, PutPlan
    from cumulo._types import PutResult


class Upload:
    """A multipart upload under way: parts in flight, parts done."""

    id: str = ""
    """The provider's, once there is one."""

    def __init__(self, provider: Provider, path: str, plan: PutPlan, max_concurrency: int) -> None:
        self._provider = provider
        self._path = path
        self._plan = plan
        self._most = max_concurrency
        self._began = monotonic()
        self._in_flight: dict[Request, int] = {}
        self._memory: dict[Request, Claim] = {}
        self._news = News()
        self._done: dict[int, Any] = {}

    def run(self, send: Callable[[], Plan[None]]) -> Plan[PutResult]:
        """Create the upload, let `send` start its parts, and complete it; or abort it."""
        create = self._provider.create_upload(self._path, self._plan)
        try:
            yield from self._begin(create)
            return (yield from self._finish(send))
        except GeneratorExit:  # the call was dropped: nobody runs another effect
            self._stop()
            raise
        except BaseException:
            if isinstance(create, str):
                self._stop()
            elif create.finished and create.error is None:
                yield from self._abort(create)
            raise

    def _begin(self, create: Request | str) -> Plan[None]:
        if isinstance(create, str):
            self.id = create
        else:
            yield Unbroken(create)  # cut short, it might leave an upload of which we know nothing
            self.id = self._provider.upload_id(create)

    def _finish(self, send: Callable[[], Plan[None]]) -> Plan[PutResult]:
        yield from send()
        yield from self.rest()
        return (yield from self._complete([self._done[number] for number in sorted(self._done)]))

    def has(self, number: int) -> bool:
        """Whether the server has this part."""
        return number in self._done

    def room(self) -> Plan[None]:
        """Wait until another part may be sent."""
        while len(self._in_flight) >= self._most:
            yield from self._take_one()

    def reserve(self, length: int) -> Plan[Claim]:
        """Wait until the process's budget has room for a part in memory. One has it in any case."""
        while (memory := claim(length, not self._in_flight)) is None:
            yield from self._take_one()
        return memory

    def start(self, request: Request, number: int, memory: Claim | None = None) -> Plan[None]:
        """Send a part. `memory`: what was reserved for it."""
        self._in_flight[request] = number
        if memory is not None:
            self._memory[request] = memory
        self._news.watch(request)
        yield Start(request)

    def rest(self) -> Plan[None]:
        """Wait for all parts that were started."""
        while self._in_flight:
            yield from self._take_one()

    def _take_one(self) -> Plan[None]:
        request = yield from self._news.one_done()
        number = self._in_flight.pop(request)
        self._memory.pop(request, None)
        request.raise_if_failed()
        self._done[number] = self._provider.part_of(request, number)

    def _complete(self, parts: list[Any]) -> Plan[PutResult]:
        request = self._provider.complete_upload(self._path, self.id, parts, self._plan)
        try:
            yield request
        except BaseError as error:
            lost = isinstance(error, (ConnectionFailedError, RequestTimeoutError))
            if not lost and not doubt.is_in_doubt(request, error):
                raise
            # Perhaps completed, and only the answer was lost: the object says whether it is of these very parts.
            head = yield from doubt.probed(self._provider, self._path, self._began)
            if head is not None and self._provider.is_completed_as(head, parts):
                return self._provider.put_result(head)
            raise doubt.told(error) from error
        return self._provider.completed(request)

    def _stop(self) -> None:
        for request in self._in_flight:
            request.cancel()
        self._memory.clear()
        self._news.clear()

    def _abort(self, create: Request) -> Plan[None]:
        self._stop()
        with suppress(BaseError):  # what made us abort is what the caller has to know
            # A cancel of what has failed must not cut short that.
            yield Unbroken(self._provider.abort_upload(self._path, self.id or self._provider.upload_id(create)))
