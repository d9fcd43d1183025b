"""Azure's options: every name obstore knows, what goes before what, endpoints."""

from __future__ import annotations

import ast
import pickle
import typing
from pathlib import Path

import pytest

from cumulo._config import AzureConfig, azure_endpoint_of, resolve_azure, resolve_client
from cumulo._config.azure import AZURE_OPTIONS
from cumulo.exceptions import UnknownConfigurationKeyError
from cumulo.store import AzureStore

from .test_obstore_keys import keys, stub

KEY = "c2VjcmV0LWtleQ=="
CPK = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
VALUES = {
    "account_key": KEY,
    "credential_type": "azure_cli",
    "encryption_key": CPK,
    "sas_key": "sv=1&sig=x",
    **dict.fromkeys(("authority_host", "endpoint", "msi_endpoint", "fabric_token_service_url"), "https://h/"),
}
# Names that obstore 0.12.1 itself takes.
ALIASES = {
    "account_key": ["access_key", "master_key", "azure_storage_access_key", "azure_storage_master_key"],
    "client_id": ["azure_client_id", "azure_storage_client_id"],
    "msi_endpoint": ["identity_endpoint", "azure_identity_endpoint"],
    "sas_key": ["sas_token", "azure_storage_sas_token"],
    "tenant_id": ["authority_id", "azure_tenant_id", "azure_authority_id", "azure_storage_authority_id"],
    "token": ["bearer_token", "azure_storage_token"],
}
OBSTORE_KEYS = keys("_azure.pyi", "AzureConfig")
VARIABLES = sorted(
    {word.strip("`.,- ") for word in stub("_azure.pyi").split() if word.strip("`.,- ").startswith("AZURE_")}
)


def resolved(env: dict[str, str] | None = None, **options: typing.Any) -> typing.Any:
    return resolve_azure("c", {"account_name": "a", **options}, None, env or {})


def test_stubs_were_found() -> None:
    assert len(OBSTORE_KEYS) > 20
    assert len(VARIABLES) > 25


@pytest.mark.parametrize("key", OBSTORE_KEYS)
def test_every_key_of_obstores(key: str) -> None:
    option = AZURE_OPTIONS.find(key)
    assert option is not None
    assert option.name == key
    for form in (key.upper(), f"azure_{key}", f"AZURE_{key.upper()}"):
        assert AZURE_OPTIONS.find(form) is option
    assert key in typing.get_type_hints(AzureConfig)


@pytest.mark.parametrize(("name", "alias"), [(name, alias) for name, some in ALIASES.items() for alias in some])
def test_aliases(name: str, alias: str) -> None:
    option = AZURE_OPTIONS.find(alias)
    assert option is not None
    assert option.name == name


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_variable_of_obstores(variable: str) -> None:
    option = AZURE_OPTIONS.find(variable)
    assert option is not None
    assert list(AZURE_OPTIONS.from_env({variable: VALUES.get(option.name, "true")}, "AZURE_")) == [option.name]


def test_the_table_and_the_typed_dict_agree() -> None:
    assert {option.name for option in AZURE_OPTIONS.options} == set(typing.get_type_hints(AzureConfig))


def test_every_key_is_documented() -> None:
    import cumulo._config.azure_config as module

    tree = ast.parse(Path(str(module.__file__)).read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "AzureConfig")
    for before, after in zip(found.body, [*found.body[1:], None], strict=True):
        if isinstance(before, ast.AnnAssign):
            assert isinstance(after, ast.Expr), ast.unparse(before)


# -- which credential serves

WORKLOAD = {"client_id": "i", "tenant_id": "t", "federated_token_file": "/f"}


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "managed_identity"),
        ({"token": "t", "account_key": KEY}, "bearer_token"),
        ({"account_key": KEY, **WORKLOAD}, "access_key"),
        ({**WORKLOAD, "client_secret": "s"}, "workload_identity"),
        ({"client_id": "i", "tenant_id": "t", "client_secret": "s", "sas_key": "sv=1"}, "client_secret"),
        ({"sas_key": "sv=1", "use_azure_cli": True}, "sas_token"),
        ({"use_azure_cli": True}, "azure_cli"),
        ({"account_key": KEY, "sas_key": "sv=1", "credential_type": "sas_token"}, "sas_token"),
        ({"account_key": KEY, "credential_type": "managed_identity"}, "managed_identity"),
        ({"account_key": KEY, "skip_signature": True}, "none"),
        ({"client_id": "i"}, "managed_identity"),
    ],
)
def test_the_order_of_credentials(options: dict[str, typing.Any], kind: str) -> None:
    assert resolved(**options).credential == kind


def test_what_is_given_goes_before_the_environment() -> None:
    env = {"AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_CLIENT_ID": "i", "AZURE_STORAGE_TOKEN": "t"}
    assert resolved(env).credential == "bearer_token"
    assert resolved(env, sas_key="sv=1").credential == "sas_token"
    assert resolved(env, client_secret="s", tenant_id="t").client_id == "i"
    assert resolved({**env, "AZURE_SKIP_SIGNATURE": "true"}, account_key=KEY).credential == "access_key"


