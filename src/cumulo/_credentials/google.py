"""Tokens of Google's, by google-auth: service accounts, users' logins, workload identity, the metadata server.

google-auth is imported, and asked, on the thread that fetches; it reads files and variables as Google's tools do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cumulo.exceptions import MissingExtraError

from .keys import Keys, make_token
from .refresher import tokens_from

if TYPE_CHECKING:
    from cumulo._native import Credentials

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
# What google-auth's search depends on.
_ENVIRONMENT = ("GOOGLE_", "GCE_", "CLOUDSDK_", "NO_GCE_CHECK", "HOME", "APPDATA", "AWS_")


def of_account(account: Mapping[str, Any]) -> Credentials:
    """Tokens for a service account's key, or for what else Google's tools write as JSON."""
    info = {"type": "service_account", **account}
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()

    def load() -> Any:
        import google.auth

        return _auth(google.auth).load_credentials_from_dict(info, scopes=_SCOPES)[0]

    return _tokens(("google account", digest), f"the {str(info['type']).replace('_', ' ')}", load)


def of_file(path: str) -> Credentials:
    """Tokens for the credentials in a file."""

    def load() -> Any:
        import google.auth

        return _auth(google.auth).load_credentials_from_file(path, scopes=_SCOPES)[0]

    return _tokens(("google file", path), "the application credentials", load)


def by_default() -> Credentials:
    """Tokens for whom google-auth finds: a file that a variable names, the user's login, the metadata server."""

    def load() -> Any:
        import google.auth

        return _auth(google.auth).default(scopes=_SCOPES)[0]

    found = tuple(sorted((name, text) for name, text in os.environ.items() if name.startswith(_ENVIRONMENT)))
    return _tokens(("google default", found), "Google's application-default credentials", load)


def _auth(module: Any) -> Any:
    return module  # google-auth's functions are untyped


def _tokens(key: tuple[Any, ...], name: str, load: Callable[[], Any]) -> Credentials:
    _require()
    return tokens_from(key, name, _Fetch(load), _read)


def _require() -> None:
    for module in ("google", "google.auth", "requests"):
        if find_spec(module) is None:
            raise MissingExtraError(
                "Google's credentials are fetched with google-auth, which is not installed: pip install 'cumulo[gcs]'. "
                "Without it, GCSStore takes a bearer_token, a credential_provider, or skip_signature=True"
            )


class _Fetch:
    """Each call gives a fresh token. One thread at a time."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._credentials: Any = None

    def __call__(self) -> tuple[Any, Any]:
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials = self._load()
        transport: Any = Request
        self._credentials.refresh(transport())
        return self._credentials.token, self._credentials.expiry


def _read(where: str, answer: tuple[Any, datetime | None]) -> Keys:
    token, expires = answer
    return make_token(where, token, expires.replace(tzinfo=timezone.utc) if expires is not None else None)
