"""S3's options: their table, and how a store's settings come from Python, the environment and the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from cumulo._records import field, record

from .client import client_options_among
from .errors import ConfigurationError
from .options import Option, Table
from .s3_values import (
    CopyIfNotExists,
    check_customer_key,
    parse_bucket,
    parse_copy_if_not_exists,
    parse_region,
    parse_request_payer,
    parse_secret,
    parse_url,
)
from .values import choice, parse_bool, parse_text

__all__ = ["S3_OPTIONS", "S3Settings", "resolve_s3"]

S3_OPTIONS = Table(
    "S3",
    (
        Option("access_key_id", parse_secret),
        Option("bucket", parse_bucket, ("bucket_name",)),
        Option("bulk_client", choice("auto", "crt", "engine")),
        Option("checksum_algorithm", choice("SHA256", "CRC64NVME", "CRC32C")),
        Option("conditional_put", choice("etag", "disabled")),
        Option("config_file", parse_text),
        Option("container_authorization_token", parse_secret),
        Option("container_authorization_token_file", parse_text),
        Option("container_credentials_full_uri", parse_text),
        Option("container_credentials_relative_uri", parse_text),
        Option("copy_if_not_exists", parse_copy_if_not_exists),
        Option("default_region", parse_region),
        Option("disable_bulk_delete", parse_bool),
        Option("disable_tagging", parse_bool),
        Option("ec2_metadata_disabled", parse_bool),
        Option("endpoint", parse_url, ("endpoint_url",)),
        Option("endpoint_url_s3", parse_url),
        Option("ignore_configured_endpoint_urls", parse_bool),
        Option("imdsv1_fallback", parse_bool),
        Option("metadata_endpoint", parse_url, env=("AWS_EC2_METADATA_SERVICE_ENDPOINT",)),
        Option("profile", parse_text, env=("AWS_DEFAULT_PROFILE",)),
        Option("region", parse_region),
        Option("request_payer", parse_request_payer, ("requester_pays",)),
        Option("role_arn", parse_text),
        Option("role_session_name", parse_text),
        Option("s3_express", parse_bool),
        Option("secret_access_key", parse_secret),
        Option("server_side_encryption", choice("AES256", "aws:kms", "aws:kms:dsse", "sse-c")),
        Option("session_token", parse_secret, ("token",)),
        Option("shared_credentials_file", parse_text),
        Option("skip_signature", parse_bool),
        Option("sse_bucket_key_enabled", parse_bool),
        Option("sse_customer_key_base64", parse_secret),
        Option("sse_kms_key_id", parse_text),
        Option("sts_endpoint", parse_url, ("endpoint_url_sts",)),
        Option("unsigned_payload", parse_bool),
        Option("use_dualstack_endpoint", parse_bool),
        Option("use_fips_endpoint", parse_bool),
        Option("virtual_hosted_style_request", parse_bool),
        Option("web_identity_token_file", parse_text),
    ),
    prefix="aws_",
    hints={
        "access_key": "access_key_id",
        "anon": "skip_signature",
        "anonymous": "skip_signature",
        "key": "access_key_id",
        "no_sign_request": "skip_signature",
        "profile_name": "profile",
        "region_name": "region",
        "secret": "secret_access_key",
        "secret_key": "secret_access_key",
        "sse": "server_side_encryption",
        "addressing_style": "virtual_hosted_style_request",
        "virtual_hosting": "virtual_hosted_style_request",
    },
)

_KEYS = ("access_key_id", "secret_access_key", "session_token")
_WHO = (
    "skip_signature", *_KEYS, "profile", "config_file", "shared_credentials_file", "role_arn", "role_session_name",
    "web_identity_token_file", "sts_endpoint", "container_authorization_token", "container_authorization_token_file",
    "container_credentials_full_uri", "container_credentials_relative_uri", "ec2_metadata_disabled",
    "metadata_endpoint",
)  # fmt: skip
_KMS = ("aws:kms", "aws:kms:dsse")


@record(frozen=True)
class S3Settings:
    """An S3 store's options, typed and complete. `S3Config` says what each means.

    Attributes:
        bucket: its name.
        region: None if none was given; the endpoint's is then us-east-1.
        endpoint: None for AWS's own.
        copy_if_not_exists: None if it was not said; it is then `"multipart"`.
        s3_express: None if the bucket's name and the endpoint are to decide.
        explicit: what was given in Python, by canonical name, in the types that `S3Config` has. Enough, with an
            environment, to make these settings again; pickles hold nothing else.
        client_options: options of the HTTP client that stood among S3's, as `obstore` allows.
    """

    bucket: str
    region: str | None = None
    endpoint: str | None = None
    virtual_hosted_style_request: bool = False
    s3_express: bool | None = None
    use_dualstack_endpoint: bool = False
    use_fips_endpoint: bool = False
    skip_signature: bool = False
    unsigned_payload: bool = False
    request_payer: bool = False
    bulk_client: Literal["auto", "crt", "engine"] = "auto"
    checksum_algorithm: Literal["SHA256", "CRC64NVME", "CRC32C"] | None = None
    conditional_put: Literal["etag", "disabled"] = "etag"
    copy_if_not_exists: CopyIfNotExists | None = None
    disable_bulk_delete: bool = False
    disable_tagging: bool = False
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse", "sse-c"] | None = None
    sse_bucket_key_enabled: bool | None = None
    sse_kms_key_id: str | None = None
    sse_customer_key_base64: str | None = field(default=None, repr=False)
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    profile: str | None = None
    config_file: str | None = None
    shared_credentials_file: str | None = None
    role_arn: str | None = None
    role_session_name: str | None = None
    web_identity_token_file: str | None = None
    sts_endpoint: str | None = None
    container_authorization_token: str | None = field(default=None, repr=False)
    container_authorization_token_file: str | None = None
    container_credentials_full_uri: str | None = field(default=None, repr=False)
    container_credentials_relative_uri: str | None = None
    ec2_metadata_disabled: bool = False
    imdsv1_fallback: bool = False
    metadata_endpoint: str | None = None
    ignore_configured_endpoint_urls: bool = False
    explicit: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)
    client_options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # The environment holds secrets; it is read again where the pickle is opened.
        return _resolve_again, ({**self.explicit, **self.client_options},)

    @property
    def who(self) -> tuple[Any, ...]:
        """All that decides as whom requests are signed."""
        return tuple(getattr(self, name) for name in _WHO)

    def static_keys(self) -> tuple[str, str, str | None] | None:
        """Access key, secret and session token, if these settings hold them; None leaves it to other sources.

        Raises:
            ValueError: there is a key without its secret, or a secret without its key.
        """
        if self.access_key_id is None and self.secret_access_key is None:
            return None
        if not self.access_key_id or not self.secret_access_key:
            missing = "secret_access_key" if self.access_key_id else "access_key_id"
            raise ConfigurationError(f"{missing} is missing: keys need both access_key_id and secret_access_key")
        return self.access_key_id, self.secret_access_key, self.session_token or None


def _resolve_again(explicit: dict[str, Any]) -> S3Settings:
    return resolve_s3(None, explicit)


def resolve_s3(
    bucket: str | None = None,
    config: Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> S3Settings:
    """Complete an S3 store's options from the environment and the defaults.

    Args:
        bucket: the bucket, if not among the options.
        config: options by the names in `S3Config`, with or without `aws_`, in any case. None counts as not given.
        kwargs: more of them.
        env: the environment, by default the process's.

    Raises:
        UnknownConfigurationKeyError: a name that is no option of S3's or of the HTTP client.
        ValueError: an option given twice, a value that can't be used, or no bucket.
        TypeError: a value of the wrong type.
    """
    env = os.environ if env is None else env
    sources = [{"bucket": bucket}, config or {}, kwargs or {}]
    mine, client_options = client_options_among(S3_OPTIONS, sources)
    given = S3_OPTIONS.gather(*mine)
    found = S3_OPTIONS.from_env(_heeded(env, given), "AWS_", skip=_settled(given))
    values = _settle_sse(given, found)
    _settle_place(values)
    if "bucket" not in values:
        raise ConfigurationError("no bucket: name it as the first argument, as bucket=..., or in AWS_BUCKET")
    settings = S3Settings(**values, explicit=_explicit(given), client_options=client_options)
    _check_keys(settings, given)
    return settings


def _check_keys(settings: S3Settings, given: Mapping[str, Any]) -> None:
    if not (given.get("session_token") or "access_key_id" in given or "secret_access_key" in given):
        return
    if settings.static_keys() is None:
        raise ConfigurationError("session_token goes with access_key_id and secret_access_key, which are not given")


def _heeded(env: Mapping[str, str], given: Mapping[str, Any]) -> Mapping[str, str]:
    """The environment, without the AWS tools' endpoints if they are to be ignored."""
    name = "ignore_configured_endpoint_urls"
    variable = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
    ignore = given.get(name)
    if ignore is None and env.get(variable):
        ignore = parse_bool(env[variable], f"the environment variable {variable}")
    if not ignore:
        return env
    return {key: value for key, value in env.items() if not key.startswith("AWS_ENDPOINT_URL")}


