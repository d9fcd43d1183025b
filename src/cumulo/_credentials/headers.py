"""Headers from a callable of the user's, such as a bearer token that expires: fetched and refreshed as keys are.

The engine adds the latest to each request to the store's own origin. On 401 or 403 they are asked for once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from cumulo._config.values import parse_headers
from cumulo._native import Credentials

from .keys import CredentialsError, Keys
from .refresher import Source, _shared


def header_source(provider: Callable[[], Any]) -> Credentials:
    """Where a store's clients get the headers of a sync or async callable; see `HTTPStore` for what it returns."""
    name = getattr(provider, "__qualname__", None) or type(provider).__qualname__
    make = lambda: Source(f"header provider {name}", provider, keys_of_headers)  # noqa: E731
    return _shared(("headers", id(provider)), make, keep=False)


def keys_of_headers(where: str, answer: object) -> Keys:
    """What the callable returned, checked, as the engine takes it: a line for each header."""
    expires: object = None
    if isinstance(answer, tuple):
        pair = cast("tuple[object, ...]", answer)
        if len(pair) != 2:
            raise CredentialsError(f"{where} returned a tuple that is not (headers, expires_at)")
        answer, expires = pair
    if not isinstance(answer, Mapping):
        raise CredentialsError(f"{where} returned {type(answer).__name__} instead of a dict of headers")
    if expires is not None and (not isinstance(expires, datetime) or expires.tzinfo is None):
        raise CredentialsError(f"{where} returned an expires_at that is neither None nor a datetime with a time zone")
    try:
        headers = parse_headers(cast("object", answer), where)
        lines = "\n".join(f"{name}:{value.decode()}" for name, value in headers)
    except (ValueError, TypeError) as error:
        raise CredentialsError(str(error)) from None
    return Keys("-", "-", lines, int(expires.timestamp() * 1000) if expires is not None else 0)
