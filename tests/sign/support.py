"""Plain HTTP clients for the URLs, and what stands in them."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

HOUR = timedelta(hours=1)


class Answer(NamedTuple):
    status: int
    body: bytes


def use(
    method: str, url: str, body: bytes | None = None, *, context: Any = None, host: str | None = None, **headers: str
) -> Answer:
    """What a client gets that knows nothing but the URL; keywords are headers, with underscores for hyphens.

    `host` is sent as the name of the server, which is on this machine.
    """
    if host is not None:
        url, headers = url.replace(f"//{urlsplit(url).hostname}", "//127.0.0.1", 1), {**headers, "Host": host}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    handlers = [urllib.request.ProxyHandler({})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=30) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read())
    except http.client.HTTPException as error:  # pragma: no cover - says what came
        raise AssertionError(f"{method} {url}: {error!r}") from error


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL, decoded."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def tampered(url: str) -> str:
    """The same URL for another object."""
    return url.replace("?", "-other?", 1)
