"""Azure's options: their table, and how a store's settings come from Python, the environment and the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from cumulo._records import field, fields, record

from .azure_values import parse_account, parse_account_key, parse_container, parse_encryption_key, parse_sas
from .client import client_options_among
from .errors import ConfigurationError
from .options import Option, Table
from .s3_values import parse_secret, parse_url
from .values import Parser, choice, parse_bool, parse_text

__all__ = ["AZURE_OPTIONS", "AzureSettings", "CredentialKind", "resolve_azure"]

CredentialKind: TypeAlias = Literal[
    "bearer_token", "access_key", "workload_identity", "client_secret", "sas_token", "azure_cli", "managed_identity",
    "fabric", "none",
]  # fmt: skip


def _storage(name: str, parse: Parser, *aliases: str, env: tuple[str, ...] = ()) -> Option:
    """An option that is also called `azure_storage_` something."""
    every = (*aliases, *(f"storage_{alias}" for alias in (name, *aliases)))
    return Option(name, parse, every, env)


_CONNECTION_STRING = "give what is in it: account_name, and account_key or sas_key; perhaps endpoint"

AZURE_OPTIONS = Table(
    "Azure",
    (
        _storage("account_key", parse_account_key, "access_key", "master_key"),
        _storage("account_name", parse_account),
        _storage("authority_host", parse_url),
        _storage("client_id", parse_text),
        _storage("client_secret", parse_secret),
        Option("container_name", parse_container),
        Option(
            "credential_type",
            choice(
                "auto", "bearer_token", "access_key", "client_secret", "workload_identity", "sas_token", "azure_cli",
                "managed_identity",
            ),
        ),
        Option("disable_tagging", parse_bool),
        _storage("encryption_key", parse_encryption_key),
        _storage("endpoint", parse_url),
        Option("fabric_cluster_identifier", parse_text),
        Option("fabric_session_token", parse_secret),
        Option("fabric_token_service_url", parse_url),
        Option("fabric_workload_host", parse_text),
        Option("federated_token_file", parse_text),
        Option("msi_endpoint", parse_url, ("identity_endpoint",), ("IDENTITY_ENDPOINT",)),
        Option("msi_resource_id", parse_text),
        Option("object_id", parse_text),
        _storage("sas_key", parse_sas, "sas_token"),
        Option("skip_signature", parse_bool),
        _storage("tenant_id", parse_text, "authority_id"),
        _storage("token", parse_secret, "bearer_token"),
        Option("use_azure_cli", parse_bool),
        _storage("use_emulator", parse_bool),
        Option("use_fabric_endpoint", parse_bool),
    ),
    prefix="azure_",
    hints={
        "account": "account_name",
        "account_url": "endpoint",
        "anon": "skip_signature",
        "anonymous": "skip_signature",
        "connection_string": _CONNECTION_STRING,
        "container": "container_name",
        "credential": "credentials of azure-identity are given by credential_provider, see cumulo.auth.azure",
        "key": "account_key",
        "managed_identity_client_id": "client_id",
        "sas": "sas_key",
        "storage_account": "account_name",
        "storage_connection_string": _CONNECTION_STRING,
    },
)  # fmt: skip

_FABRIC = ("fabric_token_service_url", "fabric_workload_host", "fabric_session_token", "fabric_cluster_identifier")
# What says by itself who asks. One of them given in Python leaves all others of the environment aside.
_SECRETS = (
    "account_key", "client_secret", "credential_type", "federated_token_file", "sas_key", "skip_signature", "token",
    "use_azure_cli", *_FABRIC,
)  # fmt: skip
_NEEDED: dict[str, tuple[str, ...]] = {
    "bearer_token": ("token",),
    "access_key": ("account_key",),
    "workload_identity": ("client_id", "tenant_id", "federated_token_file"),
    "client_secret": ("client_id", "tenant_id", "client_secret"),
    "sas_token": ("sas_key",),
    "azure_cli": (),
    "managed_identity": (),
}
EMULATOR_ACCOUNT = "devstoreaccount1"
# Azurite's well-known key, the same in every installation: no secret.
EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


_NOT_WHO = frozenset(("container_name", "disable_tagging", "explicit", "client_options"))


@record(frozen=True)
class AzureSettings:
    """An Azure store's options, typed and complete. `AzureConfig` says what each means.

    Attributes:
        container_name: its name.
        account_name: the account; the emulator's if none was given and that is used.
        endpoint: None for Azure's own.
        credential: which kind of credential serves.
        explicit: what was given in Python, by canonical name, in the types that `AzureConfig` has. Enough, with an
            environment, to make these settings again; pickles hold nothing else.
        client_options: options of the HTTP client that stood among Azure's, as `obstore` allows.
    """

    container_name: str
    account_name: str
    endpoint: str | None = None
    use_emulator: bool = False
    use_fabric_endpoint: bool = False
    skip_signature: bool = False
    disable_tagging: bool = False
    credential_type: str = "auto"
    credential: CredentialKind = "managed_identity"
    account_key: str | None = field(default=None, repr=False)
    sas_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    encryption_key: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    tenant_id: str | None = None
    authority_host: str | None = None
    federated_token_file: str | None = None
    use_azure_cli: bool = False
    msi_endpoint: str | None = None
    msi_resource_id: str | None = None
    object_id: str | None = None
    fabric_token_service_url: str | None = None
    fabric_workload_host: str | None = None
    fabric_session_token: str | None = field(default=None, repr=False)
    fabric_cluster_identifier: str | None = None
    explicit: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)
    client_options: dict[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)

    @property
    def who(self) -> tuple[Any, ...]:
        """All that decides as whom requests are sent, and with which keys."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in _NOT_WHO)

    def __reduce__(self) -> tuple[Any, ...]:
        # The environment holds secrets; it is read again where the pickle is opened.
        return _resolve_again, ({**self.explicit, **self.client_options},)


