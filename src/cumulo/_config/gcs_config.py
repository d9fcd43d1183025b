"""`GCSConfig`: Cloud Storage's options as users write them. The docstrings of its keys are their documentation."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Protocol, TypedDict

__all__ = ["GCSConfig", "GCSCredential", "GCSCredentialProvider"]


class GCSConfig(TypedDict, total=False):
    """Options of a `GCSStore`, for its `config` or as keyword arguments.

    At run time each key is also known with `google_` in front, and in upper case; so is each as an environment variable
    (`GOOGLE_<KEY>`). What is given in Python comes before the environment.
    """

    application_credentials: str
    """A file of credentials as Google's tools write it: a service account's key, a user's login, workload identity
    federation. Needs `cumulo[gcs]`."""

    base_url: str
    """Where requests go, if not to `https://storage.googleapis.com`: an emulator, a private endpoint."""

    bearer_token: str
    """An OAuth token that is sent as it is, and never refreshed."""

    bucket: str
    """The bucket's name. Also known as `bucket_name`."""

    service_account: str
    """The file of a service account's key, as JSON; also known as `service_account_path`. Two more of its keys are
    heeded, as `obstore` does: `gcs_base_url`, and `disable_oauth` for an emulator that wants no token. Needs
    `cumulo[gcs]` unless `disable_oauth` is set."""

    service_account_key: str
    """The same as text in place of a file."""

    skip_signature: bool
    """Send requests without a token, as for public buckets. Nothing looks for credentials then."""

    user_project: str
    """The project that pays for requests to a bucket whose owner does not (requester pays)."""


class GCSCredential(TypedDict):
    """A token, from a credential provider."""

    token: str
    """An OAuth bearer token."""
    expires_at: datetime | None
    """Until when it is good, with a time zone; None for ever."""


class GCSCredentialProvider(Protocol):
    """A sync or async callable that gives tokens. Called when there is none, or it is about to expire."""

    def __call__(self) -> GCSCredential | Coroutine[Any, Any, GCSCredential]:
        """A token that is good now."""
        ...
