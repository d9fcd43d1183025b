"""Azure's credentials: an account's key, a shared access signature, or tokens that are fetched and kept fresh.

Tokens for applications, workloads, managed identities and the CLI's login are azure-identity's business. Two exchanges
are one GET each, and made here: a managed identity at an endpoint that the options name, which azure-identity has no
argument for, and Microsoft Fabric's token service, which it does not know.

`Keys` hold one of: (account, key), ("?", "-", SAS) or ("-", "-", bearer token), as the engine's "azure" clients take
them.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from cumulo._config.azure_values import parse_account_key, parse_sas, sas_of_pairs
from cumulo._native import Credentials
from cumulo.exceptions import MissingExtraError

from .exchange import Limits, exchange
from .keys import CredentialsError, Keys, json_object
from .refresher import as_they_are, tokens_from, tokens_of_provider

if TYPE_CHECKING:
    from cumulo._config import AzureSettings

RESOURCE = "https://storage.azure.com"
SCOPE = f"{RESOURCE}/.default"
_BY_IDENTITY = frozenset({"workload_identity", "client_secret", "azure_cli", "managed_identity"})
_METADATA_LIMITS = Limits(connect_s=2, total_s=10, retries=3)


def azure_source(settings: AzureSettings, provider: Callable[[], Any] | None) -> Credentials | None:
    """Where a store with these options gets its credentials; None for one that sends none.

    Raises:
        MissingExtraError: they take azure-identity, which is not installed.
    """
    if settings.skip_signature:
        return None
    if provider is not None:
        account = settings.account_name
        return tokens_of_provider(
            provider, lambda where, answer: keys_of_provider(where, answer, account), ("azure", account)
        )
    keys = static_keys(settings)
    if keys is not None:
        credentials = Credentials()
        credentials.publish(*keys[:3])
        return credentials
    name, fetch = _fetcher(settings)
    return tokens_from(("azure", settings), name, fetch, as_they_are)


def _fetcher(settings: AzureSettings) -> tuple[str, Callable[[], Keys]]:
    """Where tokens come from, for messages, and what fetches them."""
    kind = settings.credential
    if kind == "fabric":
        return "Microsoft Fabric's token service", lambda: _fabric(settings)
    if kind == "managed_identity" and settings.msi_endpoint is not None:
        return "the managed identity", lambda: _managed_identity(settings)
    if find_spec("azure") is None or find_spec("azure.identity") is None:
        raise MissingExtraError(
            f"{kind.replace('_', ' ')} credentials need azure-identity: pip install 'cumulo[azure]'. Without it there "
            "are account_key, sas_key, token and skip_signature=True"
        )
    return f"azure-identity ({kind.replace('_', ' ')})", _Identity(settings)


def static_keys(settings: AzureSettings) -> Keys | None:
    """Credentials that need no fetching: given in the store's options or in the environment."""
    if settings.credential == "access_key" and settings.account_key is not None:
        return Keys(settings.account_name, settings.account_key)
    if settings.credential == "sas_token" and settings.sas_key is not None:
        return Keys("?", "-", settings.sas_key)
    if settings.credential == "bearer_token" and settings.token is not None:
        return Keys("-", "-", settings.token)
    return None


def keys_of_provider(where: str, answer: object, account: str) -> Keys:
    """What a user's provider returned: a dict of one of obstore's `AzureCredential` shapes."""
    if not isinstance(answer, Mapping):
        raise CredentialsError(f"{where} returned {type(answer).__name__} instead of a dict")
    answer = cast("Mapping[str, Any]", answer)
    expires = answer.get("expires_at")
    if expires is not None and not isinstance(expires, datetime):
        raise CredentialsError(f"{where} returned an expires_at that is neither a datetime nor None")
    if expires is not None and expires.tzinfo is None:
        raise CredentialsError(f"{where} returned an expires_at without a time zone")
    expires_ms = int(expires.timestamp() * 1000) if expires is not None else 0
    try:
        if "access_key" in answer:
            return Keys(account, parse_account_key(answer["access_key"], "access_key"), None, expires_ms)
        if "sas_token" in answer:
            sas = answer["sas_token"]
            text = sas if isinstance(sas, str) else sas_of_pairs(sas)
            return Keys("?", "-", parse_sas(text, "sas_token"), expires_ms)
    except (TypeError, ValueError) as error:
        raise CredentialsError(f"{where}: {error}") from None
    if "token" not in answer:
        raise CredentialsError(f"{where} returned a dict without 'token', 'sas_token' or 'access_key'")
    return _bearer(where, answer["token"], expires_ms)


