"""Google Cloud Storage's options: their table, how they become settings, and where a store's requests go."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal, cast
from urllib.parse import quote, urlsplit

from cumulo._records import field, record

from .client import ClientSettings, client_options_among
from .endpoint import DEFAULT_PORTS, host_header, quoted_path
from .errors import ConfigurationError
from .options import Option, Table
from .s3_values import parse_bucket, parse_secret, parse_url
from .values import parse_bool, parse_text

__all__ = ["GCS_OPTIONS", "GCSEndpoint", "GCSSettings", "gcs_endpoint_of", "resolve_gcs", "service_account_of"]


def _parse_json(value: object, label: str) -> str:
    """Text that is to be read later. It holds a secret, and may have line ends."""
    if not isinstance(value, str):
        raise TypeError(f"{label} must be a str, not {type(value).__name__}")
    return value.strip()


GCS_OPTIONS = Table(
    "GCS",
    (
        Option("application_credentials", parse_text),
        Option("base_url", parse_url),
        Option("bearer_token", parse_secret),
        Option("bucket", parse_bucket, ("bucket_name",)),
        Option("service_account", parse_text, ("service_account_path",)),
        Option("service_account_key", _parse_json),
        Option("skip_signature", parse_bool),
        Option("user_project", parse_text),
    ),
    prefix="google_",
    hints={
        "access_token": "bearer_token",
        "anon": "skip_signature",
        "anonymous": "skip_signature",
        "billing_project": "user_project",
        "credentials": "application_credentials",
        "endpoint": "base_url",
        "endpoint_url": "base_url",
        "requester_pays": "user_project",
        "service_account_file": "service_account",
        "token": "bearer_token",
    },
)

_WHO = ("application_credentials", "bearer_token", "service_account", "service_account_key")


@record(frozen=True)
class GCSSettings:
    """A GCS store's options, typed and complete. `GCSConfig` says what each means.

    Attributes:
        explicit: what was given in Python, by canonical name. Enough, with an environment, to make these settings
            again; pickles hold nothing else.
        client_options: options of the HTTP client that stood among GCS's, as `obstore` allows.
    """

    bucket: str
    application_credentials: str | None = None
    base_url: str | None = None
    bearer_token: str | None = field(default=None, repr=False)
    service_account: str | None = None
    service_account_key: str | None = field(default=None, repr=False)
    skip_signature: bool = False
    user_project: str | None = None
    explicit: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)
    client_options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # The environment holds secrets; it is read again where the pickle is opened.
        return _resolve_again, ({**self.explicit, **self.client_options},)


def _resolve_again(explicit: dict[str, Any]) -> GCSSettings:
    return resolve_gcs(None, explicit)


def resolve_gcs(
    bucket: str | None = None,
    config: Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> GCSSettings:
    """Complete a GCS store's options from the environment and the defaults.

    Args:
        bucket: the bucket, if not among the options.
        config: options by the names in `GCSConfig`, with or without `google_`, in any case. None counts as not given.
        kwargs: more of them.
        env: the environment, by default the process's.

    Raises:
        UnknownConfigurationKeyError: a name that is no option of GCS's or of the HTTP client.
        ValueError: an option given twice, a value that can't be used, or no bucket.
        TypeError: a value of the wrong type.
    """
    env = os.environ if env is None else env
    mine, client_options = client_options_among(GCS_OPTIONS, [{"bucket": bucket}, config or {}, kwargs or {}])
    given = GCS_OPTIONS.gather(*mine)
    # Who asks is said in one place: variables don't come before, or beside, what was given in Python.
    settled = {*given, *_WHO} if any(given.get(name) for name in _WHO) else set(given)
    values = {**GCS_OPTIONS.from_env(env, "GOOGLE_", skip=settled), **given}
    if "bucket" not in values:
        raise ConfigurationError("no bucket: name it as the first argument, as bucket=..., or in GOOGLE_BUCKET")
    if values.get("service_account") and values.get("service_account_key"):
        raise ConfigurationError("service_account names a key's file and service_account_key is one: give one of them")
    return GCSSettings(**values, explicit=given, client_options=client_options)


# -- a service account's key


def service_account_of(settings: GCSSettings) -> dict[str, Any] | None:
    """The service account's key that the settings name or hold, read; None without one.

    Raises:
        ValueError: the file can't be read, or this is no JSON object. The message shows nothing of it.
    """
    text = settings.service_account_key
    label = "service_account_key"
    if text is None:
        if settings.service_account is None:
            return None
        label = f"service_account {settings.service_account!r}"
        try:
            with open(settings.service_account, encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigurationError(f"{label} can't be read: {reason}") from None
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{label} is not the JSON of a service account's key")
    return cast("dict[str, Any]", found)


# -- where requests go


@record(frozen=True)
class GCSEndpoint:
    """Where requests go.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: a host name, or an IP address without brackets.
        port: always set.
        host_header: as requests name the host.
        root: what stands before all paths: starts and ends with a slash.
        bucket: the bucket's name, percent-encoded.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    host_header: str
    root: bytes
    bucket: bytes

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme == "https"

    @property
    def base(self) -> bytes:
        """What stands before the key in the path of the XML API: starts and ends with a slash."""
        return self.root + self.bucket + b"/"

    @property
    def json_object(self) -> bytes:
        """What stands before the key in the path of the JSON API."""
        return self.root + b"storage/v1/b/" + self.bucket + b"/o/"

    @property
    def batch(self) -> bytes:
        """Where batches of calls of the JSON API go."""
        return self.root + b"batch/storage/v1"


def gcs_endpoint_of(settings: GCSSettings, client: ClientSettings, account: Mapping[str, Any] | None) -> GCSEndpoint:
    """Work out where a GCS store's requests go: `base_url`, what the service account says, or Google.

    Raises:
        ValueError: the endpoint has no TLS and the client's `allow_http` is not set, or it is no URL.
    """
    url = settings.base_url
    if url is None and account is not None and account.get("gcs_base_url"):
        url = parse_url(account["gcs_base_url"], "the service account's gcs_base_url")
    parts = urlsplit(url or "https://storage.googleapis.com")
    scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
    if scheme == "http" and not client.allow_http:
        raise ConfigurationError(
            f"the endpoint http://{parts.netloc} has no TLS: set allow_http to use it all the same, as in "
            "client_options={'allow_http': True}, or with GOOGLE_ALLOW_HTTP=true in the environment"
        )
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or DEFAULT_PORTS[scheme]
    root = b"/" + quoted_path(parts.path).encode()
    return GCSEndpoint(
        scheme, host, port, host_header(scheme, host, port), root, quote(settings.bucket, safe="").encode()
    )
