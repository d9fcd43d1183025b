"""Tokens of Google's, by google-auth: service accounts, users' logins, workload identity, the metadata server.

google-auth is imported, and asked, on the thread that fetches; it reads files and variables as Google's tools do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cumulo.exceptions import MissingExtraError

from .keys import CredentialsError, Keys, make_token
from .refresher import tokens_from

if TYPE_CHECKING:
    from cumulo._native import Credentials

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_CLASSES = {
    "service_account": ("google.oauth2.service_account", "Credentials", "from_service_account_info"),
    "authorized_user": ("google.oauth2.credentials", "Credentials", "from_authorized_user_info"),
    "external_account_authorized_user": ("google.auth.external_account_authorized_user", "Credentials", "from_info"),
    "impersonated_service_account": (
        "google.auth.impersonated_credentials", "Credentials", "from_impersonated_service_account_info",
    ),
}  # fmt: skip
"""Where google-auth has what, by a document's type: module, class and method."""
# What google-auth's search depends on.
_ENVIRONMENT = ("GOOGLE_", "GCE_", "CLOUDSDK_", "NO_GCE_CHECK", "HOME", "APPDATA", "AWS_")


def of_account(account: Mapping[str, Any]) -> Credentials:
    """Tokens for a service account's key, or for what else Google's tools write as JSON."""
    info = {"type": "service_account", **account}
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()
    name = "the " + str(info["type"]).replace("_", " ")
    return _tokens(("google account", digest), name, partial(_of_info, info))


def of_file(path: str) -> Credentials:
    """Tokens for the credentials in a file."""

    def load() -> Any:
        try:
            return _of_info(json.loads(Path(path).read_bytes()))
        except OSError as error:
            raise CredentialsError(f"the credentials in {path!r} can't be read: {error.strerror}") from None
        except ValueError:
            raise CredentialsError(f"{path!r} holds no credentials that google-auth understands") from None

    return _tokens(("google file", path), "the application credentials", load)


def by_default() -> Credentials:
    """Tokens for whom google-auth finds: a file that a variable names, the user's login, the metadata server."""

    def load() -> Any:
        google_auth: Any = import_module("google.auth")  # untyped
        return google_auth.default(scopes=_SCOPES)[0]

    found = tuple(sorted((name, text) for name, text in os.environ.items() if name.startswith(_ENVIRONMENT)))
    return _tokens(("google default", found), "Google's application-default credentials", load)


def _of_info(info: dict[str, Any], scopes: tuple[str, ...] = _SCOPES) -> Any:
    """google-auth's object for a document, by the class for its type: its loader for all types is deprecated."""
    module, kind, make = _CLASSES.get(info.get("type", ""), (None, None, None))
    if info.get("type") == "external_account":
        module, kind, make = f"google.auth.{_external(info)}", "Credentials", "from_info"
    if module is None or kind is None or make is None:
        raise CredentialsError(f"credentials of type {info.get('type')!r} are not known")
    return getattr(getattr(import_module(module), kind), make)(info, scopes=scopes)


def _external(info: Mapping[str, Any]) -> str:
    """Whose identity a workload shows: AWS's, a program's answer, or what is in a file or behind a URL."""
    if info.get("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request":
        return "aws"
    return "pluggable" if "executable" in info.get("credential_source", {}) else "identity_pool"


def _tokens(key: tuple[Any, ...], name: str, load: Callable[[], Any]) -> Credentials:
    require()
    return tokens_from(key, name, _Fetch(load), _read)


def require() -> None:
    try:
        there = find_spec("google.auth") is not None and find_spec("requests") is not None
    except ModuleNotFoundError:  # not even the package it is in
        there = False
    if not there:
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
