"""Tokens by azure-identity, signatures by a user delegation key, and what is said where the packages are missing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cumulo.auth.azure import AzureAsyncCredentialProvider, AzureCredentialProvider, UserDelegationProvider
from cumulo.exceptions import MissingExtraError, UnauthenticatedError
from tests.faults import FaultServer, Response
from tests.servers import azurite as azurite_server
from tests.servers.azurite import AzureServer

from .support import PATH, blob, container_store, fault_store

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
    """The key's document as the reference shows it, under "Get User Delegation Key"."""
    fields = {
        "SignedOid": "o", "SignedTid": "t", "SignedStart": "2030-01-01T00:00:00Z",
        "SignedExpiry": "2030-01-02T00:00:00Z", "SignedService": "b", "SignedVersion": "2025-01-05",
        "Value": "c2VjcmV0",
    }  # fmt: skip
    text = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    fault_server.script("/", Response.xml(f"<UserDelegationKey>{text}</UserDelegationKey>"))
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


@pytest.fixture(scope="module")
def azurite_tls(session_fault_server: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite over TLS, which takes bearer tokens."""
    authority = session_fault_server.authority
    certificate: tuple[Path, Path, Path] = (authority.ca_file, *authority.files("valid"))
    with azurite_server.serve(tmp_path_factory.mktemp("azurite-tls"), certificate) as server:
        yield server


@pytest.mark.server
def test_tokens_on_the_emulator(azurite_tls: AzureServer) -> None:
    """It looks at issuer, audience and times: a token for another audience is refused."""
    container = azurite_tls.new_container()
    store = container_store(azurite_tls, container, token=jwt("https://storage.azure.com"))
    store.put("x", b"1")
    store.delete(["x"])
    with pytest.raises(UnauthenticatedError):
        container_store(azurite_tls, container, token=jwt("https://example.com")).put("x", b"1")


def jwt(audience: str) -> str:
    import base64
    import json

    now = int(time.time())
    claims = {
        "aud": audience, "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/", "iat": now - 60,
        "nbf": now - 60, "exp": now + 3600,
    }  # fmt: skip
    parts = ({"typ": "JWT", "alg": "RS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2ln"])
