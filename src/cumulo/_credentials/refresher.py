"""Keeps keys fresh: one thread a process, which the engine asks for keys and which alone publishes them.

The thread ("cumulo-credentials") starts with the first store that needs it, once more in a forked child, and is stopped
at exit. It runs an event loop of its own, on which async providers are awaited; whatever blocks (files, exchanges,
processes, sync providers) gets a daemon thread for as long as it takes. So a source that hangs holds up nobody else,
and a pool's threads are never joined at exit. An async provider that blocks its loop holds up the other sources.

Rules:
- A source is asked by one call at a time, however many requests wait for it; stores of equal options share a source.
- New keys are asked for by the first request within the last tenth of their lifetime, five minutes at most; a
  provider's `refresh_threshold` (a timedelta) replaces that, up to half of the lifetime. Requests use the old keys
  meanwhile. When it fails and the old ones are still valid, they go on serving; the engine asks again in a second.
- Who needs keys past the engine, as signed URLs do, gets them by `fresh_keys`: the same ones, by the same flight.
- A source that has not answered within `ANSWER_TIMEOUT_S` has failed: waiting requests fail with that message. An async
  call is cancelled then; a thread can't be, so what it answers later is kept for the next request.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import inspect
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

from cumulo._native import Credentials, Queue, after_fork, take_wanted

from . import chain, profiles
from .keys import CredentialsError, Keys, keys_of_provider, text_of_ms, token_of_provider

logger = logging.getLogger("cumulo.credentials")

ANSWER_TIMEOUT_S = 60.0
EARLY_S: Final = 300.0
EARLY_SHARE: Final = 0.1
KEPT_SOURCES: Final = 32
_STOP_TIMEOUT_S: Final = 1.0
_MESSAGE_BYTES: Final = 500
_REST_MS: Final = 1000
"""How long a source that failed is left in peace, as the engine does."""


class Source:
    """Where keys come from, and what is under way there. After its making, the refresher's thread only."""

    def __init__(
        self,
        name: str,
        call: Callable[[], Any],
        read: Callable[[str, Any], Keys],
        threshold: timedelta | None = None,
    ) -> None:
        self.name = name
        self.call = call
        self.read = read
        self.threshold_s = None if threshold is None else threshold.total_seconds()
        self.wanted = False
        self.flight: asyncio.Task[Keys] | None = None
        self.landed: asyncio.Task[Keys] | None = None
        """An answer that came when nobody waited for it any more."""
        self.alarm: asyncio.TimerHandle | None = None
        self.awaiting = False
        """The flight awaits the user's coroutine, which can be cancelled."""
        self.last: Keys | None = None
        self.fresh_until_ms = 0
        """From when on the last keys, or the last failure, are not good enough any more; 0 for never."""
        self.failure: CredentialsError | None = None
        """Why the last call gave no keys; what it raised is the cause."""
        self.asking: list[Future[None]] = []
        """Who waits for the end of what is under way."""

    def checked(self, keys: Keys) -> Keys:
        """The keys, unless they have expired already."""
        if 0 < keys.expires_ms <= time.time() * 1000:
            expired = text_of_ms(keys.expires_ms)
            raise CredentialsError(f"{self.name} gave keys that expired at {expired}; is the clock right?")
        return keys

    def refresh_ms(self, expires_ms: int) -> int:
        """From when on a request asks for new keys."""
        if expires_ms == 0:
            return 0
        lifetime_ms = expires_ms - time.time() * 1000
        early_ms = min(EARLY_S * 1000, lifetime_ms * EARLY_SHARE)
        if self.threshold_s is not None:
            early_ms = min(self.threshold_s * 1000, lifetime_ms / 2)
        return int(expires_ms - early_ms)

    def tell(self) -> None:
        """Go on with who waits."""
        waiting, self.asking = self.asking, []
        for told in waiting:
            told.set_result(None)

    def explain(self, error: BaseException) -> str:
        """What went wrong, without secrets, in a length that the engine keeps."""
        if isinstance(error, asyncio.CancelledError):
            text = f"{self.name}: cancelled"
        elif isinstance(error, CredentialsError):
            text = str(error)
        else:
            text = f"{self.name} raised {type(error).__name__}: {error}".rstrip(": ")
        text = self.last.redact(text) if self.last is not None else text
        if isinstance(error, RuntimeError) and "loop" in text:
            text = (
                f"{text[:250]} (providers run on cumulo's own event loop: make sessions and locks inside the provider)"
            )
        return text.replace("\0", " ").encode("utf-8", "replace")[:_MESSAGE_BYTES].decode("utf-8", "ignore")


