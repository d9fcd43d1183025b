"""Tokens by google-auth, from a token endpoint as Google's."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from google.oauth2.service_account import Credentials

from cumulo.auth.google import DEFAULT_SCOPES, GoogleAsyncCredentialProvider, GoogleCredentialProvider
from cumulo.exceptions import MissingExtraError, UnauthenticatedError
from tests.faults import FaultServer, Object, Response
from tests.gcs.support import PATH, fault_store
from tests.gcs.test_credentials import account, token_answer

from .support import READS

PROVIDERS = (GoogleCredentialProvider, GoogleAsyncCredentialProvider)


@pytest.fixture
def origin(fault_server: FaultServer) -> FaultServer:
    fault_server.script(PATH, Object(b"content"))
    fault_server.script("/token", token_answer("fetched"), method="POST")
    return fault_server


def of_account(server: FaultServer) -> Any:
    return Credentials.from_service_account_info(account(server), scopes=DEFAULT_SCOPES)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_service_account(origin: FaultServer, kind: Any, read: Callable[[Any, str], bytes]) -> None:
    store = fault_store(origin, credential_provider=kind(of_account(origin)))
    for _ in range(2):
        assert read(store, "key") == b"content"
    assert {each.header("authorization") for each in origin.seen(PATH)} == {"Bearer fetched"}
    (asked,) = origin.seen("/token")
    assert parse_qs(asked.body.decode())["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


@pytest.mark.parametrize("kind", PROVIDERS)
def test_by_default(origin: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """google-auth's search; nothing of what it finds is pickled."""
    (tmp_path / "adc.json").write_text(json.dumps(account(origin)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    provider = kind()
    assert READS["sync"](fault_store(origin, credential_provider=provider), "key") == b"content"
    text = pickle.dumps(provider)
    assert len(text) < 200
    assert READS["sync"](fault_store(origin, credential_provider=pickle.loads(text)), "key") == b"content"


@pytest.mark.parametrize("kind", PROVIDERS)
def test_what_is_given_is_pickled(origin: FaultServer, kind: Any) -> None:
    provider = kind(of_account(origin), refresh_threshold=timedelta(minutes=1))
    again = pickle.loads(pickle.dumps(provider))
    assert again.refresh_threshold == timedelta(minutes=1)
    assert READS["sync"](fault_store(origin, credential_provider=again), "key") == b"content"


async def test_what_they_return(origin: FaultServer) -> None:
    for found in (
        GoogleCredentialProvider(of_account(origin))(),
        await GoogleAsyncCredentialProvider(of_account(origin))(),
    ):
        assert found["token"] == "fetched"
        assert found["expires_at"] is not None
        left = found["expires_at"] - datetime.now(timezone.utc)
        assert timedelta(minutes=50) < left < timedelta(minutes=70)
    assert GoogleCredentialProvider(of_account(origin)).refresh_threshold == timedelta(seconds=225)


def test_credentials_that_are_awaited(origin: FaultServer) -> None:
    """google-auth's own for aiohttp have an async `refresh`."""

    class Awaited:
        token, expiry = None, None
        loops: list[Any]

        def __init__(self) -> None:
            self.loops = []

        async def refresh(self, request: Any) -> None:
            self.loops.append((asyncio.get_running_loop(), request))
            self.token, self.expiry = "awaited", datetime.now(timezone.utc).replace(tzinfo=None) + timedelta(hours=1)

    credentials = Awaited()
    provider = GoogleAsyncCredentialProvider(credentials, request="transport")
    assert READS["async"](fault_store(origin, credential_provider=provider), "key") == b"content"
    assert [request for _, request in credentials.loops] == ["transport"]
    assert origin.seen(PATH)[0].header("authorization") == "Bearer awaited"


def test_a_transport_of_the_callers(origin: FaultServer) -> None:
    from google.auth.transport.requests import Request

    asked: list[str] = []

    class Transport(Request):
        def __call__(self, url: str, *arguments: Any, **options: Any) -> Any:
            asked.append(url)
            return super().__call__(url, *arguments, **options)

    provider = GoogleCredentialProvider(of_account(origin), request=Transport())
    assert provider()["token"] == "fetched"
    assert asked == [f"{origin.url}/token"]


@pytest.mark.parametrize("kind", PROVIDERS)
def test_an_account_that_is_refused(origin: FaultServer, kind: Any) -> None:
    text = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
    origin.script("/token", Response.of(text.encode(), content_type="application/json").but(status=400), method="POST")
    store = fault_store(origin, credential_provider=kind(of_account(origin)))
    for read in READS.values():
        with pytest.raises(UnauthenticatedError, match="Invalid JWT Signature") as caught:
            read(store, "key")
        assert type(caught.value.__cause__).__name__ == "RefreshError"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cumulo._credentials.google.find_spec", lambda name: None)
    for kind in PROVIDERS:
        with pytest.raises(MissingExtraError, match=r"cumulo\[gcs\]"):
            kind()