def _settled(given: Mapping[str, Any]) -> set[str]:
    """Options that the environment has no say in, as they or what they go with were given in Python.

    Keys, secrets and tokens from two places would not fit each other, and a profile or a region asked for must not
    be overridden by a variable that goes before it among variables.
    """
    settled = set(given)
    if any(name in given for name in (*_KEYS, "profile", "web_identity_token_file")):
        settled.update(_KEYS)
    if "region" in given or "default_region" in given:
        settled.update({"region", "default_region"})
    if "endpoint" in given or "endpoint_url_s3" in given:
        settled.update({"endpoint", "endpoint_url_s3"})
    return settled


def _settle_sse(given: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """All values; of encryption keys only the one that the kind of encryption uses."""
    values = {**found, **given}
    kind = values.get("server_side_encryption")
    for name, kinds in (("sse_kms_key_id", _KMS), ("sse_customer_key_base64", ("sse-c",))):
        if name in values and kind not in kinds:
            if name in given:
                needed = " or ".join(repr(kind) for kind in kinds)
                raise ConfigurationError(f"{name} goes with server_side_encryption={needed}, which is not set")
            del values[name]
    if kind == "sse-c":
        check_customer_key(values.get("sse_customer_key_base64"))
    return values


def _settle_place(values: dict[str, Any]) -> None:
    """One region and one endpoint out of the two of each that may be set: the more specific."""
    default_region = values.pop("default_region", None)
    values.setdefault("region", default_region)
    endpoint = values.pop("endpoint_url_s3", None)
    values["endpoint"] = endpoint or values.get("endpoint")


def _explicit(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, typed; but as text where the parsed value is not something that `S3Config` takes."""
    return {name: str(value) if isinstance(value, CopyIfNotExists) else value for name, value in given.items()}