class Refresher:
    """The thread and its loop. All private methods run on it."""

    def __init__(self) -> None:
        self.queue = Queue(True)
        # Not the policy's loop: this thread is ours, and behaves the same whatever the program chose for its own.
        self._loop = asyncio.SelectorEventLoop()
        self._loop.add_reader(self.queue.fileno(), self._on_wanted)
        self._thread = threading.Thread(target=self._run, name="cumulo-credentials", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, at most a second from now; what blocks elsewhere is left behind."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=_STOP_TIMEOUT_S / 2))
        for task in tasks:
            task._log_destroy_pending = False  # pyright: ignore[reportAttributeAccessIssue] - the process ends
        self._loop.close()

    def _on_wanted(self) -> None:
        for credentials in take_wanted(self.queue):
            self._refresh(credentials)

    def _refresh(self, credentials: Credentials) -> None:
        source = cast(Source, credentials.owner)
        source.wanted = True
        landed, source.landed = source.landed, None
        if landed is not None and _is_good(landed):
            self._answer(credentials, landed)
            return
        if source.flight is None:
            source.flight = self._loop.create_task(self._fetch(source))
            source.flight.add_done_callback(partial(self._on_landed, credentials))
        source.alarm = self._loop.call_later(ANSWER_TIMEOUT_S, self._give_up, credentials)

    def _on_landed(self, credentials: Credentials, flight: asyncio.Task[Keys]) -> None:
        source = cast(Source, credentials.owner)
        source.flight = None
        if source.wanted:
            self._answer(credentials, flight)
        elif not flight.cancelled() and flight.exception() is None:
            source.landed = flight

    def _give_up(self, credentials: Credentials) -> None:
        source = cast(Source, credentials.owner)
        source.wanted = False
        source.alarm = None
        failure = CredentialsError(f"{source.name} has not answered within {ANSWER_TIMEOUT_S:g} s")
        self._fail(credentials, failure)
        if source.flight is not None and source.awaiting:
            source.flight.cancel()

    def _answer(self, credentials: Credentials, flight: asyncio.Task[Keys]) -> None:
        source = cast(Source, credentials.owner)
        source.wanted = False
        if source.alarm is not None:
            source.alarm.cancel()
            source.alarm = None
        try:
            keys = source.checked(flight.result())
        except BaseException as error:
            failure = CredentialsError(source.explain(error))
            failure.__cause__ = error
            logger.debug("no keys: %s", failure)
            self._fail(credentials, failure)
            return
        source.last, source.failure = keys, None
        logger.debug("keys from %s, valid until: %s", source.name, text_of_ms(keys.expires_ms))
        source.fresh_until_ms = source.refresh_ms(keys.expires_ms)
        credentials.publish(*keys[:3], expires_ms=keys.expires_ms, refresh_ms=source.fresh_until_ms)
        source.tell()

    def _fail(self, credentials: Credentials, failure: CredentialsError) -> None:
        source = cast(Source, credentials.owner)
        source.failure = failure
        source.fresh_until_ms = int(time.time() * 1000) + _REST_MS
        credentials.publish_failure(str(failure))
        source.tell()

    def ask(self, credentials: Credentials) -> None:
        """Fresh keys for who does not go through the engine; returns when they are there, or there are none."""
        told: Future[None] = Future()
        self._loop.call_soon_threadsafe(self._join, credentials, told)
        with contextlib.suppress(FutureTimeoutError):
            told.result(ANSWER_TIMEOUT_S + 1)

    def _join(self, credentials: Credentials, told: Future[None]) -> None:
        source = cast(Source, credentials.owner)
        source.asking.append(told)
        if not source.wanted:
            self._refresh(credentials)

    async def _fetch(self, source: Source) -> Keys:
        try:
            return await self._ask(source)
        except (KeyboardInterrupt, SystemExit) as error:  # a task that raised them would end the loop
            raise CredentialsError(f"{source.name} raised {type(error).__name__}: {error}") from None

    async def _ask(self, source: Source) -> Keys:
        call = source.call
        if _is_async(call):
            answer = call()
        else:
            answer = await in_thread(call)
        if inspect.isawaitable(answer):
            source.awaiting = True
            try:
                answer = await answer
            finally:
                source.awaiting = False
        return source.read(source.name, answer)


def _is_async(call: Callable[[], Any]) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004


def _is_good(flight: asyncio.Task[Keys]) -> bool:
    expires_ms = flight.result().expires_ms
    return expires_ms == 0 or expires_ms > time.time() * 1000


async def in_thread(call: Callable[[], Any]) -> Any:
    """The result of what may block; cancelling abandons it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(outcome: tuple[Any, BaseException | None]) -> None:
        if not future.done():
            future.set_result(outcome)

    def run() -> None:
        try:
            outcome = call(), None
        except BaseException as error:
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="cumulo-credentials-fetch", daemon=True).start()
    value, error = await future
    if error is not None:
        raise error
    return value


# -- what a process has


class _State:
    """The process's refresher and sources; a forked child has a new one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.refresher: Refresher | None = None
        self.sources: weakref.WeakValueDictionary[Hashable, Credentials] = weakref.WeakValueDictionary()
        # Stores that are made and dropped again and again must not fetch keys each time.
        self.recent: OrderedDict[Hashable, Credentials] = OrderedDict()


_state = _State()
_inherited: list[Any] = []


def source_for(settings: object, credential_provider: Callable[[], Any] | None = None) -> Credentials | None:
    """Where a store with these options gets its keys; None for a store that signs nothing.

    Fetches nothing: the first request does. Ask again for each native client that is made: in a forked child the
    parent's `Credentials` can't be used.

    Args:
        settings: options as attributes, named as obstore's for S3 (`access_key_id`, `profile`, `role_arn`, ...);
            missing ones are None.
        credential_provider: a sync or async callable that returns obstore's `S3Credential` dict. It comes before all
            keys in options and environment.

    Raises:
        ValueError: half of a pair of keys, or keys that can't be any.
    """
    if getattr(settings, "skip_signature", False):
        return None
    if credential_provider is not None:
        return _shared(("provider", id(credential_provider)), lambda: _provider_source(credential_provider), keep=False)
    try:
        keys = chain.static_keys(settings)
    except CredentialsError as error:
        raise ValueError(str(error)) from None
    if keys is not None:
        credentials = Credentials()
        credentials.publish(*keys[:3])
        return credentials
    options = chain.options_of(settings)
    return _shared(options, lambda: Source("the credential chain", partial(chain.fetch, options), as_they_are))


def tokens_from(
    key: Hashable, name: str, call: Callable[[], Any], read: Callable[[str, Any], Keys], *, keep: bool = True
) -> Credentials:
    """Tokens that `call` fetches, on a thread that may block, and `read` checks; `name` stands in messages.

    Equal keys share a source; `keep` keeps it for a while when no store uses it.
    """
    return _shared(key, lambda: Source(name, call, read), keep=keep)


def tokens_of_provider(
    provider: Callable[[], Any], read: Callable[[str, Any], Keys] = token_of_provider, about: Hashable = None
) -> Credentials:
    """Tokens that a user's sync or async callable gives, and `read` checks.

    Stores of one provider share what it gave, if they are also alike in `about`.
    """
    key = ("tokens of provider", id(provider), about)
    return _shared(key, lambda: _provider_source(provider, read), keep=False)


def fresh_keys(credentials: Credentials) -> Keys:
    """Keys that are good now, fetched if they have to be: for what the engine does not sign. Blocks.

    Raises:
        CredentialsError: there are none.
    """
    source, refresher = cast(Source, credentials.owner), _state.refresher
    keys = last_keys(credentials)
    due = 0 < source.fresh_until_ms <= time.time() * 1000
    if refresher is not None and (due or (keys is None and source.failure is None)):
        refresher.ask(credentials)
        keys = last_keys(credentials)
    if keys is None:
        failure = source.failure
        raise CredentialsError(str(failure or f"{source.name} gave none")) from (failure and failure.__cause__)
    return keys


def last_keys(credentials: Credentials) -> Keys | None:
    """The keys last published to these, if they are still good; for what the engine does not sign itself."""
    source = credentials.owner
    keys = source.last if isinstance(source, Source) else None
    return keys if keys is None or keys.expires_ms == 0 or keys.expires_ms > time.time() * 1000 else None


def _provider_source(provider: Callable[[], Any], read: Callable[[str, Any], Keys] = keys_of_provider) -> Source:
    if not callable(provider):
        raise TypeError(f"credential_provider must be callable, not {type(provider).__name__}")
    threshold = getattr(provider, "refresh_threshold", None)
    if threshold is not None and not isinstance(threshold, timedelta):
        raise TypeError("credential_provider.refresh_threshold must be a timedelta")
    name = getattr(provider, "__qualname__", None) or type(provider).__qualname__
    return Source(f"credential provider {name}", provider, read, threshold)


def as_they_are(_: str, keys: Keys) -> Keys:
    """For a call that gives keys which are checked."""
    return keys


def _shared(key: Hashable, make: Callable[[], Source], *, keep: bool = True) -> Credentials:
    with _state.lock:
        credentials = _state.sources.get(key)
        if credentials is None:
            source = make()
            if _state.refresher is None:
                _state.refresher = Refresher()
            credentials = Credentials(_state.refresher.queue)
            credentials.owner = source
            _state.sources[key] = credentials
        if keep:
            _state.recent[key] = credentials
            _state.recent.move_to_end(key)
            if len(_state.recent) > KEPT_SOURCES:
                _state.recent.popitem(last=False)
        return credentials


def _after_fork() -> None:
    # Kept, untouched: closing the parent's loop here would take descriptors out of the parent's epoll.
    _inherited.append(vars(_state).copy())
    vars(_state).update(vars(_State()))


def _at_exit() -> None:
    refresher = _state.refresher
    if refresher is not None:
        profiles.kill_processes()
        refresher.stop()


after_fork(_after_fork)
atexit.register(_at_exit)
