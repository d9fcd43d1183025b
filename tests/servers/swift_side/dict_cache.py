"""A WSGI filter for Swift's proxy: its memcached client's interface over a dict in the process.

Swift's tempauth insists on a cache, and a client without a server behind it costs a failed
connection a request. Loaded by the proxy itself (`paste.filter_factory`), so it stands alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

FOREVER = float("inf")
RELATIVE_LIMIT_S = 30 * 24 * 3600


class DictCache:
    """What of `swift.common.memcached.MemcacheRing` the proxy calls."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, Any]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        until, value = self._values.get(key, (0.0, None))
        return value if until > time.time() else None

    def set(self, key: str, value: Any, serialize: bool = True, time: float = 0, **_: Any) -> None:
        self._values[key] = (_deadline(time), value)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = max(0, int(self.get(key) or 0) + int(delta))
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -int(delta), time)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._values.pop(key, None)

    def set_multi(self, mapping: Mapping[str, Any], server_key: str, serialize: bool = True, time: float = 0) -> None:
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys: Iterable[str], server_key: str) -> list[Any]:
        return [self.get(key) for key in keys]


def _deadline(seconds: float) -> float:
    """As memcached reads it: 0 is for ever, more than a month is a date."""
    if not seconds:
        return FOREVER
    return seconds if seconds > RELATIVE_LIMIT_S else time.time() + seconds


def filter_factory(_configuration: Mapping[str, str], **_options: str) -> Callable[[Any], Any]:
    """Paste's entry point."""
    cache = DictCache()

    def wrap(app: Callable[..., Any]) -> Callable[..., Any]:
        def with_cache(environ: dict[str, Any], start_response: Any) -> Any:
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return with_cache

    return wrap
