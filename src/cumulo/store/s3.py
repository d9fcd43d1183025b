"""`S3Store`: a bucket of Amazon S3, or of anything that speaks its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any, cast

from cumulo._config import S3_OPTIONS, endpoint_of, resolve_client, resolve_retry, resolve_s3
from cumulo._drivers.effects import Call, Plan
from cumulo._given import flag, given_as
from cumulo._keys import Keys
from cumulo._native import Client, Credentials, encode_path
from cumulo._providers.native_client import make_client
from cumulo._providers.s3 import S3Provider
from cumulo.exceptions import NotSupportedError

from ._native_store import Made
from ._provided import config_with, prefix_with
from ._region import endpoint_in_region, is_unknown
from ._signing import SigningStore
from ._urls import options_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._config import ClientConfig, RetryConfig, S3Config, S3Endpoint
    from cumulo._drivers.effects import Plan
    from cumulo._providers.base import PutPlan


class S3Store(SigningStore):
    """A bucket, by name, with how to reach it and as whom.

    Options come from `config`, from keywords, and from the environment (`AWS_<KEY>` and the AWS tools' own variables),
    in that order; see `S3Config` for each. Credentials that are given nowhere are looked for as the AWS tools do.

    Args:
        bucket: the bucket's name.
        prefix: what all paths are below.
        config: options as a dict.
        client_options: connections, TLS, proxies, timeouts; see `ClientConfig`.
        retry_config: retries; see `RetryConfig`.
        credential_provider: a sync or async callable that gives credentials.
        raw_keys: take and give every key untouched: slashes at its ends too.
        **kwargs: options as keywords.

    Raises:
        UnknownConfigurationKeyError: an option that there isn't; the nearest is named.
        ValueError: an option's value that can't be.
    """

    _keeps_tags = True
    _keeps_versions = True

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str | None = None,
        config: S3Config | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: Callable[[], Any] | None = None,
        raw_keys: bool = False,
        **kwargs: Any,
    ) -> None:
        config = config_with(credential_provider, S3_OPTIONS, config, {"bucket": bucket}, kwargs)
        prefix = prefix_with(credential_provider, prefix)
        self._settings = resolve_s3(bucket, config, kwargs)
        self._explicit = self._settings.explicit
        options = {**self._settings.client_options, **given_as("client_options", client_options)}
        self._client_settings = resolve_client(options)
        self._retry = resolve_retry(retry_config)
        self._retry_given = retry_config is not None
        self._provider_given = credential_provider
        self._prefix_given = prefix
        self._keys = Keys.of(prefix, raw=flag("raw_keys", raw_keys))
        self._endpoint = endpoint_of(self._settings, self._client_settings)
        self._host = f"{self._endpoint.host}:{self._endpoint.port}"
        # On AWS every upload carries a checksum; other servers only get one when asked to.
        self._checksum = self._settings.checksum_algorithm or ("CRC64NVME" if self._endpoint.is_aws else None)
        # Ranges that need no header of their own take the short cut below.
        self._short_cut = not self._settings.request_payer and self._settings.sse_customer_key_base64 is None
        self._region_unknown = is_unknown(self._settings, self._endpoint)
        self._plain_reads = self._short_cut and not self._region_unknown
        if credential_provider is not None and not callable(credential_provider):
            raise TypeError("credential_provider must be callable")

    @property
    def config(self) -> S3Config:
        """The options given in Python, secrets included; not those from the environment."""
        return cast("S3Config", super().config)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str | None = None,
        config: S3Config | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store from a URL of a bucket, whose path becomes the prefix.

        Known are `s3://bucket/path` (also `s3a`), `https://bucket.s3.region.amazonaws.com/path` and
        `https://s3.region.amazonaws.com/bucket/path`, both also without a region, and
        `https://account.r2.cloudflarestorage.com/bucket/path`.

        Args:
            url: the URL.
            prefix: what all paths are below, instead of the URL's path.
            config: options as a dict; they go before what the URL says.
            client_options: as for the class.
            retry_config: as for the class.
            credential_provider: as for the class.
            **kwargs: options as keywords, and `raw_keys`.

        Raises:
            ValueError: another kind of URL, an option given by the URL and as a keyword, or what the class raises.
        """
        options = options_of("s3", S3_OPTIONS, url, prefix, config, kwargs)
        return cls(
            client_options=client_options, retry_config=retry_config, credential_provider=credential_provider,
            **options,
        )  # fmt: skip

    def _unready(self) -> Plan[None] | None:
        return self._plan_region() if self._region_unknown else None

    def _plan_region(self) -> Plan[None]:
        endpoint: S3Endpoint = yield Call(endpoint_in_region, self)
        if self._region_unknown:
            self._endpoint, self._host, self._made = endpoint, f"{endpoint.host}:{endpoint.port}", None
            self._region_unknown, self._plain_reads = False, self._short_cut

    def _make(self) -> Made:
        source = self._source()
        client = self._client(source, "sigv4")
        copier = None
        if source is not None and self._endpoint.service == "s3express":
            copier = client
            source, client = self._session(client)
        content_type = self._client_settings.default_content_type
        provider = S3Provider(self, client, self._keys, self._settings, content_type, self._checksum, copier=copier)
        return Made(client, provider, source)

    def _client(self, source: Credentials | None, auth: str) -> Client:
        signed = source is not None
        return make_client(
            self._endpoint, self._client_settings, self._retry, source, bucket=self._settings.bucket, auth=auth,
            region=self._endpoint.region if signed else None, service=self._endpoint.service,
            # Over TLS the payload needs no hash to be safe; on plain HTTP it is what protects it.
            sign_payload=signed and not self._endpoint.tls and not self._settings.unsigned_payload,
        )  # fmt: skip

    def _session(self, client: Client) -> tuple[Credentials | None, Client]:
        from cumulo._credentials import source_for
        from cumulo._providers.s3_session import SessionProvider

        self._session_provider = SessionProvider(self, client)  # lives as long as its keys are used
        source = source_for(self._settings, self._session_provider)
        return source, self._client(source, "s3express")

    def _source(self) -> Credentials | None:
        if self._settings.skip_signature:
            return None
        keys = self._settings.static_keys() if self._provider_given is None else None
        if keys is not None:
            source = Credentials()
            source.publish(*keys)
            return source
        from cumulo._credentials import source_for  # only those who need it pay for its imports

        return source_for(self._settings, self._provider_given)

    def _plan_urls(self, method: str, keys: list[str], expires_s: int) -> Plan[list[str]]:
        from cumulo._providers.presign import aws_signature, signed_urls  # with OpenSSL: only for those who sign

        express = self._endpoint.service == "s3express"
        given = self._settings.static_keys() if self._provider_given is None and not express else None
        who, secret, token = (yield from self._plan_signing_keys(given))[:3]
        if self._region_unknown:
            yield from self._plan_region()
        endpoint = self._endpoint
        signature = aws_signature(who, secret, endpoint.region, endpoint.service, time())
        extra = {"x-amz-request-payer": "requester"} if self._settings.request_payer else {}
        if token is not None:
            extra["X-Amz-S3session-Token" if express else "X-Amz-Security-Token"] = token
        origin = f"{endpoint.scheme}://{endpoint.host_header}"
        paths = (encode_path(endpoint.base, key).decode() for key in keys)
        return signed_urls(signature, method, origin, paths, expires_s, extra)

    def _check_put(self, plan: PutPlan) -> None:
        if (plan.create or plan.if_match) and self._settings.conditional_put == "disabled":
            raise NotSupportedError("conditional puts are switched off by conditional_put='disabled'")

    def _account_identity(self) -> Any:
        settings, endpoint = self._settings, self._endpoint
        # AWS copies between regions, and its hosts differ by bucket. Elsewhere a host may stand for a bucket.
        domain = endpoint.host.partition(".amazonaws.")[2] if endpoint.is_aws else ""
        if domain and endpoint.service == "s3":
            return domain, settings.who
        bucket = settings.bucket if settings.virtual_hosted_style_request or endpoint.is_aws else None
        return endpoint.scheme, endpoint.host, endpoint.port, settings.endpoint, bucket, settings.who

    def _absent_header(self) -> tuple[str, str, int] | None:
        how = self._settings.copy_if_not_exists
        return None if how is None or how.header is None else (how.header, how.value or "", how.status)

    def __repr__(self) -> str:
        prefix = f", prefix={self._prefix_given!r}" if self._prefix_given else ""
        return f"S3Store(bucket={self._settings.bucket!r}{prefix})"
