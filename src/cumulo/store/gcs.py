"""`GCSStore`: a bucket of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time
from typing import TYPE_CHECKING, Any, cast

from cumulo._config import (
    GCS_OPTIONS,
    gcs_endpoint_of,
    resolve_client,
    resolve_gcs,
    resolve_retry,
    service_account_of,
)
from cumulo._drivers.effects import Call, Plan
from cumulo._given import flag, given_as
from cumulo._keys import Keys
from cumulo._native import Credentials, encode_path
from cumulo._operations.get import token_value
from cumulo._providers.gcs import GCSProvider, client_headers
from cumulo._providers.native_client import make_client
from cumulo._providers.presign import google_signature, signed_urls
from cumulo.exceptions import NotSupportedError, PreconditionError

from ._local_conditions import failed
from ._native_store import Made
from ._provided import config_with, prefix_with
from ._signing import SigningStore
from ._urls import options_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._config import ClientConfig, GCSConfig, RetryConfig
    from cumulo._credentials.google_signing import GoogleSigner
    from cumulo._providers.base import PutPlan
    from cumulo._types import PutResult, PutSource


class GCSStore(SigningStore):
    """A bucket, by name, with how to reach it and as whom.

    Options come from `config`, from keywords, and from the environment (`GOOGLE_<KEY>`), in that order; see `GCSConfig`
    for each. Credentials that are given nowhere are looked for as Google's tools do (application-default credentials,
    which needs `cumulo[gcs]`).

    An object's generation is its version: `get(..., options={"version": ...})` reads it, and
    `put(..., mode={"version": ...})` replaces it only.

    Args:
        bucket: the bucket's name.
        prefix: what all paths are below.
        config: options as a dict.
        client_options: connections, TLS, proxies, timeouts; see `ClientConfig`.
        retry_config: retries; see `RetryConfig`.
        credential_provider: a sync or async callable that gives a dict of `token` and `expires_at` (a datetime with a
            time zone, or None).
        raw_keys: take and give every key untouched: slashes at its ends too.
        **kwargs: options as keywords.

    Raises:
        UnknownConfigurationKeyError: an option that there isn't; the nearest is named.
        ValueError: an option's value that can't be.
    """

    _plain_reads = True
    _updates_by_version = True
    _speaks = "gcs"

    _keeps_versions = True

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str | None = None,
        config: GCSConfig | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: Callable[[], Any] | None = None,
        raw_keys: bool = False,
        **kwargs: Any,
    ) -> None:
        config = config_with(credential_provider, GCS_OPTIONS, config, {"bucket": bucket}, kwargs)
        prefix = prefix_with(credential_provider, prefix)
        self._settings = resolve_gcs(bucket, config, kwargs)
        self._explicit = self._settings.explicit
        options = {**self._settings.client_options, **given_as("client_options", client_options)}
        self._client_settings = resolve_client(options, env_prefix="GOOGLE_")
        self._retry = resolve_retry(retry_config)
        self._retry_given = retry_config is not None
        self._provider_given = credential_provider
        self._prefix_given = prefix
        self._keys = Keys.of(prefix, raw=flag("raw_keys", raw_keys))
        self._account = service_account_of(self._settings)
        self._endpoint = gcs_endpoint_of(self._settings, self._client_settings, self._account)
        self._host = f"{self._endpoint.host}:{self._endpoint.port}"
        self._google_signer: GoogleSigner | None = None
        if credential_provider is not None and not callable(credential_provider):
            raise TypeError("credential_provider must be callable")

    @property
    def config(self) -> GCSConfig:
        """The options given in Python, secrets included; not those from the environment."""
        return cast("GCSConfig", super().config)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str | None = None,
        config: GCSConfig | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store from a URL of a bucket, whose path becomes the prefix.

        Known are `gs://bucket/path` only.

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
        options = options_of("gcs", GCS_OPTIONS, url, prefix, config, kwargs)
        return cls(
            client_options=client_options, retry_config=retry_config, credential_provider=credential_provider,
            **options,
        )  # fmt: skip

    def _make(self) -> Made:
        source = self._source()
        client = make_client(
            self._endpoint, self._client_settings, self._retry, source, bucket=self._settings.bucket, auth="bearer",
            headers=client_headers(self._settings.user_project),
        )  # fmt: skip
        provider = GCSProvider(self, client, self._keys, self._endpoint, self._client_settings.default_content_type)
        return Made(client, provider, source)

    def _source(self) -> Credentials | None:
        """Who asks: what is given before what is found, as in obstore."""
        settings, account = self._settings, self._account
        if settings.skip_signature or (account is not None and account.get("disable_oauth")):
            return None
        if self._provider_given is None and settings.bearer_token is not None:
            source = Credentials()
            source.publish_token(settings.bearer_token)
            return source
        from cumulo._credentials import google, tokens_of_provider  # only those who need it pay for its imports

        if self._provider_given is not None:
            return tokens_of_provider(self._provider_given)
        if account is not None:
            return google.of_account(account)
        if settings.application_credentials is not None:
            return google.of_file(settings.application_credentials)
        return google.by_default()

    # -- signed URLs

    def _plan_urls(self, method: str, keys: list[str], expires_s: int) -> Plan[list[str]]:
        from cumulo._credentials import google_signing
        from cumulo._credentials.keys import CredentialsError

        endpoint = self._endpoint
        extra = {"userProject": self._settings.user_project} if self._settings.user_project else {}
        origin = f"{endpoint.scheme}://{endpoint.host_header}"
        paths = [encode_path(endpoint.base, key).decode() for key in keys]

        def make(signer: GoogleSigner) -> list[str]:
            signature = google_signature(signer.email, signer.sign, time())
            return signed_urls(signature, method, origin, paths, expires_s, extra)

        try:
            signer = yield from self._plan_signer()
            return (yield Call(google_signing.signatures, signer, make))
        except google_signing.CannotSignError as error:
            raise self._never_signs(str(error)) from error
        except CredentialsError as error:
            raise self._cannot_sign(str(error)) from error

    def _plan_signer(self) -> Plan[GoogleSigner]:
        """Who signs, kept while it is the same each time."""
        from cumulo._credentials import google_signing as signing

        settings, provider = self._settings, self._provider_given
        if settings.skip_signature or provider is not None or settings.bearer_token is not None:
            return (yield from self._plan_signer_of_token())
        signer = self._google_signer
        if signer is not None:
            return signer
        if self._account is not None:
            signer = yield Call(signing.signer_of_account, self._account)
        elif settings.application_credentials is not None:
            signer = yield Call(signing.signer_of_file, settings.application_credentials)
        else:
            signer = yield Call(signing.default_signer)
        self._google_signer = signer
        return signer

    def _plan_signer_of_token(self) -> Plan[GoogleSigner]:
        from cumulo._credentials import google_signing as signing

        provider = self._provider_given
        credentials = getattr(provider, "credentials", None)
        if credentials is not None and not self._settings.skip_signature:
            return (yield Call(signing.signer_of_credentials, credentials))
        given = self._settings.bearer_token if provider is None else None
        keys = yield from self._plan_signing_keys(None if given is None else ("-", "-", given))
        email = getattr(provider, "service_account_email", None)
        if not email:
            raise self._never_signs(
                "a token alone doesn't say whose it is: give service_account, application_credentials, or a "
                "credential_provider with the attribute service_account_email"
            )
        return (yield Call(signing.signer_of_token, keys[2], email))

    # -- what differs from other stores

    def _check_put(self, plan: PutPlan) -> None:
        if plan.tags:
            raise NotSupportedError("Cloud Storage's objects have no tags; attributes of any name serve as well")

    def _account_identity(self) -> Any:
        settings, endpoint = self._settings, self._endpoint
        return (
            endpoint.scheme, endpoint.host, endpoint.port, endpoint.root, settings.bearer_token, self._account,
            settings.application_credentials, settings.skip_signature,
        )  # fmt: skip

    def _absent_header(self) -> tuple[str, str, int] | None:
        return "ifGenerationMatch", "0", 412

    def _plan_put(self, path: str, file: PutSource, *, mode: Any, **options: Any) -> Plan[PutResult]:
        """Cloud Storage writes on condition of a generation only: an ETag is that of one generation."""
        if isinstance(mode, Mapping):
            given = cast("Mapping[str, Any]", mode)
            if given.get("version") is None and given.get("e_tag") is not None:
                return self._plan_update(path, file, given["e_tag"], options)
        return super()._plan_put(path, file, mode=mode, **options)

    def _plan_update(self, path: str, file: PutSource, etag: object, options: dict[str, Any]) -> Plan[PutResult]:
        mode = {"version": (yield from self._version_of(path, etag))}
        return (yield from super()._plan_put(path, file, mode=mode, **options))

    def _version_of(self, path: str, etag: object) -> Plan[str]:
        wanted = token_value("e_tag", etag)
        meta = yield from self._plan_head(path)
        if meta["e_tag"] != wanted or meta["version"] is None:
            found = f"the object's ETag is {meta['e_tag']}, not {wanted}"
            raise failed(PreconditionError, self, "put", path, found)
        return meta["version"]

    def __repr__(self) -> str:
        prefix = f", prefix={self._prefix_given!r}" if self._prefix_given else ""
        return f"GCSStore(bucket={self._settings.bucket!r}{prefix})"
