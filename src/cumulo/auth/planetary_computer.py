"""Credential providers for Microsoft's Planetary Computer: shared access signatures to read a container's blobs.

The service gives one to everybody, for less than an hour; with a subscription key there are more requests a minute. Its
API: https://planetarycomputer.microsoft.com/docs/reference/sas/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit

from cumulo._credentials.keys import CredentialsError, json_object, parse_time
from cumulo.exceptions import GenericError, UnauthenticatedError

from ._talk import Ask, Talk, run, run_async

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._config import AzureConfig, AzureSASToken

__all__ = ["PlanetaryComputerAsyncCredentialProvider", "PlanetaryComputerCredentialProvider"]

_SAS_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
_BLOB_DOMAIN = ".blob.core.windows.net"
_DFS_DOMAIN = ".dfs.core.windows.net"
_SETTINGS = "~/.planetarycomputer/settings.env"


class _PlanetaryComputer:
    """What both providers are."""

    config: AzureConfig
    """For the store: account and container."""
    prefix: str | None
    """For the store: what the URL says behind the container."""

    def __init__(
        self,
        url: str | None = None,
        *,
        account_name: str | None = None,
        container_name: str | None = None,
        session: Any = None,
        subscription_key: str | None = None,
        sas_url: str | None = None,
    ) -> None:
        account, container, self.prefix = _place(url, account_name, container_name)
        self.config = {"account_name": account, "container_name": container}
        self._account, self._container = account, container
        self._session = session
        self._subscription_key = subscription_key
        self._sas_url = sas_url

    @classmethod
    def from_asset(
        cls, asset: Any, *, session: Any = None, subscription_key: str | None = None, sas_url: str | None = None
    ) -> Self:
        """The provider for an asset of a STAC item or collection.

        Args:
            asset: a `pystac.Asset` or its `__dict__`, or what a STAC document has for it. An `abfs://` link needs the
                asset's `table:storage_options` or `xarray:storage_options`, which name the account.
            session: as for the class.
            subscription_key: as for the class.
            sas_url: as for the class.

        Raises:
            ValueError: its link is to no blob, or to one whose account is not named.
        """
        href, account = _of_asset(asset)
        return cls(
            href, account_name=account if urlsplit(href).scheme in ("abfs", "abfss") else None, session=session,
            subscription_key=subscription_key, sas_url=sas_url,
        )  # fmt: skip

    def _talk(self) -> Talk[AzureSASToken]:
        root = self._sas_url or _setting("PC_SDK_SAS_URL") or _SAS_URL
        key = self._subscription_key or _setting("PC_SDK_SUBSCRIPTION_KEY")
        url = f"{root.rstrip('/')}/{quote(self._account, safe='')}/{quote(self._container, safe='')}"
        reply = yield Ask(url, (("Ocp-Apim-Subscription-Key", key),) if key else ())
        if reply.status in (401, 403):
            raise UnauthenticatedError(f"{url}: HTTP {reply.status}: is the subscription key right?")
        if reply.status != 200:
            raise GenericError(f"{url}: HTTP {reply.status}: are account and container the Planetary Computer's?")
        try:
            found = json_object(url, reply.body)
            if not isinstance(found.get("token"), str) or "msft:expiry" not in found:
                raise CredentialsError(f"{url}: the answer has no token, or no msft:expiry")
            expires_at = parse_time(url, found["msft:expiry"])
        except CredentialsError as error:
            raise GenericError(str(error)) from error
        return {"sas_token": cast("str", found["token"]), "expires_at": expires_at}


class PlanetaryComputerCredentialProvider(_PlanetaryComputer):
    """Shared access signatures of one of the Planetary Computer's containers.

    `AzureStore(credential_provider=...)` needs no more than this: account, container and prefix are the provider's.

    Args:
        url: `https://account.blob.core.windows.net/container/path`, or `abfs://container/path` with `account_name`, or
            `abfs://container@account.dfs.core.windows.net/path`. The path becomes the store's prefix.
        account_name: the account, where the URL does not name it.
        container_name: the container, without a URL.
        session: a `requests.Session` to ask with. Default: the engine; nothing has to be installed for it.
        subscription_key: a key of the Planetary Computer's. Default: `PC_SDK_SUBSCRIPTION_KEY`, in the environment or
            in the file `~/.planetarycomputer/settings.env`.
        sas_url: where signatures are given. Default: `PC_SDK_SAS_URL`, from the same places, else the public service.

    Pickles hold what was given; the environment is looked at where the pickle is opened.

    Raises:
        ValueError: a URL of another kind, or account and container are given twice or not at all.
    """

    def __call__(self) -> AzureSASToken:
        """A fresh signature; blocks.

        Raises:
            UnauthenticatedError: the subscription key is not accepted.
            GenericError: the service knows no such container, or answers otherwise than it should.
        """
        return run(self._talk(), self._session)


class PlanetaryComputerAsyncCredentialProvider(_PlanetaryComputer):
    """The same as a coroutine function.

    Args:
        url: as for `PlanetaryComputerCredentialProvider`.
        account_name: as there.
        container_name: as there.
        session: an `aiohttp.ClientSession` to ask with, which has to belong to the event loop that this is awaited on.
            Stores await it on a loop of cumulo's own; so give them none. Pickles leave it out.
        subscription_key: as there.
        sas_url: as there.

    Raises:
        ValueError: as there.
    """

    async def __call__(self) -> AzureSASToken:
        """A fresh signature. Raises what `PlanetaryComputerCredentialProvider` raises."""
        return await run_async(self._talk(), self._session)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}


# -- which container


def _place(url: str | None, account: str | None, container: str | None) -> tuple[str, str, str | None]:
    """Account, container and prefix."""
    if url is None:
        if not account or not container:
            raise ValueError("give a URL, or both account_name and container_name")
        return account, container, None
    if container is not None:
        raise ValueError("container_name goes without a URL: that one names the container")
    parts = urlsplit(url)
    if parts.scheme in ("abfs", "abfss"):
        container, owner = _abfs(url, parts.netloc)
        if owner and account and owner != account:
            raise ValueError(f"account_name is {account!r}, and the URL names {owner!r}")
        account = owner or account
        if not account:
            raise ValueError("account_name is needed: abfs://container/path does not name the account")
        return account, container, unquote(parts.path.strip("/")) or None
    return _blob(url, account)


def _blob(url: str, account: str | None) -> tuple[str, str, str | None]:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "https" or not host.endswith(_BLOB_DOMAIN):
        raise ValueError(f"{url!r} is no blob's URL, as https://account{_BLOB_DOMAIN}/container/path is")
    if account is not None:
        raise ValueError("account_name goes without an https URL: that one names the account")
    container, _, path = parts.path.strip("/").partition("/")
    if not container:
        raise ValueError(f"{url!r} names no container")
    return host.removesuffix(_BLOB_DOMAIN), unquote(container), unquote(path) or None


def _abfs(url: str, netloc: str) -> tuple[str, str | None]:
    """Container, and account if the URL names it."""
    container, at, host = netloc.partition("@")
    if not container:
        raise ValueError(f"{url!r} names no container")
    for domain in (_DFS_DOMAIN, _BLOB_DOMAIN):
        if host.lower().endswith(domain):
            return container, host.lower().removesuffix(domain)
    if at:
        raise ValueError(f"{url!r}: the account is not one of Azure's, as account{_DFS_DOMAIN} is")
    return container, None


def _of_asset(asset: Any) -> tuple[str, str | None]:
    """Link and account of a STAC asset."""
    if isinstance(asset, Mapping):
        document = cast("Mapping[str, Any]", asset)
        # Beside the link in a STAC document, under this name in the `__dict__` of a `pystac.Asset`.
        fields: Mapping[str, Any] = document.get("extra_fields") or document
        href: object = document.get("href")
    else:
        fields, href = cast("Mapping[str, Any]", asset.extra_fields), asset.href
    if not isinstance(href, str):
        raise ValueError("the asset has no link (href)")  # noqa: TRY004 - the document is wrong, not its type
    for name in ("table:storage_options", "xarray:storage_options", "xarray:open_kwargs"):
        options: Any = fields.get(name) or {}
        if name == "xarray:open_kwargs":
            options = options.get("storage_options") or {}
        if options.get("account_name"):
            return href, str(options["account_name"])
    return href, None


# -- settings


def _setting(name: str) -> str | None:
    """A variable of the environment, or of the file that the planetarycomputer package keeps its settings in."""
    if name in os.environ:
        return os.environ[name] or None
    try:
        lines = Path(_SETTINGS).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return None
    for line in lines:
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and key.strip() == name:
            return value.strip().strip("'\"") or None
    return None
