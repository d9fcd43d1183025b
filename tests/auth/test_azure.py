"""azure-identity's credentials: a token endpoint as Entra ID's, whose tokens the emulator of the service verifies."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import azure.identity
import azure.identity.aio
import pytest

from cumulo._credentials.refresher import _state
from cumulo.auth.azure import AzureAsyncCredentialProvider, AzureCredentialProvider
from cumulo.exceptions import UnauthenticatedError
from tests.azure.support import container_store, jwt
from tests.faults import FaultServer, Request, Response
from tests.servers.azurite import AzureServer

from .support import READS

KINDS = {
    "sync": (AzureCredentialProvider, azure.identity.ClientSecretCredential),
    "async": (AzureAsyncCredentialProvider, azure.identity.aio.ClientSecretCredential),
}


class Entra:
    """https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.url = server.tls_url()
        self.ca_file = str(server.authority.ca_file)
        self.made: list[Any] = []
        root = f"{self.url}/tenant"
        metadata = {
            "token_endpoint": f"{root}/oauth2/v2.0/token", "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "issuer": f"{root}/v2.0",
        }  # fmt: skip
        answer = Response.of(json.dumps(metadata).encode(), content_type="application/json")
        server.script("/tenant/v2.0/.well-known/openid-configuration", answer)
        server.script("/tenant/oauth2/v2.0/token", self.token, method="POST")

    def token(self, request: Request) -> Response:
        if b"client_secret=right" not in request.body:
            text: dict[str, Any] = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret."}
            return Response.of(json.dumps(text).encode(), content_type="application/json").but(status=401)
        assert b"storage.azure.com" in request.body
        text = {"token_type": "Bearer", "expires_in": 3599, "access_token": jwt("https://storage.azure.com")}
        return Response.of(json.dumps(text).encode(), content_type="application/json")

    def credential(self, kind: Any, secret: str) -> Any:
        made = kind(
            "tenant", "client", secret, authority=self.url, disable_instance_discovery=True,
            connection_verify=self.ca_file, retry_total=0,
        )  # fmt: skip
        self.made.append(made)
        return made


@pytest.fixture
def entra(fault_server: FaultServer) -> Iterator[Entra]:
    found = Entra(fault_server)
    yield found
    for credential in found.made:
        closing = credential.close()
        if inspect.isawaitable(closing):  # where it has been used
            refresher = _state.refresher
            assert refresher is not None
            asyncio.run_coroutine_threadsafe(_awaited(closing), refresher._loop).result(10)


async def _awaited(what: Any) -> None:
    await what


async def test_the_default_one_by_an_applications_variables(entra: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made for the call, and closed after it: pytest would tell of what stays open."""
    variables = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "right"}
    for name, value in {**variables, "AZURE_AUTHORITY_HOST": entra.url}.items():
        monkeypatch.setenv(name, value)
    options = {"disable_instance_discovery": True, "connection_verify": entra.ca_file}
    for module in (azure.identity, azure.identity.aio):
        monkeypatch.setattr(module, "DefaultAzureCredential", partial(module.DefaultAzureCredential, **options))
    for found in (AzureCredentialProvider()(), await AzureAsyncCredentialProvider()()):
        assert found["token"].count(".") == 2
    assert len(entra.server.seen("/tenant/oauth2/v2.0/token")) == 2


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("how", KINDS)
def test_an_application(azurite_tls: AzureServer, entra: Entra, how: str, read: Callable[[Any, str], bytes]) -> None:
    provider, credential = KINDS[how]
    store = container_store(azurite_tls, credential_provider=provider(entra.credential(credential, "right")))
    store.put("x", b"content")
    assert read(store, "x") == b"content"
    assert len(entra.server.seen("/tenant/oauth2/v2.0/token")) == 1


@pytest.mark.parametrize("how", KINDS)
def test_an_application_that_is_refused(azurite_tls: AzureServer, entra: Entra, how: str) -> None:
    provider, credential = KINDS[how]
    store = container_store(azurite_tls, credential_provider=provider(entra.credential(credential, "wr0ng")))
    for read in READS.values():
        with pytest.raises(UnauthenticatedError, match="AADSTS7000215") as caught:
            read(store, "x")
        assert type(caught.value.__cause__).__name__ == "ClientAuthenticationError"
        assert "wr0ng" not in str(caught.value)


class Credential:
    """One that can be pickled."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        raise NotImplementedError


def test_pickles() -> None:
    """The default is made anew, what is given goes along."""
    for kind in (AzureCredentialProvider, AzureAsyncCredentialProvider):
        again = pickle.loads(pickle.dumps(kind(tenant_id="t")))
        assert (type(again), again._tenant_id) == (kind, "t")
        given = pickle.loads(pickle.dumps(kind(Credential(), scopes=["s"])))
        assert (type(given._credential), given._scopes) == (Credential, ("s",))
