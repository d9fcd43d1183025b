"""The Planetary Computer's SAS API, as its reference says, on the fault server; and the container that it is for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import obstore.auth.planetary_computer as theirs
import pytest
import requests

from cumulo.auth.planetary_computer import (
    PlanetaryComputerAsyncCredentialProvider,
    PlanetaryComputerCredentialProvider,
)
from cumulo.exceptions import GenericError, UnauthenticatedError
from cumulo.store import AzureStore
from tests.faults import FaultServer, Object, Request, Response

from .support import READS

SAS = "st=2026-01-01T00%3A00%3A00Z&se=2099-01-01T00%3A00%3A00Z&sp=rl&sv=2024-05-04&sr=c&sig=a%2Bb%3D"
GIVEN = {"sas_token": SAS, "expires_at": datetime(2099, 1, 1, 12, 30, tzinfo=timezone.utc)}
PROVIDERS = (PlanetaryComputerCredentialProvider, PlanetaryComputerAsyncCredentialProvider)
PATH = "/api/sas/v1/token/account/container"


def token(request: Request) -> Response:
    if request.header("ocp-apim-subscription-key") == "wrong":
        return Response(401, b'{"statusCode": 401, "message": "Access denied due to invalid subscription key."}')
    text = json.dumps({"msft:expiry": "2099-01-01T12:30:00Z", "token": SAS})
    return Response.of(text.encode(), content_type="application/json")


@pytest.fixture
def sas_url(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> str:
    fault_server.script(PATH, token)
    url = f"{fault_server.url}/api/sas/v1/token"
    monkeypatch.setenv("PC_SDK_SAS_URL", url)
    return url


def keys_sent(server: FaultServer) -> list[str | None]:
    return [each.header("ocp-apim-subscription-key") for each in server.seen(PATH)]


@pytest.mark.usefixtures("sas_url")
@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_container(fault_server: FaultServer, kind: Any, read: Callable[[Any, str], bytes]) -> None:
    """Account, container and prefix are the provider's; the signature is fetched once."""
    fault_server.script("/container/a%20dir/granule", Object(b"content"))
    provider = kind("https://account.blob.core.windows.net/container/a%20dir/")
    store = AzureStore(endpoint=fault_server.url, client_options={"allow_http": True}, credential_provider=provider)
    assert (store.prefix, store.config["account_name"]) == ("a dir", "account")
    for _ in range(2):
        assert read(store, "granule") == b"content"
    assert {each.query["sig"] for each in fault_server.seen("/container/a%20dir/granule")} == {"a+b="}
    assert len(fault_server.seen(PATH)) == 1


async def test_both_and_their_sessions(fault_server: FaultServer, sas_url: str) -> None:
    place = {"account_name": "account", "container_name": "container"}
    assert PlanetaryComputerCredentialProvider(**place)() == GIVEN
    assert await PlanetaryComputerAsyncCredentialProvider(**place)() == GIVEN
    with requests.Session() as session:
        assert PlanetaryComputerCredentialProvider(**place, session=session, subscription_key="k")() == GIVEN
    async with aiohttp.ClientSession() as aio:
        other = PlanetaryComputerAsyncCredentialProvider(**place, session=aio, sas_url=sas_url + "/")
        assert await other() == GIVEN
    assert keys_sent(fault_server) == [None, None, "k", None]


