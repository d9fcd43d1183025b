"""Shared access signatures on Azurite, which verifies them, those by user delegation keys as well."""

from __future__ import annotations

import ssl
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import cumulo as obs
from cumulo.exceptions import NotSupportedError, UnauthenticatedError
from cumulo.store import AzureStore
from tests.azure.support import blob, container_sas, container_store, delegation_key, fault_store, jwt
from tests.faults import FaultServer, Response
from tests.servers.azurite import KEY, AzureServer

from .support import HOUR, query_of, tampered, use

BLOCK = {"x_ms_blob_type": "BlockBlob"}
ODD = "a dir/ä + %20~'()*!,;=&$@:.tif"


def check_each_method(store: AzureStore, context: Any = None) -> None:
    assert use("PUT", store.sign("PUT", ODD, HOUR), b"content", context=context, **BLOCK).status == 201
    assert store.get(ODD).bytes() == b"content"
    url = store.sign("GET", ODD, HOUR)
    assert use("GET", url, context=context) == (200, b"content")
    assert use("HEAD", store.sign("HEAD", ODD, HOUR), context=context).status == 200
    assert use("PUT", url, b"", context=context, **BLOCK).status == 403
    assert use("DELETE", url, context=context).status == 403
    assert use("GET", tampered(url), context=context).status == 403
    assert use("DELETE", store.sign("DELETE", ODD, HOUR), context=context).status == 202
    assert use("GET", url, context=context).status == 404


def test_by_the_accounts_key(azurite: AzureServer) -> None:
    check_each_method(container_store(azurite, account_key=KEY, prefix="pre"))


def test_by_a_provider_of_the_accounts_key(azurite: AzureServer) -> None:
    def provider() -> dict[str, Any]:
        return {"access_key": KEY, "expires_at": None}

    check_each_method(container_store(azurite, credential_provider=provider))


def test_by_a_token(azurite_tls: AzureServer) -> None:
    """A user delegation key is asked for, and what it signs is used without the token."""
    context = ssl.create_default_context(cafile=str(azurite_tls.ca_file))
    store = container_store(azurite_tls, token=jwt("https://storage.azure.com"))
    check_each_method(store, context)
    query = query_of(store.sign("GET", "x", HOUR))
    assert query["spr"] == "https"
    assert {"skoid", "sktid", "skt", "ske", "sks", "skv"} <= query.keys()


async def test_the_three_ways(azurite: AzureServer) -> None:
    store = container_store(azurite, account_key=KEY)
    store.put("a", b"1")
    store.put("b", b"2")
    for urls in (
        obs.sign(store, "GET", ["a", "b"], HOUR), await obs.sign_async(store, "GET", ["a", "b"], HOUR),
        obs.futures.sign(store, "GET", ["a", "b"], HOUR).result(),
    ):  # fmt: skip
        assert [use("GET", url).body for url in urls] == [b"1", b"2"]


def test_it_expires(azurite: AzureServer) -> None:
    store = container_store(azurite, account_key=KEY)
    store.put("x", b"1")
    url = store.sign("GET", "x", timedelta(seconds=2))
    until = time.monotonic() + 30
    while use("GET", url).status == 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert use("GET", url).status == 403


def test_one_delegation_key_for_many_paths(fault_server: FaultServer) -> None:
    fault_server.script("/", delegation_key())
    store = fault_store(fault_server, token="t0ken")
    before = datetime.now(timezone.utc)
    urls = store.sign("GET", ["a", "b"], timedelta(days=7))
    (asked,) = fault_server.requests
    assert (asked.method, asked.query) == ("POST", {"restype": "service", "comp": "userdelegationkey"})
    assert asked.header("authorization") == "Bearer t0ken"
    start, expiry = (_between(asked.body.decode(), name) for name in ("Start", "Expiry"))
    assert expiry - start <= timedelta(days=7)
    assert expiry >= before + timedelta(days=7) - timedelta(seconds=2)
    assert len({query_of(url)["sig"] for url in urls}) == 2
    assert [query_of(url)["skoid"] for url in urls] == ["o", "o"]


def _between(text: str, name: str) -> datetime:
    found = text.partition(f"<{name}>")[2].partition("<")[0]
    return datetime.strptime(found, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def test_a_key_that_is_none(fault_server: FaultServer) -> None:
    fault_server.script("/", Response.xml("<UserDelegationKey><SignedOid>o</SignedOid></UserDelegationKey>"))
    with pytest.raises(obs.exceptions.GenericError, match="lacks SignedTid"):
        fault_store(fault_server, token="t0ken").sign("GET", "x", HOUR)
    fault_server.script("/", Response.error(403, "AuthorizationPermissionMismatch", "no"))
    with pytest.raises(obs.exceptions.PermissionDeniedError, match="Storage Blob Data"):
        fault_store(fault_server, token="t0ken").sign("GET", "x", HOUR)


def test_how_long(fault_server: FaultServer) -> None:
    """An account's key sets no limit; a delegation key does, also when it turns out later that there is one."""
    assert fault_store(fault_server).sign("GET", "x", timedelta(days=365))
    with pytest.raises(ValueError, match="7 days"):
        fault_store(fault_server, token="t").sign("GET", "x", timedelta(days=8))
    of_provider = fault_store(fault_server, credential_provider=lambda: {"token": "t", "expires_at": None})
    with pytest.raises(ValueError, match="7 days"):
        of_provider.sign("GET", "x", timedelta(days=8))
    assert fault_server.requests == []


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "OPTIONS", "CONNECT"])
def test_methods_that_a_signature_can_not_stand_for(fault_server: FaultServer, method: Any) -> None:
    with pytest.raises(NotSupportedError, match=method):
        fault_store(fault_server).sign(method, "x", HOUR)


def test_who_can_not_sign(azurite: AzureServer, fault_server: FaultServer) -> None:
    container = azurite.new_container()
    with pytest.raises(NotSupportedError, match="account's key or a token"):
        container_store(azurite, container, sas_key=container_sas(azurite, container)).sign("GET", "x", HOUR)
    fault_server.script("/container/key", blob())
    with pytest.raises(UnauthenticatedError, match="skip_signature"):
        fault_store(fault_server, skip_signature=True).sign("GET", "x", HOUR)
