"""The cookies of one store (RFC 6265): taken from responses, given back to the hosts they are of. Any thread.

The rules of who gets which cookie are the standard library's. Cookies know no ports; here each port has its own, so
that another server on the same host gets none.
"""

from __future__ import annotations

from email.message import Message
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Lock
from typing import TYPE_CHECKING, Any, cast
from urllib.request import Request as Asked

if TYPE_CHECKING:
    from cumulo._config.http import HTTPTarget


class Cookies:
    """A jar; in memory only, gone with its store."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._jars: dict[int, CookieJar] = {}

    def _jar(self, port: int) -> CookieJar:
        with self._lock:
            if port not in self._jars:
                self._jars[port] = CookieJar(DefaultCookiePolicy(strict_domain=True))
            return self._jars[port]

    def keep(self, target: HTTPTarget, headers: dict[str, str]) -> None:
        """Take what a response sets."""
        if "set-cookie" in headers:
            answer = Message()
            for line in headers["set-cookie"].split("\n"):
                answer["Set-Cookie"] = line
            self._jar(target.port).extract_cookies(cast("Any", _Answer(answer)), Asked(target.url))  # noqa: S310

    def header(self, target: HTTPTarget) -> list[tuple[str, str]]:
        """What a request there sends."""
        asked = Asked(target.url)  # noqa: S310 - it is asked for its headers, not opened
        self._jar(target.port).add_cookie_header(asked)
        value = asked.get_header("Cookie")
        return [("Cookie", value)] if value else []


class _Answer:
    def __init__(self, headers: Message) -> None:
        self._headers = headers

    def info(self) -> Message:
        return self._headers
