"""Where an Azure store's requests go."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlsplit

from cumulo._records import record

from .azure import AzureSettings
from .client import ClientSettings
from .endpoint import DEFAULT_PORTS, host_header, quoted_path
from .errors import ConfigurationError
from .s3_values import parse_url

__all__ = ["AzureEndpoint", "azure_endpoint_of"]

_EMULATOR_URL = "http://127.0.0.1:10000"
# The service's own hosts: Data Lake's (dfs) and the blob service are two faces of one account.
_HOST = re.compile(r"([0-9a-z-]+)\.(?:dfs|blob)\.(core\.windows\.net|fabric\.microsoft\.com)")


@record(frozen=True)
class AzureEndpoint:
    """Where requests go.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: a host name, or an IP address without brackets.
        port: always set.
        host_header: as requests name the host: with brackets, and with the port unless it is the scheme's own.
        base: what stands before the key in a request's path: the container's; starts and ends with a slash.
        is_azure: whether this is the service itself, and not an emulator or a private server.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    host_header: str
    base: bytes
    is_azure: bool

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme == "https"

    @property
    def url(self) -> str:
        """The container's URL, ending in a slash."""
        return f"{self.scheme}://{self.host_header}{self.base.decode()}"


def azure_endpoint_of(
    settings: AzureSettings, client: ClientSettings | None = None, env: Mapping[str, str] | None = None
) -> AzureEndpoint:
    """Work out where an Azure store's requests go.

    Raises:
        ValueError: the endpoint has no TLS, and neither the client's `allow_http` nor `use_emulator` is set; or a
            customer's encryption key would go over such a connection.
    """
    client = client or ClientSettings()
    parts = urlsplit(_account_url(settings, os.environ if env is None else env))
    host = (parts.hostname or "").rstrip(".")
    scheme: Literal["http", "https"] = "http" if parts.scheme == "http" else "https"
    if scheme == "http" and not (client.allow_http or settings.use_emulator):
        raise ConfigurationError(
            f"the endpoint http://{parts.netloc} has no TLS: set allow_http to use it all the same, as in "
            "client_options={'allow_http': True}, or with AZURE_ALLOW_HTTP=true in the environment"
        )
    if scheme == "http" and settings.encryption_key is not None:
        raise ConfigurationError(f"encryption_key goes over TLS only, and the endpoint is http://{parts.netloc}")
    port = parts.port or DEFAULT_PORTS[scheme]
    base = f"/{quoted_path(parts.path)}{quote(settings.container_name, safe='')}/".encode()
    is_azure = _HOST.fullmatch(host.lower()) is not None
    return AzureEndpoint(scheme, host, port, host_header(scheme, host, port), base, is_azure)


def _account_url(settings: AzureSettings, env: Mapping[str, str]) -> str:
    if settings.use_emulator:
        url = settings.endpoint or env.get("AZURITE_BLOB_STORAGE_URL") or _EMULATOR_URL
        url = parse_url(url, "the emulator's URL").rstrip("/")
        account = "/" + settings.account_name
        return url if url.endswith(account) else url + account
    if settings.endpoint:
        return settings.endpoint
    domain = "blob.fabric.microsoft.com" if settings.use_fabric_endpoint else "blob.core.windows.net"
    return f"https://{settings.account_name}.{domain}"
