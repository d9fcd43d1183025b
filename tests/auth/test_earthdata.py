"""Earthdata: the fault server is DAAC (localhost) and login server (127.0.0.1), redirects and cookies as theirs."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import requests

from cumulo.auth.earthdata import (
    DEFAULT_EARTHDATA_HOST,
    NasaEarthdataAsyncCredentialProvider,
    NasaEarthdataCredentialProvider,
)
from cumulo.exceptions import GenericError, UnauthenticatedError
from cumulo.store import HTTPStore, S3Store
from tests.faults import FaultServer, Object, Request, Response

from .support import READS, signer

KEYS = {
    "accessKeyId": "AKDAAC", "secretAccessKey": "S", "sessionToken": "T", "expiration": "2099-01-01 00:00:00+00:00",
}  # fmt: skip
GIVEN = {
    "access_key_id": "AKDAAC", "secret_access_key": "S", "token": "T",
    "expires_at": datetime(2099, 1, 1, tzinfo=timezone.utc),
}  # fmt: skip
BASIC = "Basic " + base64.b64encode(b"user:pass:word").decode()
LOGIN = ("user", "pass:word")
PROVIDERS = (NasaEarthdataCredentialProvider, NasaEarthdataAsyncCredentialProvider)


class Daac:
    """A DAAC and its login server, on the fault server."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.port = urlsplit(server.url).port
        self.url = f"http://localhost:{self.port}/s3credentials"
        self.login = f"http://127.0.0.1:{self.port}"
        server.script("/s3credentials", self.credentials)
        server.script("/oauth/authorize", self.authorize)
        server.script("/login", self.back)

    def credentials(self, request: Request) -> Response:
        if request.header("authorization") == "Bearer t0ken" or request.header("cookie") == "accessToken=code1":
            return Response.of(json.dumps(KEYS).encode(), content_type="application/json")
        if request.header("authorization") == "Bearer bad":
            return Response(401, b"{}")
        query = "client_id=1&response_type=code&redirect_uri=x&state=%2Fs3credentials"
        return Response(307, b"", (("Location", f"{self.login}/oauth/authorize?{query}"),))

    def authorize(self, request: Request) -> Response:
        if request.header("authorization") != BASIC:
            return Response(401, b"HTTP Basic: Access denied.", (("WWW-Authenticate", "Basic"),))
        to = f"http://localhost:{self.port}/login?code=code1&state=%2Fs3credentials"
        return Response(302, b"", (("Location", to),))

    def back(self, request: Request) -> Response:
        cookies = (("Set-Cookie", "other=1; Path=/elsewhere"), ("Set-Cookie", "accessToken=code1; Path=/; HttpOnly"))
        return Response(302, b"", (("Location", "/s3credentials"), *cookies))

    def seen(self) -> list[tuple[str, str | None]]:
        """Where each request went, and its authorization."""
        return [
            (f"{(each.header('host') or '').partition(':')[0]}{each.path}", each.header("authorization"))
            for each in self.server.requests
        ]


BY_LOGIN = [
    ("localhost/s3credentials", None), ("127.0.0.1/oauth/authorize", BASIC), ("localhost/login", None),
    ("localhost/s3credentials", None),
]  # fmt: skip


@pytest.fixture
def daac(fault_server: FaultServer) -> Daac:
    return Daac(fault_server)


async def test_a_token(daac: Daac) -> None:
    assert NasaEarthdataCredentialProvider(daac.url, auth="t0ken")() == GIVEN
    assert await NasaEarthdataAsyncCredentialProvider(daac.url, auth="t0ken")() == GIVEN
    assert daac.seen() == [("localhost/s3credentials", "Bearer t0ken")] * 2


async def test_user_and_password(daac: Daac) -> None:
    """Which the login server sees, and nobody else."""
    assert NasaEarthdataCredentialProvider(daac.url, host="127.0.0.1", auth=LOGIN)() == GIVEN
    assert await NasaEarthdataAsyncCredentialProvider(daac.url, host="127.0.0.1", auth=LOGIN)() == GIVEN
    assert daac.seen() == BY_LOGIN * 2


async def test_sessions_of_the_callers(daac: Daac) -> None:
    with requests.Session() as session:
        provider = NasaEarthdataCredentialProvider(daac.url, host="127.0.0.1", auth=LOGIN, session=session)
        assert (provider(), provider.session) == (GIVEN, session)
    async with aiohttp.ClientSession() as aio:
        other = NasaEarthdataAsyncCredentialProvider(daac.url, host="127.0.0.1", auth=LOGIN, session=aio)
        assert await other() == GIVEN
        await other.close()
        assert aio.closed
    assert daac.seen() == BY_LOGIN * 2


