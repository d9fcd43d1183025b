"""Who signs Cloud Storage's URLs: a service account, by its key, or by IAM's signBlob where there is only a token.

google-auth has both; it is imported and asked on a thread that may block.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .google import _of_info, require
from .keys import CredentialsError

# signBlob wants more than the storage scope that requests are sent with.
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class CannotSignError(CredentialsError):
    """These credentials are no service account's."""


class GoogleSigner(NamedTuple):
    """A service account, by its email, and what signs for it. `sign` blocks."""

    email: str
    sign: Callable[[bytes], bytes]


def signer_of_account(info: Mapping[str, Any]) -> GoogleSigner:
    """From what Google's tools write as JSON."""
    return _asked(lambda: _of_info({"type": "service_account", **info}, _SCOPES))


def signer_of_file(path: str) -> GoogleSigner:
    """From a file of it."""

    def load() -> Any:
        try:
            return _of_info(json.loads(Path(path).read_bytes()), _SCOPES)
        except (OSError, ValueError) as error:
            raise CredentialsError(f"the credentials in {path!r} can't be read") from error

    return _asked(load)


def default_signer() -> GoogleSigner:
    """From Google's application-default credentials."""

    def load() -> Any:
        google_auth: Any = import_module("google.auth")  # untyped
        return google_auth.default(scopes=_SCOPES)[0]

    return _asked(load)


def signer_of_credentials(credentials: Any) -> GoogleSigner:
    """From any of google-auth's credentials."""
    return _asked(lambda: credentials)


def signer_of_token(token: str, email: str) -> GoogleSigner:
    """From a token, and whose it is."""

    def load() -> Any:
        kind: Any = import_module("google.oauth2.credentials").Credentials
        return kind(token=token)

    return _asked(load, email)


def signatures(signer: GoogleSigner, make: Callable[[GoogleSigner], list[str]]) -> list[str]:
    """What `make` makes with the signer; what google-auth raises becomes `CredentialsError`."""
    try:
        return make(signer)
    except Exception as error:
        raise _told(error) from error


def _asked(load: Callable[[], Any], email: str | None = None) -> GoogleSigner:
    require()
    try:
        return _signer(load(), email)
    except CredentialsError:
        raise
    except Exception as error:
        raise _told(error) from error


def _signer(credentials: Any, email: str | None) -> GoogleSigner:
    google_auth: Any = import_module("google.auth.credentials")
    if isinstance(credentials, google_auth.Signing):
        return GoogleSigner(credentials.signer_email, credentials.sign_bytes)
    transport: Any = import_module("google.auth.transport.requests").Request()
    if email is None and getattr(credentials, "service_account_email", None) == "default":
        credentials.refresh(transport)  # the metadata server knows whose it is
    email = email or getattr(credentials, "service_account_email", None)
    if not email:
        raise CannotSignError(
            "only a service account can sign, by its key or in its name: this is a user's login or a bare token"
        )
    iam: Any = import_module("google.auth.iam")
    return GoogleSigner(email, iam.Signer(transport, credentials, email).sign)


def _told(error: Exception) -> CredentialsError:
    text = " ".join(str(error).split())
    return CredentialsError(f"google-auth: {text[:400]}")