def _bearer(where: str, token: object, expires_ms: int) -> Keys:
    if not isinstance(token, str) or not token or not token.isprintable() or " " in token:
        raise CredentialsError(f"{where}: what it gave is no bearer token")
    return Keys("-", "-", token, expires_ms)


class _Identity:
    """An azure-identity credential, made when its first token is wanted and used for all others. Blocks."""

    def __init__(self, settings: AzureSettings) -> None:
        self._settings = settings
        self._credential: Any = None

    def __call__(self) -> Keys:
        if self._credential is None:
            self._credential = _identity(self._settings)
        try:
            token = self._credential.get_token(SCOPE)
        except Exception as error:
            text = " ".join(str(error).split())
            raise CredentialsError(f"azure-identity: {text[:400]}") from error
        return _bearer("azure-identity", token.token, int(token.expires_on) * 1000)


def _identity(settings: AzureSettings) -> Any:
    from azure import identity

    authority = {"authority": settings.authority_host} if settings.authority_host else {}
    if settings.credential == "client_secret":
        return identity.ClientSecretCredential(
            settings.tenant_id or "", settings.client_id or "", settings.client_secret or "", **authority
        )
    if settings.credential == "workload_identity":
        return identity.WorkloadIdentityCredential(
            tenant_id=settings.tenant_id, client_id=settings.client_id, token_file_path=settings.federated_token_file,
            **authority,
        )  # fmt: skip
    if settings.credential == "azure_cli":
        return identity.AzureCliCredential(tenant_id=settings.tenant_id or "")
    return identity.ManagedIdentityCredential(**_which_identity(settings, "resource_id"))


def _which_identity(settings: AzureSettings, resource_id: str) -> dict[str, Any]:
    """Of the identities of a machine the one that the options name, by one name."""
    if settings.msi_resource_id:
        named = {resource_id: settings.msi_resource_id}
    elif settings.object_id:
        named = {"object_id": settings.object_id}
    else:
        return {"client_id": settings.client_id} if settings.client_id else {}
    return {"identity_config": named} if resource_id == "resource_id" else named


def _managed_identity(settings: AzureSettings) -> Keys:
    """Source of the rules: "How to use managed identities for Azure resources on an Azure VM to acquire a token"."""
    query = {"api-version": "2019-08-01", "resource": RESOURCE, **_which_identity(settings, "mi_res_id")}
    headers = [("Metadata", "true")]
    if secret := os.environ.get("IDENTITY_HEADER"):
        headers.append(("x-identity-header", secret))
    url = f"{settings.msi_endpoint}?{urlencode(query)}"
    answer = exchange("GET", url, headers=headers, limits=_METADATA_LIMITS, direct=True)
    if answer.status != 200:
        raise CredentialsError(f"the managed identity's endpoint answered with HTTP {answer.status}")
    found = json_object("the managed identity", answer.body)
    try:
        expires_ms = int(found["expires_on"]) * 1000
    except (KeyError, TypeError, ValueError):
        raise CredentialsError("the managed identity: the answer does not say when the token expires") from None
    return _bearer("the managed identity", found.get("access_token"), expires_ms)


def _fabric(settings: AzureSettings) -> Keys:
    cluster = settings.fabric_cluster_identifier or ""
    headers = [
        ("x-ms-partner-token", settings.fabric_session_token or ""),
        ("x-ms-cluster-identifier", cluster),
        ("x-ms-workload-resource-moniker", cluster),
        ("x-ms-proxy-host", settings.fabric_workload_host or ""),
    ]
    url = f"{settings.fabric_token_service_url}?{urlencode({'resource': RESOURCE})}"
    answer = exchange("GET", url, headers=headers)
    if answer.status != 200:
        raise CredentialsError(f"Microsoft Fabric's token service answered with HTTP {answer.status}")
    token = answer.body.decode("utf-8", "replace").strip()
    return _bearer("Microsoft Fabric's token service", token, _expiry_ms(token))


def _expiry_ms(token: str) -> int:
    """When a JSON web token expires; an hour from now if it does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return int(claims["exp"]) * 1000
    except (IndexError, KeyError, TypeError, ValueError):
        return int(time.time() + 3600) * 1000
