"""Credential providers for `AzureStore` by azure-identity, which the extra `cumulo[azure]` brings.

Without a provider the store makes azure-identity's credentials itself, from its options; these are for credentials that
the program makes, such as `DefaultAzureCredential`, and for SAS that are signed by a user delegation key.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from cumulo._credentials.azure import SCOPE
from cumulo.exceptions import MissingExtraError

if TYPE_CHECKING:
    from cumulo._config import AzureBearerToken, AzureSASToken

__all__ = ["AzureAsyncCredentialProvider", "AzureCredentialProvider", "UserDelegationProvider"]

DEFAULT_SCOPES = (SCOPE,)


class AzureCredentialProvider:
    """Bearer tokens of any of azure-identity's credentials.

    Args:
        credential: an object with `get_token`; by default `azure.identity.DefaultAzureCredential()`.
        scopes: what the tokens are for.
        tenant_id: the directory to ask, where it is not the credential's own.

    Pickles hold the credential if it was given, and if azure-identity lets it; the default one is made anew where the
    pickle is opened.

    Raises:
        MissingExtraError: azure-identity is not installed.
    """

    def __init__(
        self, credential: Any = None, *, scopes: Iterable[str] = DEFAULT_SCOPES, tenant_id: str | None = None
    ) -> None:
        self._by_default = credential is None
        self._credential = credential if credential is not None else _identity().DefaultAzureCredential()
        self._scopes = tuple(scopes)
        self._tenant_id = tenant_id

    def __call__(self) -> AzureBearerToken:
        """A fresh token; blocks."""
        return _bearer(self._credential.get_token(*self._scopes, tenant_id=self._tenant_id))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), None if self._by_default else self._credential, self._scopes, self._tenant_id)


class AzureAsyncCredentialProvider:
    """The same of the credentials in `azure.identity.aio`, which need `aiohttp`.

    They are used on an event loop of cumulo's own: make them for this alone. They keep connections open; the default
    one is made for each call and closed after it.

    Args:
        credential: an object with an async `get_token`; by default an `azure.identity.aio.DefaultAzureCredential()`.
        scopes: what the tokens are for.
        tenant_id: the directory to ask, where it is not the credential's own.

    Raises:
        MissingExtraError: azure-identity is not installed.
    """

    def __init__(
        self, credential: Any = None, *, scopes: Iterable[str] = DEFAULT_SCOPES, tenant_id: str | None = None
    ) -> None:
        if credential is None:
            _identity()
        self._credential = credential
        self._scopes = tuple(scopes)
        self._tenant_id = tenant_id

    async def __call__(self) -> AzureBearerToken:
        """A fresh token."""
        if self._credential is not None:
            return await self._ask(self._credential)
        from azure.identity import aio

        async with aio.DefaultAzureCredential() as credential:
            return await self._ask(credential)

    async def _ask(self, credential: Any) -> AzureBearerToken:
        return _bearer(await credential.get_token(*self._scopes, tenant_id=self._tenant_id))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._credential, self._scopes, self._tenant_id)


class UserDelegationProvider:
    """Shared access signatures of one container, signed by a user delegation key and renewed before they expire.

    Who holds one can do `permission` in this container and nothing else, as the user or application that the key stands
    for. Source of the rules: Azure Storage REST reference, "Create a user delegation SAS".

    Args:
        account_url: the blob service's URL, such as `"https://account.blob.core.windows.net"`.
        container_name: the container.
        credential: an azure-identity credential with the right to get user delegation keys; by default
            `azure.identity.DefaultAzureCredential()`.
        permission: what a signature allows, in the service's letters: by default to read, add, create, write, delete,
            list and tag.
        lifetime: how long one is good; 7 days at most.
        **client_options: for azure-storage-blob's `BlobServiceClient`.

    Raises:
        MissingExtraError: azure-storage-blob or azure-identity is not installed.
    """

    def __init__(
        self,
        account_url: str,
        container_name: str,
        credential: Any = None,
        *,
        permission: str = "racwdxlt",
        lifetime: timedelta = timedelta(hours=1),
        **client_options: Any,
    ) -> None:
        try:
            from azure.storage.blob import BlobServiceClient
        except ImportError as error:
            raise MissingExtraError("user delegation needs azure-storage-blob: pip install 'cumulo[azure]'") from error
        credential = credential if credential is not None else _identity().DefaultAzureCredential()
        self._service = BlobServiceClient(account_url, credential=credential, **client_options)
        self._container_name = container_name
        self._permission = permission
        self._lifetime = lifetime

    def __call__(self) -> AzureSASToken:
        """A fresh signature; blocks."""
        from azure.storage.blob import generate_container_sas

        now = datetime.now(timezone.utc)
        start, expiry = now - timedelta(minutes=5), now + self._lifetime  # clocks differ
        key = self._service.get_user_delegation_key(start, expiry)
        sas = generate_container_sas(
            str(self._service.account_name), self._container_name, user_delegation_key=key, start=start,
            expiry=expiry, permission=self._permission,
        )  # fmt: skip
        return {"sas_token": sas, "expires_at": expiry}


def _again(kind: type[Any], credential: Any, scopes: tuple[str, ...], tenant_id: str | None) -> Any:
    return kind(credential, scopes=scopes, tenant_id=tenant_id)


def _bearer(token: Any) -> AzureBearerToken:
    return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, timezone.utc)}


def _identity() -> Any:
    try:
        from azure import identity
    except ImportError as error:
        raise MissingExtraError("this needs azure-identity: pip install 'cumulo[azure]'") from error
    return identity