def _resolve_again(explicit: dict[str, Any]) -> AzureSettings:
    return resolve_azure(None, explicit)


def resolve_azure(
    container_name: str | None = None,
    config: Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> AzureSettings:
    """Complete an Azure store's options from the environment and the defaults.

    Args:
        container_name: the container, if not among the options.
        config: options by the names in `AzureConfig`, with or without `azure_` or `azure_storage_`, in any case. None
            counts as not given.
        kwargs: more of them.
        env: the environment, by default the process's.

    Raises:
        UnknownConfigurationKeyError: a name that is no option of Azure's or of the HTTP client.
        ValueError: an option given twice, a value that can't be used, no container, no account, or a `credential_type`
            whose options are not given.
        TypeError: a value of the wrong type.
    """
    env = os.environ if env is None else env
    sources = [{"container_name": container_name}, config or {}, kwargs or {}]
    mine, client_options = client_options_among(AZURE_OPTIONS, sources)
    given = AZURE_OPTIONS.gather(*mine)
    settled = set(given)
    if any(name in given for name in _SECRETS):
        settled.update(_SECRETS)
    values = {**AZURE_OPTIONS.from_env(env, "AZURE_", skip=settled), **given}
    if "container_name" not in values:
        raise ConfigurationError(
            "no container: name it as the first argument, as container_name=..., or in AZURE_CONTAINER_NAME"
        )
    if "account_name" not in values:
        if not values.get("use_emulator"):
            raise ConfigurationError("no storage account: name it as account_name=... or in AZURE_STORAGE_ACCOUNT_NAME")
        values["account_name"] = EMULATOR_ACCOUNT
    values["credential"] = _credential_kind(values)
    if values["credential"] == "access_key" and "account_key" not in values:
        values["account_key"] = EMULATOR_KEY
    return AzureSettings(**values, explicit=given, client_options=client_options)


def _credential_kind(values: Mapping[str, Any]) -> CredentialKind:
    """Which credential serves, in obstore's order."""
    if values.get("skip_signature"):
        return "none"
    chosen = values.get("credential_type", "auto")
    if chosen != "auto":
        if missing := [name for name in _NEEDED[chosen] if name not in values]:
            raise ConfigurationError(f"credential_type={chosen!r} needs {' and '.join(missing)}")
        return chosen
    if all(name in values for name in _FABRIC):
        return "fabric"
    order: tuple[CredentialKind, ...] = (
        "bearer_token", "access_key", "workload_identity", "client_secret", "sas_token",
    )  # fmt: skip
    for kind in order:
        if all(name in values for name in _NEEDED[kind]):
            return kind
    if values.get("use_azure_cli"):
        return "azure_cli"
    return "access_key" if _is_emulators(values) else "managed_identity"


def _is_emulators(values: Mapping[str, Any]) -> bool:
    return bool(values.get("use_emulator")) and values["account_name"] == EMULATOR_ACCOUNT
