"""`AzureConfig`: Azure's options as users write them. The docstrings of its keys are their documentation."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypedDict

__all__ = [
    "AzureAccessKey",
    "AzureBearerToken",
    "AzureConfig",
    "AzureCredential",
    "AzureCredentialProvider",
    "AzureSASToken",
]


class AzureConfig(TypedDict, total=False):
    """Options of an `AzureStore`, for its `config` or as keyword arguments.

    At run time each key is also known with `azure_` or `azure_storage_` in front, and in upper case; so is each as an
    environment variable, such as `AZURE_STORAGE_ACCOUNT_NAME`. What is given in Python goes before the environment.
    Unknown keys, an option given twice and values that can't be used are errors at once.

    Which credentials serve, when there are several: `token`, `account_key`, the workload identity (`client_id`,
    `tenant_id` and `federated_token_file`), the client secret (`client_id`, `tenant_id` and `client_secret`),
    `sas_key`, the Azure CLI (`use_azure_cli`), and last the machine's managed identity. Any given in Python goes before
    all that only the environment names; `credential_type` chooses one by name.

    Keys and tokens given here stay out of the store's `repr`, out of errors and out of logs, but not out of its
    pickles. Those from the environment stay out of all of them.
    """

    account_key: str
    """The storage account's key, in base64. `access_key` and `master_key` are other names for it."""

    account_name: str
    """The storage account's name. Required, unless the emulator is used."""

    authority_host: str
    """Where tokens are issued. Default: `"https://login.microsoftonline.com"`; other clouds have others, such as
    `"https://login.microsoftonline.us"`."""

    client_id: str
    """The application (service principal) that `client_secret` or `federated_token_file` stands for; or the client id
    of a managed identity that the user assigned."""

    client_secret: str
    """The application's secret. `client_id` and `tenant_id` go with it. Needs `cumulo[azure]`."""

    container_name: str
    """The container's name; in Fabric the workspace's. Required, unless it is the store's first argument."""

    credential_type: str
    """Which credential to use if there are several: `"auto"` (default, see above), `"bearer_token"`, `"access_key"`,
    `"client_secret"`, `"workload_identity"`, `"sas_token"`, `"azure_cli"` or `"managed_identity"`."""

    disable_tagging: bool
    """Don't send the tags given to `put`. For accounts that refuse them. Default: False."""

    encryption_key: str
    """A key of the customer's own (CPK): 32 bytes in base64. Every read, write and copy of a blob needs the one it was
    written with; lost with it is what it encrypts. Goes over TLS only."""

    endpoint: str
    """The blob service's URL, perhaps with a path. Default: `https://{account_name}.blob.core.windows.net`. Without
    TLS, `client_options={"allow_http": True}` must say that this is meant."""

    fabric_cluster_identifier: str
    """The cluster, for Microsoft Fabric's token service; all four `fabric_` options go together."""

    fabric_session_token: str
    """The session's token, for Microsoft Fabric's token service."""

    fabric_token_service_url: str
    """The URL of Microsoft Fabric's token service."""

    fabric_workload_host: str
    """The workload's host, for Microsoft Fabric's token service."""

    federated_token_file: str
    """A file with an OpenID Connect token, as Kubernetes gives it, to be exchanged for `client_id`'s. Needs
    `cumulo[azure]`."""

    msi_endpoint: str
    """Where the machine's managed identity answers. Default: as azure-identity finds it."""

    msi_resource_id: str
    """The resource id of a managed identity that the user assigned."""

    object_id: str
    """The object id of a managed identity that the user assigned."""

    sas_key: str
    """A shared access signature of the container or the account, percent-encoded as the portal gives it. `sas_token` is
    another name for it."""

    skip_signature: bool
    """Send requests without credentials, and look for none: for public containers. Default: False."""

    tenant_id: str
    """The directory that `client_id` is in. `authority_id` is another name for it."""

    token: str
    """A bearer token, sent as it is and never refreshed. `bearer_token` is another name for it."""

    use_azure_cli: bool
    """Use the account that the Azure CLI is logged in with. Default: False. Needs `cumulo[azure]`."""

    use_emulator: bool
    """Talk to Azurite: at `AZURITE_BLOB_STORAGE_URL` or `http://127.0.0.1:10000`, as its built-in account unless
    another is given. Default: False."""

    use_fabric_endpoint: bool
    """The account is a Microsoft Fabric one (OneLake): `https://{account_name}.blob.fabric.microsoft.com`. Default:
    False. `endpoint` goes before it."""


class AzureAccessKey(TypedDict):
    """An account's key, from a credential provider."""

    access_key: str
    """The key, in base64."""
    expires_at: datetime | None
    """Until when it is good, with a time zone; None for ever."""


class AzureSASToken(TypedDict):
    """A shared access signature, from a credential provider."""

    sas_token: str | list[tuple[str, str]]
    """As a query, percent-encoded; or its names and values, not encoded."""
    expires_at: datetime | None
    """Until when it is good, with a time zone; None for ever."""


class AzureBearerToken(TypedDict):
    """A bearer token, from a credential provider."""

    token: str
    """The token."""
    expires_at: datetime | None
    """Until when it is good, with a time zone; None for ever."""


AzureCredential: TypeAlias = AzureAccessKey | AzureSASToken | AzureBearerToken
"""What a credential provider returns."""


class AzureCredentialProvider(Protocol):
    """A sync or async callable that gives credentials. Called when there are none, or they are about to expire."""

    def __call__(self) -> AzureCredential | Coroutine[Any, Any, AzureCredential]:
        """Credentials that are good now."""
        ...