def test_settings(fault_server: FaultServer, sas_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is given, then the environment, then the file that the planetarycomputer package keeps."""
    provider = PlanetaryComputerCredentialProvider(account_name="account", container_name="container")
    monkeypatch.delenv("PC_SDK_SAS_URL")
    (tmp_path / ".planetarycomputer").mkdir()
    (tmp_path / ".planetarycomputer/settings.env").write_text(
        f'# settings\nPC_SDK_SAS_URL="{sas_url}"\n\nexport PC_SDK_SUBSCRIPTION_KEY=of-the-file\n'
    )
    provider()
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "of-the-environment")
    provider()
    given = PlanetaryComputerCredentialProvider(
        account_name="account", container_name="container", subscription_key="given", sas_url=sas_url
    )
    given()
    assert keys_sent(fault_server) == ["of-the-file", "of-the-environment", "given"]
    for secret in (b"of-the-file", b"of-the-environment"):
        assert secret not in pickle.dumps(provider)
    assert pickle.loads(pickle.dumps(given))() == GIVEN
    assert keys_sent(fault_server)[-1] == "given"


@pytest.mark.usefixtures("sas_url")
def test_it_refuses(fault_server: FaultServer) -> None:
    place = {"account_name": "account", "container_name": "container"}
    provider = PlanetaryComputerCredentialProvider(**place, subscription_key="wrong")
    with pytest.raises(UnauthenticatedError, match="subscription key"):
        provider()
    store = AzureStore(endpoint=fault_server.url, client_options={"allow_http": True}, credential_provider=provider)
    for read in READS.values():
        with pytest.raises(UnauthenticatedError, match="subscription key") as caught:
            read(store, "x")
        assert isinstance(caught.value.__cause__, UnauthenticatedError)
    with pytest.raises(GenericError, match="HTTP 404"):
        PlanetaryComputerCredentialProvider(account_name="account", container_name="other")()
    fault_server.script(PATH, Response.of(b'{"token": "x"}'))
    with pytest.raises(GenericError, match="msft:expiry"):
        PlanetaryComputerCredentialProvider(**place)()


PLACES: list[tuple[str, dict[str, str]]] = [
    ("https://account.blob.core.windows.net/container/dir/x.tif", {}),
    ("https://account.blob.core.windows.net/container", {}),
    ("https://account.blob.core.windows.net/container/", {}),
    ("abfs://container/dir/x.zarr", {"account_name": "account"}),
    ("abfs://container", {"account_name": "account"}),
]


@pytest.mark.parametrize(("url", "more"), PLACES)
def test_urls_as_obstore_has_them(url: str, more: Any) -> None:
    mine, other = (
        PlanetaryComputerCredentialProvider(url, **more),
        theirs.PlanetaryComputerCredentialProvider(url, **more),
    )
    assert (mine.config, mine.prefix or None) == (other.config, other.prefix or None)


def test_an_abfs_url_that_names_the_account() -> None:
    provider = PlanetaryComputerCredentialProvider("abfss://container@account.dfs.core.windows.net/x")
    assert (provider.config["account_name"], provider.prefix) == ("account", "x")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "account_name and container_name"),
        ({"account_name": "a"}, "account_name and container_name"),
        ({"url": "https://example.com/c/x"}, "no blob's URL"),
        ({"url": "http://a.blob.core.windows.net/c/x"}, "no blob's URL"),
        ({"url": "https://a.blob.core.windows.net/"}, "no container"),
        ({"url": "https://a.blob.core.windows.net/c", "account_name": "a"}, "account_name"),
        ({"url": "https://a.blob.core.windows.net/c", "container_name": "c"}, "container_name"),
        ({"url": "abfs://c/x"}, "account_name is needed"),
        ({"url": "abfs://c@example.com/x"}, "one of Azure's"),
        ({"url": "abfs:///x", "account_name": "a"}, "no container"),
        ({"url": "abfs://c@a.dfs.core.windows.net/x", "account_name": "b"}, "'b'"),
    ],
)
def test_urls_that_can_not_be(arguments: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PlanetaryComputerCredentialProvider(**arguments)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_assets(kind: Any) -> None:
    """As documents, and as pystac has them."""
    options = {"account_name": "account", "connection_string": "ignored"}
    for asset in (
        {"href": "https://account.blob.core.windows.net/container/x.parquet", "table:storage_options": options},
        {"href": "abfs://container/x.parquet", "table:storage_options": options},
        {"href": "abfs://container/x.parquet", "xarray:storage_options": options},
        {"href": "abfs://container/x.parquet", "xarray:open_kwargs": {"storage_options": options}},
        {"href": "abfs://container/x.parquet", "extra_fields": {"table:storage_options": options}},
        SimpleNamespace(href="abfs://container/x.parquet", extra_fields={"table:storage_options": options}),
        SimpleNamespace(href="https://account.blob.core.windows.net/container/x.parquet", extra_fields={}),
    ):
        provider = kind.from_asset(asset, subscription_key="k")
        assert provider.config == {"account_name": "account", "container_name": "container"}
        assert provider.prefix == "x.parquet"
    with pytest.raises(ValueError, match="account_name"):
        kind.from_asset({"href": "abfs://container/x"})
    with pytest.raises(ValueError, match="href"):
        kind.from_asset({})
