"""sign: what is asked for, checked before anything is fetched or sent."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias

from cumulo.exceptions import NotSupportedError

from .delete import paths_of

__all__ = ["HTTP_METHOD", "WEEK_S", "lifetime_s", "paths_of", "permission_of", "verb"]

HTTP_METHOD: TypeAlias = Literal["GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"]
"""What a URL can be signed for."""
_METHODS = frozenset(("GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"))

WEEK_S = 7 * 86400
_LAST_DATE = datetime.max.replace(tzinfo=timezone.utc)

# Azure Storage REST reference, "Create a service SAS", permissions of a blob: read; create and write; delete.
_PERMISSIONS = {"GET": "r", "HEAD": "r", "PUT": "cw", "DELETE": "d"}


def verb(method: object) -> str:
    """The method, checked: upper case, as HTTP's are."""
    if not isinstance(method, str):
        raise TypeError(f"the method must be a str, not {type(method).__name__}")
    if method not in _METHODS:
        raise ValueError(f"no HTTP method to sign for: {method[:20]!r}; there are {', '.join(sorted(_METHODS))}")
    return method


def lifetime_s(expires_in: object, most_s: int | None) -> int:
    """Whole seconds, at least one; `most_s` is the provider's limit."""
    if not isinstance(expires_in, timedelta):
        raise TypeError(f"expires_in must be a timedelta, not {type(expires_in).__name__}")
    if expires_in < timedelta(seconds=1):
        raise ValueError(f"expires_in must be a second at least, not {expires_in}")
    seconds = int(expires_in.total_seconds())
    if most_s is not None and expires_in > timedelta(seconds=most_s):
        raise ValueError(f"expires_in can't be more than {most_s // 86400} days here, and is {expires_in}")
    if expires_in > _LAST_DATE - datetime.now(timezone.utc):
        raise ValueError(f"expires_in leads beyond the year 9999: {expires_in}")
    return seconds


def permission_of(method: str) -> str:
    """What a shared access signature has to allow for a method."""
    permission = _PERMISSIONS.get(method)
    if permission is None:
        raise NotSupportedError(
            f"a shared access signature can't stand for {method}: Azure's blobs know {', '.join(_PERMISSIONS)}"
        )
    return permission