async def test_a_session_of_the_callers_loop(daac: Daac) -> None:
    """Stores await providers on another one, so as not to depend on the caller's."""
    async with aiohttp.ClientSession() as session:
        provider = NasaEarthdataAsyncCredentialProvider(daac.url, auth="t0ken", session=session)
        options: Any = {"allow_http": True}
        store = S3Store("b", endpoint=daac.server.url, client_options=options, credential_provider=provider)
        with pytest.raises(UnauthenticatedError, match=r"belongs to another event loop.*cumulo's own event loop"):
            await store.get_async("x")


def test_a_session_does_not_bring_a_netrc_of_its_own(daac: Daac, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine localhost login wrong password wrong\n")
    with requests.Session() as session:
        assert NasaEarthdataCredentialProvider(daac.url, auth="t0ken", session=session)() == GIVEN
    assert daac.seen() == [("localhost/s3credentials", "Bearer t0ken")]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("kind", PROVIDERS)
@pytest.mark.parametrize("auth", ["t0ken", LOGIN])
def test_a_bucket(daac: Daac, kind: Any, auth: Any, read: Callable[[Any, str], bytes]) -> None:
    """The store takes its region from the provider; keys are fetched once."""
    daac.server.script("/protected/granule", Object(b"content"))
    provider = kind(daac.url, host="127.0.0.1", auth=auth)
    store = S3Store(
        "protected", endpoint=daac.server.url, client_options={"allow_http": True}, credential_provider=provider
    )
    assert store.config["region"] == "us-west-2"
    for _ in range(2):
        assert read(store, "granule") == b"content"
    reads = [each for each in daac.server.requests if each.path == "/protected/granule"]
    assert {signer(each) for each in reads} == {"AKDAAC us-west-2"}
    assert {each.header("x-amz-security-token") for each in reads} == {"T"}
    assert len(daac.seen()) - len(reads) == (1 if auth == "t0ken" else 4)


def test_from_the_environment(daac: Daac, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token before user and password, these before the netrc file; what is given before all."""
    monkeypatch.setenv("EARTHDATA_HOST", "127.0.0.1")
    provider = NasaEarthdataCredentialProvider(daac.url)
    with pytest.raises(UnauthenticatedError, match=r"EARTHDATA_TOKEN .*127\.0\.0\.1"):
        provider()
    (tmp_path / ".netrc").write_text("machine other login a password b\n")
    with pytest.raises(UnauthenticatedError, match="EARTHDATA_TOKEN"):
        provider()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password pass:word\n")
    assert provider() == GIVEN
    (tmp_path / "mine").write_text("machine 127.0.0.1 login user password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "mine"))
    with pytest.raises(UnauthenticatedError, match="not accepted"):
        provider()
    monkeypatch.setenv("EARTHDATA_USERNAME", "user")
    monkeypatch.setenv("EARTHDATA_PASSWORD", "pass:word")
    assert provider() == GIVEN
    monkeypatch.setenv("EARTHDATA_TOKEN", "bad")
    with pytest.raises(UnauthenticatedError, match="not accepted"):
        provider()
    assert NasaEarthdataCredentialProvider(daac.url, auth="t0ken")() == GIVEN


def test_a_netrc_that_is_none(daac: Daac, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password s3cret what is this\n")
    with pytest.raises(UnauthenticatedError, match="netrc") as caught:
        NasaEarthdataCredentialProvider(daac.url, host="127.0.0.1")()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_login_that_is_refused(daac: Daac, kind: Any) -> None:
    """The error of the read, with the provider's as its cause."""
    provider = kind(daac.url, host="127.0.0.1", auth=("user", "wr0ng"))
    store = S3Store("b", endpoint=daac.server.url, client_options={"allow_http": True}, credential_provider=provider)
    for read in READS.values():
        with pytest.raises(UnauthenticatedError, match="not accepted") as caught:
            read(store, "x")
        assert isinstance(caught.value.__cause__, UnauthenticatedError)
        assert caught.value.__cause__.__traceback__ is not None
        assert "wr0ng" not in str(caught.value)


def test_another_login_server_gets_no_password(daac: Daac) -> None:
    with pytest.raises(UnauthenticatedError):
        NasaEarthdataCredentialProvider(daac.url, host="urs.example.com", auth=LOGIN)()
    assert {authorization for _, authorization in daac.seen()} == {None}


def test_away_from_tls(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(fault_server.authority.ca_file))
    url = fault_server.tls_url()
    fault_server.script("/s3credentials", Response(302, b"", (("Location", f"{fault_server.url}/oauth/authorize"),)))
    with pytest.raises(UnauthenticatedError, match="away from TLS"):
        NasaEarthdataCredentialProvider(f"{url}/s3credentials", host="127.0.0.1", auth=LOGIN)()
    assert len(fault_server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Response.of(b"<html>"), "no JSON"),
        (Response.of(json.dumps({**KEYS, "expiration": None}).encode()), "lacks expiration"),
        (Response.of(json.dumps({**KEYS, "expiration": "soon"}).encode()), "ISO 8601"),
        (Response(404, b""), "HTTP 404"),
    ],
)
def test_answers_that_are_none(fault_server: FaultServer, answer: Response, says: str) -> None:
    fault_server.script("/s3credentials", answer)
    with pytest.raises(GenericError, match=says):
        NasaEarthdataCredentialProvider(f"{fault_server.url}/s3credentials", auth="t0ken")()


