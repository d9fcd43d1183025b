"""Credential providers for `GCSStore` by google-auth, which the extra `cumulo[gcs]` brings.

Without a provider the store asks google-auth itself, as its options say; these are for credentials that the program
makes. `GCSStore.sign` signs with a provider's credentials too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cumulo._credentials.google import require
from cumulo._credentials.refresher import in_thread

if TYPE_CHECKING:
    from cumulo._config import GCSCredential

__all__ = ["GoogleAsyncCredentialProvider", "GoogleCredentialProvider"]

DEFAULT_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
"""What Google's own tools ask for; what an account may do is decided by its roles."""


class _Google:
    """What both providers are."""

    credentials: Any
    """google-auth's credentials."""
    refresh_threshold: timedelta
    """How long before their end tokens are renewed."""

    def __init__(self, credentials: Any, refresh_threshold: timedelta) -> None:
        self._by_default = credentials is None
        self.credentials = _default() if credentials is None else credentials
        self.refresh_threshold = refresh_threshold

    def _token(self) -> GCSCredential:
        expiry: datetime | None = self.credentials.expiry  # of UTC, without saying so
        expires_at = expiry.replace(tzinfo=timezone.utc) if expiry is not None else None
        return {"token": self.credentials.token, "expires_at": expires_at}

    def _given(self) -> Any:
        return None if self._by_default else self.credentials


class GoogleCredentialProvider(_Google):
    """Tokens of any of google-auth's credentials.

    Args:
        credentials: an object with `refresh`; by default what `google.auth.default()` finds.
        request: what google-auth sends its requests with; by default `google.auth.transport.requests.Request()`.
        refresh_threshold: how long before their end tokens are renewed.

    Pickles hold the credentials if they were given, but not `request`; others are looked for where the pickle is
    opened.

    Raises:
        MissingExtraError: google-auth is not installed.
    """

    request: Any
    """google-auth's transport."""

    def __init__(
        self, credentials: Any = None, *, request: Any = None, refresh_threshold: timedelta = timedelta(seconds=225)
    ) -> None:
        require()
        super().__init__(credentials, refresh_threshold)
        self.request = request if request is not None else _transport()

    def __call__(self) -> GCSCredential:
        """A fresh token; blocks. Raises what google-auth raises."""
        self.credentials.refresh(self.request)
        return self._token()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._given(), self.refresh_threshold)


class GoogleAsyncCredentialProvider(_Google):
    """The same as a coroutine function.

    Credentials whose `refresh` is a coroutine function are awaited; all others are asked on a thread.

    Args:
        credentials: as for `GoogleCredentialProvider`.
        request: as there; for credentials with a coroutine function, a transport of google-auth's of that kind, which
            has to belong to the loop that this is awaited on.
        refresh_threshold: as there.

    Raises:
        MissingExtraError: google-auth is not installed.
    """

    async_request: Any
    """The transport given, if any."""

    def __init__(
        self, credentials: Any = None, *, request: Any = None, refresh_threshold: timedelta = timedelta(seconds=225)
    ) -> None:
        require()
        super().__init__(credentials, refresh_threshold)
        self.async_request = request

    async def __call__(self) -> GCSCredential:
        """A fresh token. Raises what google-auth raises."""
        refresh: Callable[[Any], Any] = self.credentials.refresh
        if inspect.iscoroutinefunction(refresh):
            await refresh(self.async_request)
        else:
            request = self.async_request if self.async_request is not None else _transport()
            await in_thread(lambda: refresh(request))
        return self._token()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._given(), self.refresh_threshold)


def _again(kind: type[Any], credentials: Any, refresh_threshold: timedelta) -> Any:
    return kind(credentials, refresh_threshold=refresh_threshold)


def _default() -> Any:
    google_auth: Any = import_module("google.auth")  # untyped
    return google_auth.default(scopes=DEFAULT_SCOPES)[0]


def _transport() -> Any:
    transport: Any = import_module("google.auth.transport.requests")
    return transport.Request()
