"""How a provider talks to a service of credentials: what it asks is written once, as a generator, sent in three ways.

By the engine where no session is given, on a thread that may block; by the user's own session of requests or of aiohttp
otherwise. Redirects are never followed here: where credentials may go is the generator's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from cumulo._credentials.exchange import exchange
from cumulo._credentials.refresher import in_thread
from cumulo._providers.cookies import Cookies

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Ask(NamedTuple):
    """A GET. Cookies of the answers before it go along, to who has set them."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


class Reply(NamedTuple):
    """An answer of any status."""

    url: str
    status: int
    location: str | None
    body: bytes


Talk: TypeAlias = Generator[Ask, Reply, T]


def run(talk: Talk[T], session: Any = None) -> T:
    """What the talk comes to; `session` is a `requests.Session`. Blocks."""
    send = _by_engine() if session is None else _by_requests(session)
    try:
        ask = next(talk)
        while True:
            ask = talk.send(send(ask))
    except StopIteration as stop:
        return stop.value


async def run_async(talk: Talk[T], session: Any = None) -> T:
    """The same on an event loop; `session` is an `aiohttp.ClientSession`, or has its `get`."""
    if session is None:
        return await in_thread(lambda: run(talk))
    try:
        ask = next(talk)
        while True:
            ask = talk.send(await _by_aiohttp(session, ask))
    except StopIteration as stop:
        return stop.value


def _by_engine() -> Callable[[Ask], Reply]:
    from cumulo._config.http import http_target

    cookies = Cookies()

    def send(ask: Ask) -> Reply:
        target = http_target(ask.url, ask.url)
        answer = exchange("GET", ask.url, headers=[*ask.headers, *cookies.header(target)])
        cookies.keep(target, answer.headers)
        return Reply(ask.url, answer.status, answer.headers.get("location"), answer.body)

    return send


def _by_requests(session: Any) -> Callable[[Ask], Reply]:
    def send(ask: Ask) -> Reply:
        # Without an `auth` of its own, a session puts a netrc's in the place of our header.
        answer = session.get(ask.url, headers=dict(ask.headers), allow_redirects=False, auth=_as_it_is)
        return Reply(ask.url, answer.status_code, answer.headers.get("location"), answer.content)

    return send


def _as_it_is(request: T) -> T:
    return request


async def _by_aiohttp(session: Any, ask: Ask) -> Reply:
    home = getattr(session, "_loop", None)  # aiohttp would fail without a word of it
    if home is not None and home is not asyncio.get_running_loop():
        raise RuntimeError("the aiohttp session belongs to another event loop: give none, and the engine asks")
    async with session.get(ask.url, headers=dict(ask.headers), allow_redirects=False) as answer:
        return Reply(ask.url, answer.status, answer.headers.get("location"), await answer.read())
