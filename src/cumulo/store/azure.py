"""`AzureStore`: a container of Azure's Blob service, or of Data Lake and OneLake by the same interface."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING, Any, cast

from cumulo._config import (
    AZURE_OPTIONS,
    azure_endpoint_of,
    resolve_azure,
    resolve_client,
    resolve_retry,
)
from cumulo._given import flag, given_as
from cumulo._keys import Keys
from cumulo._native import encode_path
from cumulo._operations import sign
from cumulo._operations.copy_polled import copy
from cumulo._providers import azure_sas
from cumulo._providers.azure import API_VERSION, AzureProvider
from cumulo._providers.azure_batch import Signer
from cumulo._providers.native_client import make_client

from ._native_store import Made
from ._provided import config_with, prefix_with
from ._signing import SigningStore
from ._urls import options_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._config import AzureConfig, AzureCredentialProvider, ClientConfig, RetryConfig
    from cumulo._drivers.effects import Plan
    from cumulo._providers.base import Provider


class AzureStore(SigningStore):
    """A container, by name, with how to reach it and as whom.

    Options come from `config`, from keywords, and from the environment (`AZURE_STORAGE_<KEY>` and `AZURE_<KEY>`), in
    that order; see `AzureConfig` for each, and for which credentials serve.

    An upload in parts is blocks, put in parallel and then committed; `mode` conditions hold for it too. A suffix range
    (`{"suffix": n}`) is a `NotSupportedError`: the service has none. Deleting an object that is not there is a
    `NotFoundError`.

    Args:
        container_name: the container's name.
        prefix: what all paths are below.
        config: options as a dict.
        client_options: connections, TLS, proxies, timeouts; see `ClientConfig`.
        retry_config: retries; see `RetryConfig`.
        credential_provider: a sync or async callable that gives credentials, see `AzureCredential`; of any of the three
            kinds, and not the same each time if it likes.
        raw_keys: take and give every key untouched: slashes at its ends too.
        **kwargs: options as keywords.

    Raises:
        UnknownConfigurationKeyError: an option that there isn't; the nearest is named.
        ValueError: an option's value that can't be.
    """

    _speaks = "azure"

    _keeps_tags = True
    _keeps_versions = True

    def __init__(
        self,
        container_name: str | None = None,
        *,
        prefix: str | None = None,
        config: AzureConfig | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: AzureCredentialProvider | None = None,
        raw_keys: bool = False,
        **kwargs: Any,
    ) -> None:
        config = config_with(credential_provider, AZURE_OPTIONS, config, {"container_name": container_name}, kwargs)
        prefix = prefix_with(credential_provider, prefix)
        self._settings = resolve_azure(container_name, config, kwargs)
        self._explicit = self._settings.explicit
        self._client_settings = resolve_client(
            {**self._settings.client_options, **given_as("client_options", client_options)}, env_prefix="AZURE_"
        )
        self._retry = resolve_retry(retry_config)
        self._retry_given = retry_config is not None
        self._provider_given = credential_provider
        self._prefix_given = prefix
        self._keys = Keys.of(prefix, raw=flag("raw_keys", raw_keys))
        self._endpoint = azure_endpoint_of(self._settings, self._client_settings)
        self._host = f"{self._endpoint.host}:{self._endpoint.port}"
        self._plain_reads = self._settings.encryption_key is None
        if credential_provider is not None and not callable(credential_provider):
            raise TypeError("credential_provider must be callable")

    @property
    def config(self) -> AzureConfig:
        """The options given in Python, secrets included; not those from the environment."""
        return cast("AzureConfig", super().config)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        prefix: str | None = None,
        config: AzureConfig | Mapping[str, Any] | None = None,
        client_options: ClientConfig | None = None,
        retry_config: RetryConfig | None = None,
        credential_provider: AzureCredentialProvider | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store from a URL of a container, whose path becomes the prefix.

        Known are `az://container/path` (also `adl`, `azure`, `abfs`, `abfss`),
        `abfss://container@account.dfs.core.windows.net/path` and
        `https://account.blob.core.windows.net/container/path`, where `dfs` (Data Lake) and `blob`,
        `core.windows.net` and `fabric.microsoft.com` (OneLake) may stand for each other.

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
        options = options_of("azure", AZURE_OPTIONS, url, prefix, config, kwargs)
        return cls(
            client_options=client_options, retry_config=retry_config, credential_provider=credential_provider,
            **options,
        )  # fmt: skip

    def _make(self) -> Made:
        from cumulo._credentials.azure import azure_source

        source = azure_source(self._settings, self._provider_given)
        client = make_client(
            self._endpoint, self._client_settings, self._retry, source, bucket=self._settings.container_name,
            auth="azure", headers=[("x-ms-version", API_VERSION.encode())],
        )  # fmt: skip
        # The service verifies and keeps a CRC-64; emulators fail at the sight of one.
        algorithm = "CRC64NVME" if self._endpoint.is_azure else None
        content_type = self._client_settings.default_content_type
        provider = AzureProvider(
            self, client, self._keys, self._settings, content_type, algorithm, lambda: self._signer(source)
        )
        return Made(client, provider, source)

    def _signer(self, source: Any) -> Signer | None:
        """Who sends what the engine does not sign; None as long as no credentials have been fetched."""
        from cumulo._credentials.azure import static_keys
        from cumulo._credentials.refresher import last_keys

        if source is None:
            return Signer("none")
        keys = static_keys(self._settings) if self._provider_given is None else None
        keys = keys or last_keys(source)
        if keys is None:
            return None
        if keys.access_key_id == "?":
            return Signer("sas", secret=keys.session_token or "")
        if keys.access_key_id == "-":
            return Signer("bearer", secret=keys.session_token or "")
        return Signer("key", keys.access_key_id, keys.secret_access_key)

    def _most_signed_s(self) -> int | None:
        # A user delegation key lasts for a week, and so does what it signs; an account's key sets no limit.
        by_key = self._settings.credential == "access_key" or self._provider_given is not None
        return None if by_key else sign.WEEK_S

    def _plan_urls(self, method: str, keys: list[str], expires_s: int) -> Plan[list[str]]:
        from cumulo._credentials.azure import static_keys

        now_s, endpoint = time(), self._endpoint
        permission = sign.permission_of(method)
        given = static_keys(self._settings) if self._provider_given is None else None
        found = yield from self._plan_signing_keys(given and given[:3])
        account, until_s = self._settings.account_name, now_s + expires_s
        grant = azure_sas.Grant(permission, azure_sas.moment(until_s), endpoint.tls)
        if found[0] == "?":
            raise self._never_signs("a shared access signature can't sign: give the account's key or a token")
        if found[0] == "-":
            sign.lifetime_s(timedelta(seconds=expires_s), sign.WEEK_S)
            about = keys[0] if len(keys) == 1 else f"{len(keys)} paths"
            request = azure_sas.delegation_key_request(self, self._use().client, about, now_s, until_s)
            yield request
            query = azure_sas.by_delegation_key(azure_sas.delegation_key_of(request), account, grant)
        else:
            query = azure_sas.by_account_key(found[1], account, grant)
        container = endpoint.base[:-1].rpartition(b"/")[2] + b"/"
        blobs = [encode_path(container, key).decode() for key in keys]
        root = endpoint.url.removesuffix(container.decode())
        return [f"{root}{blob}?{query(blob)}" for blob in blobs]

    def _copy_by_server(self, provider: Any, origin: Provider, from_: str, to: str, overwrite: bool) -> Plan[None]:
        return copy(provider, from_, to, overwrite=overwrite, origin=origin)

    def _account_identity(self) -> Any:
        settings, endpoint = self._settings, self._endpoint
        place = endpoint.scheme, endpoint.host, endpoint.port, settings.endpoint, settings.account_name
        return place, settings.who

    def __repr__(self) -> str:
        prefix = f", prefix={self._prefix_given!r}" if self._prefix_given else ""
        names = f"container_name={self._settings.container_name!r}, account_name={self._settings.account_name!r}"
        return f"AzureStore({names}{prefix})"
