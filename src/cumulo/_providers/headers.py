"""What HTTP's own headers say of an object, the same with every provider."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from cumulo.exceptions import GenericError

if TYPE_CHECKING:
    from cumulo._native import Request
    from cumulo._types import ObjectMeta


def object_meta(path: str, request: Request, version_header: str) -> ObjectMeta:
    """An object's metadata, from the answer to a GET or HEAD."""
    _, headers, length, found = request.response
    size = found[2] if found is not None else length
    if size is None:
        raise GenericError(f"{path!r}: the server gives no Content-Length", path=path)
    return {
        "path": path,
        "last_modified": _http_date(path, headers.get("last-modified")),
        "size": size,
        "e_tag": headers.get("etag"),
        "version": headers.get(version_header),
    }


def age_s(head: Request) -> float | None:
    """How long ago the object was written, by the server's own clock; None where it does not say."""
    headers = head.response[1]
    try:
        return (_parsed_date(headers["date"]) - _parsed_date(headers["last-modified"])).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


@lru_cache(maxsize=256)
def _parsed_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # here, since it takes long to import

    return parsedate_to_datetime(text)


def _http_date(path: str, text: str | None) -> datetime:
    try:
        return _parsed_date(text or "")
    except ValueError:
        raise GenericError(f"{path!r}: the server gives no readable Last-Modified ({text!r})", path=path) from None