def test_a_credential_type_without_what_it_needs() -> None:
    with pytest.raises(ValueError, match="needs sas_key"):
        resolved(credential_type="sas_token")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"account_key": "no base64!"}, "no account key"),
        ({"sas_key": "what"}, "no shared access signature"),
        ({"sas_key": "sv=1&sig=a b"}, "no shared access signature"),
        ({"encryption_key": KEY}, "32 bytes"),
        ({"account_name": "a.evil.com/x"}, "not the name of a storage account"),
        ({"container_name": "a/b"}, "not a container's name"),
        ({"credential_type": "magic"}, "one of"),
        ({"sas_key": "sv=1", "sas_token": "sv=2"}, "given twice"),
    ],
)
def test_values_that_can_not_be(options: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        resolve_azure(None, {"account_name": "a", "container_name": "c", **options}, None, {})
    assert "evil" in told or options.get("account_key", "?!") not in str(caught.value)


def test_what_is_missing() -> None:
    with pytest.raises(ValueError, match="no container"):
        resolve_azure(None, {"account_name": "a"}, None, {})
    with pytest.raises(ValueError, match="no storage account"):
        resolve_azure("c", {}, None, {})
    with pytest.raises(UnknownConfigurationKeyError, match="did you mean 'account_name'"):
        resolve_azure("c", {"acount_name": "a"}, None, {})
    with pytest.raises(UnknownConfigurationKeyError, match="did you mean 'container_name'"):
        resolve_azure("c", {"container": "a"}, None, {})
    for name in ("connection_string", "azure_storage_connection_string"):
        with pytest.raises(UnknownConfigurationKeyError, match="account_name, and account_key or sas_key"):
            resolve_azure("c", {name: "a"}, None, {})
    with pytest.raises(UnknownConfigurationKeyError, match="given by credential_provider"):
        resolve_azure("c", {"credential": "a"}, None, {})


def test_the_clients_options_among_them() -> None:
    assert resolved(allow_http=True, azure_timeout="5s").client_options == {"allow_http": True, "timeout": "5s"}


def test_nothing_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=from-the-environment")
    store = AzureStore("c", account_name="a", client_secret="hidden-secret", account_key=KEY)
    settings = resolve_azure("c", {"account_name": "a"})
    for text in (repr(store), repr(store._settings), repr(settings)):
        assert KEY not in text
        assert "secret" not in text.replace("client_secret", "")
        assert "from-the" not in text
    assert b"from-the" not in pickle.dumps(settings)
    assert pickle.loads(pickle.dumps(settings)).sas_key == settings.sas_key == "sv=1&sig=from-the-environment"


# -- endpoints


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://a.blob.core.windows.net/c/"),
        ({"use_fabric_endpoint": True}, "https://a.blob.fabric.microsoft.com/c/"),
        ({"endpoint": "https://a.blob.core.usgovcloudapi.net"}, "https://a.blob.core.usgovcloudapi.net/c/"),
        ({"endpoint": "https://h:8443/x/"}, "https://h:8443/x/c/"),
        ({"container_name": "$web"}, "https://a.blob.core.windows.net/%24web/"),
        ({"use_emulator": True}, "http://127.0.0.1:10000/a/c/"),
        ({"use_emulator": True, "account_name": "a_b"}, "http://127.0.0.1:10000/a_b/c/"),
        ({"use_emulator": True, "account_name": None}, "http://127.0.0.1:10000/devstoreaccount1/c/"),
        ({"use_emulator": True, "endpoint": "http://h:1/a"}, "http://h:1/a/c/"),
    ],
)
def test_endpoints(options: dict[str, typing.Any], url: str) -> None:
    settings = resolve_azure(None, {"container_name": "c", "account_name": "a", **options}, None, {})
    assert azure_endpoint_of(settings, resolve_client({}, {}), {}).url == url


def test_an_endpoint_without_tls() -> None:
    settings = resolved(endpoint="http://h")
    with pytest.raises(ValueError, match="allow_http"):
        azure_endpoint_of(settings, resolve_client({}, {}), {})
    assert azure_endpoint_of(settings, resolve_client({"allow_http": True}, {}), {}).port == 80


def test_the_emulators_variable() -> None:
    settings = resolve_azure("c", {"use_emulator": True}, None, {})
    found = azure_endpoint_of(settings, None, {"AZURITE_BLOB_STORAGE_URL": "http://h:7/"})
    assert found.url == "http://h:7/devstoreaccount1/c/"


def test_a_store_from_a_url() -> None:
    store = AzureStore.from_url("abfss://c@acct.dfs.core.windows.net/p/q", account_key=KEY)
    assert store == AzureStore("c", account_name="acct", account_key=KEY, prefix="p/q")
    config: AzureConfig = {"container_name": "d"}
    other = AzureStore.from_url("az://c/p", prefix="other", AZURE_STORAGE_ACCOUNT_NAME="x", config=config)
    assert repr(other) == "AzureStore(container_name='d', account_name='x', prefix='other')"
    assert AzureStore.from_url("https://acct.blob.core.windows.net", container_name="c").prefix is None