def test_round_and_round(daac: Daac) -> None:
    daac.server.script("/s3credentials", Response(302, b"", (("Location", "/s3credentials"),)))
    with pytest.raises(GenericError, match="redirects"):
        NasaEarthdataCredentialProvider(daac.url, auth=LOGIN)()


def test_a_token_that_leads_to_the_login(daac: Daac) -> None:
    with pytest.raises(UnauthenticatedError, match="asks to log in"):
        NasaEarthdataCredentialProvider(daac.url, auth="expired")()


def test_a_service_that_comes_back(daac: Daac) -> None:
    """Asked again while that helps."""
    daac.server.script("/s3credentials", [Response.error(503), daac.credentials])
    assert NasaEarthdataCredentialProvider(daac.url, auth="t0ken")() == GIVEN


def test_pickles(daac: Daac, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold what was given, and nothing of the environment."""
    monkeypatch.setenv("EARTHDATA_TOKEN", "t0ken")
    for kind in PROVIDERS:
        assert b"t0ken" not in pickle.dumps(kind(daac.url))
        provider = kind(daac.url, host="127.0.0.1", auth=LOGIN)
        store = S3Store("b", endpoint="http://x", client_options={"allow_http": True}, credential_provider=provider)
        again = pickle.loads(pickle.dumps(store)).credential_provider
        assert type(again) is kind
        assert vars(again) == vars(provider)
    with requests.Session() as session:
        assert pickle.loads(pickle.dumps(NasaEarthdataCredentialProvider(daac.url, session=session)))() == GIVEN


@pytest.mark.parametrize("auth", ["", 1, ("user",), ("user", 1)])
def test_what_is_no_login(auth: Any) -> None:
    with pytest.raises(ValueError, match="auth"):
        NasaEarthdataCredentialProvider("https://example.com/s3credentials", auth=auth)


def test_by_default() -> None:
    provider = NasaEarthdataCredentialProvider("https://example.com/s3credentials")
    assert DEFAULT_EARTHDATA_HOST == "urs.earthdata.nasa.gov"
    assert (provider._host, provider.session) == (DEFAULT_EARTHDATA_HOST, None)
    provider.close()
    with pytest.raises(ValueError, match="https"):
        NasaEarthdataCredentialProvider("s3://bucket/x")


def test_over_https_with_a_token(daac: Daac) -> None:
    """Outside of us-west-2: the DAAC's data URL redirects to a signed one on another host, which gets no token."""

    def granule(request: Request) -> Response:
        if request.header("authorization") != "Bearer t0ken":
            return Response(401, b"")
        return Response(303, b"", (("Location", f"{daac.login}/cdn/granule?sig=1"),))

    daac.server.script("/protected/granule", granule)
    daac.server.script("/cdn/granule", Object(b"content"))
    options: Any = {"allow_http": True, "default_headers": {"Authorization": "Bearer t0ken"}}
    store = HTTPStore(f"http://localhost:{daac.port}/protected", client_options=options)
    for read in READS.values():
        assert read(store, "granule") == b"content"
    assert {each.header("authorization") for each in daac.server.requests if each.path == "/cdn/granule"} == {None}
