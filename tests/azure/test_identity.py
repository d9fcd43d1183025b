"""Tokens by azure-identity, signatures by a user delegation key, and what is said where the packages are missing."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from cumulo.auth.azure import AzureAsyncCredentialProvider, AzureCredentialProvider, UserDelegationProvider
from cumulo.exceptions import MissingExtraError, UnauthenticatedError
from tests.faults import FaultServer
from tests.servers.azurite import AzureServer

from .support import PATH, blob, container_store, delegation_key, fault_store, jwt

CERTAIN = {"tenant_id": "tenant", "client_id": "client"}


class Credential:
    """azure-identity's protocol, with the tokens a test wants."""

    def __init__(self, token: str = "t1") -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.token = SimpleNamespace(token=token, expires_on=int(time.time()) + 3600)

    def get_token(self, *scopes: str, tenant_id: str | None = None, **options: Any) -> Any:
        self.asked.append((*scopes, tenant_id))
        return self.token


def test_a_credential_of_the_programs(fault_server: FaultServer) -> None:
    credential = Credential()
    fault_server.script(PATH, blob())
    store = fault_store(fault_server, credential_provider=AzureCredentialProvider(credential, tenant_id="t"))
    for _ in range(2):
        store.get("key").bytes()
    assert [each.header("Authorization") for each in fault_server.requests] == ["Bearer t1", "Bearer t1"]
    assert credential.asked == [("https://storage.azure.com/.default", "t")]


def test_an_async_credential(fault_server: FaultServer) -> None:
    class Async(Credential):
        async def get_token(self, *scopes: str, tenant_id: str | None = None, **options: Any) -> Any:
            return self.token

    fault_server.script(PATH, blob())
    store = fault_store(fault_server, credential_provider=AzureAsyncCredentialProvider(Async("t2")))
    store.get("key").bytes()
    assert fault_server.requests[0].header("Authorization") == "Bearer t2"


@pytest.mark.parametrize(
    ("options", "name", "given"),
    [
        ({**CERTAIN, "client_secret": "s", "use_azure_cli": True}, "ClientSecretCredential", ("tenant", "client", "s")),
        ({**CERTAIN, "federated_token_file": "/f", "use_azure_cli": True}, "WorkloadIdentityCredential", ()),
        ({"use_azure_cli": True}, "AzureCliCredential", ()),
    ],
)
def test_the_stores_own_options(
    fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, options: Any, name: str, given: tuple[str, ...]
) -> None:
    """The credential that azure-identity has for them, made once and asked once."""
    made: list[tuple[Any, ...]] = []

    def make(*arguments: Any, **named: Any) -> Credential:
        made.append(arguments)
        return Credential("from identity")

    monkeypatch.setattr(f"azure.identity.{name}", lambda *a, **b: _one_word(make(*a, **b)))
    fault_server.script(PATH, blob())
    store = fault_store(fault_server, **options)
    store.get("key").bytes()
    store.get("key").bytes()
    assert made == [given]
    assert fault_server.requests[1].header("Authorization") == "Bearer from-identity"


def _one_word(credential: Credential) -> Credential:
    credential.token.token = credential.token.token.replace(" ", "-")
    return credential


def test_a_credential_that_fails(fault_server: FaultServer) -> None:
    class Failing(Credential):
        def get_token(self, *scopes: str, **options: Any) -> Any:
            raise RuntimeError("no such application")

    store = fault_store(fault_server, credential_provider=AzureCredentialProvider(Failing()))
    with pytest.raises(UnauthenticatedError, match="no such application"):
        store.get("key")
    assert fault_server.requests == []


def test_without_the_package(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cumulo._credentials.azure.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"cumulo\[azure\]") as caught:
        fault_store(fault_server, use_azure_cli=True).get("key")
    assert isinstance(caught.value, ImportError)
    fault_server.script(PATH, blob())
    assert fault_store(fault_server, token="t").get("key").bytes() == b"content"
    monkeypatch.setitem(sys.modules, "azure.storage.blob", None)
    with pytest.raises(MissingExtraError, match=r"cumulo\[azure\]"):
        UserDelegationProvider("https://account.blob.core.windows.net", "c", Credential())


def test_a_user_delegation_signature(fault_server: FaultServer) -> None:
    fault_server.script("/", delegation_key())
    authority = fault_server.tls_url()
    provider = UserDelegationProvider(
        authority, "container", Credential(), connection_verify=str(fault_server.ca_file), permission="r"
    )
    fault_server.script(PATH, blob())
    store = fault_store(fault_server, credential_provider=provider)
    store.get("key").bytes()
    sent = fault_server.seen(PATH)[0].query
    assert (sent["skoid"], sent["sktid"], sent["sp"], sent["sr"]) == ("o", "t", "r", "c")
    assert sent["sig"]


@pytest.mark.server
def test_tokens_on_the_emulator(azurite_tls: AzureServer) -> None:
    """It looks at issuer, audience and times: a token for another audience is refused."""
    container = azurite_tls.new_container()
    store = container_store(azurite_tls, container, token=jwt("https://storage.azure.com"))
    store.put("x", b"1")
    store.delete(["x"])
    with pytest.raises(UnauthenticatedError):
        container_store(azurite_tls, container, token=jwt("https://example.com")).put("x", b"1")
