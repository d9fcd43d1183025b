"""S3's signed URLs, in the hands of clients that know nothing else, on servers that verify them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest

import cumulo as obs
from cumulo._providers.presign import aws_signature, signed_urls
from cumulo.exceptions import InvalidPathError, NotSupportedError, UnauthenticatedError
from cumulo.store import HTTPStore, LocalStore, MemoryStore, S3Store
from tests.faults import FaultServer
from tests.s3.support import fault_store, server_store
from tests.servers import S3Server

from .support import HOUR, query_of, tampered, use

VERIFYING = ("ministack", "rclone", "swift")
ODD = "a dir/ä + %20~'()*!,;=&$@:.tif"


@pytest.fixture(params=VERIFYING)
def server(request: pytest.FixtureRequest) -> S3Server:
    """Servers that refuse a wrong signature."""
    found: S3Server = request.getfixturevalue(request.param)
    return found


def test_each_method(server: S3Server) -> None:
    store = server_store(server)
    assert use("PUT", store.sign("PUT", ODD, HOUR), b"content").status == 200
    assert store.get(ODD).bytes() == b"content"
    url = store.sign("GET", ODD, HOUR)
    assert use("GET", url) == (200, b"content")
    assert use("HEAD", store.sign("HEAD", ODD, HOUR)).status == 200
    assert use("DELETE", store.sign("DELETE", ODD, HOUR)).status == 204
    assert use("GET", url).status == 404
    assert use("GET", tampered(url)).status in (400, 403)
    assert use("GET", url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")).status in (400, 403)
    assert use("PUT", url, b"another method").status in (400, 403)


def test_it_expires(ministack: S3Server) -> None:
    store = server_store(ministack)
    store.put("x", b"1")
    url = store.sign("GET", "x", timedelta(seconds=1.9))
    assert query_of(url)["X-Amz-Expires"] == "1"
    until = time.monotonic() + 30
    while use("GET", url).status == 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert use("GET", url).status == 403


async def test_the_three_ways(ministack: S3Server) -> None:
    store = server_store(ministack, prefix="pre/fix")
    store.put("a", b"1")
    store.put("b", b"2")
    for urls in (
        obs.sign(store, "GET", ["a", "b"], HOUR),
        await obs.sign_async(store, "GET", ["a", "b"], HOUR),
        obs.futures.sign(store, "GET", ("a", "b"), HOUR).result(),
    ):
        assert isinstance(urls, list)
        assert [use("GET", url).body for url in urls] == [b"1", b"2"]
    for url in (
        obs.sign(store, "GET", "a", HOUR), await obs.sign_async(store, "GET", "a", HOUR),
        obs.futures.sign(store, "GET", "a", HOUR).result(),
    ):  # fmt: skip
        assert use("GET", url) == (200, b"1")
    assert store.sign("GET", [], HOUR) == []


def test_session_tokens(ministack: S3Server) -> None:
    sts = ministack.boto3_client("sts")
    keys = sts.get_session_token()["Credentials"]
    sts.close()
    plain = server_store(ministack)
    plain.put("x", b"1")
    given = {
        "access_key_id": keys["AccessKeyId"], "secret_access_key": keys["SecretAccessKey"],
        "session_token": keys["SessionToken"],
    }  # fmt: skip
    store = server_store(ministack, bucket=plain.config["bucket"], **given)
    url = store.sign("GET", "x", HOUR)
    assert query_of(url)["X-Amz-Security-Token"] == keys["SessionToken"]
    assert use("GET", url) == (200, b"1")
    without = server_store(ministack, bucket=plain.config["bucket"], **{**given, "session_token": None})
    assert use("GET", without.sign("GET", "x", HOUR)).status in (400, 403)


def test_virtual_hosts(ministack: S3Server) -> None:
    bucket = server_store(ministack).config["bucket"]
    port = urlsplit(ministack.endpoint).port
    store = S3Store(
        bucket, endpoint=f"http://{bucket}.s3.localhost:{port}", virtual_hosted_style_request=True,
        region=ministack.region, client_options={"allow_http": True}, access_key_id=ministack.access_key_id,
        secret_access_key=ministack.secret_access_key,
    )  # fmt: skip
    url = store.sign("PUT", "x", HOUR)
    assert urlsplit(url).path == "/x"
    host = f"{bucket}.s3.localhost:{port}"
    assert use("PUT", url, b"1", host=host).status == 200
    assert use("GET", store.sign("GET", "x", HOUR), host=host) == (200, b"1")
    assert use("GET", tampered(store.sign("GET", "x", HOUR)), host=host).status == 403


def test_keys_of_a_provider(ministack: S3Server) -> None:
    """Fetched once, for requests and signatures alike, whoever comes first."""
    calls: list[int] = []

    async def provider() -> dict[str, Any]:
        calls.append(1)
        return {
            "access_key_id": ministack.access_key_id, "secret_access_key": ministack.secret_access_key,
            "token": None, "expires_at": datetime.now(timezone.utc) + HOUR,
        }  # fmt: skip

    store = server_store(ministack, access_key_id=None, secret_access_key=None, credential_provider=provider)
    assert use("PUT", store.sign("PUT", "x", HOUR), b"1").status == 200
    assert store.get("x").bytes() == b"1"
    assert use("GET", store.sign("GET", "x", HOUR)).body == b"1"
    assert calls == [1]


def test_keys_that_are_about_to_expire_are_replaced_and_kept_when_that_fails(fault_server: FaultServer) -> None:
    calls: list[int] = []

    def provider() -> dict[str, Any]:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("no more")
        expires = datetime.now(timezone.utc) + timedelta(seconds=60)
        return {"access_key_id": f"AK{len(calls)}", "secret_access_key": "s", "token": None, "expires_at": expires}

    store = fault_store(fault_server, access_key_id=None, secret_access_key=None, credential_provider=provider)

    def who() -> str:
        return query_of(store.sign("GET", "x", HOUR))["X-Amz-Credential"].partition("/")[0]

    assert (who(), who(), calls) == ("AK1", "AK1", [1])
    source = store._use().source
    assert source is not None
    source.owner.fresh_until_ms = 1  # as if the time had come
    assert (who(), who(), len(calls)) == ("AK2", "AK2", 2)
    source.owner.fresh_until_ms = 1
    assert (who(), who(), len(calls)) == ("AK2", "AK2", 3)


def test_a_provider_that_fails(fault_server: FaultServer) -> None:
    def provider() -> dict[str, Any]:
        raise RuntimeError("the vault is closed")

    store = fault_store(fault_server, access_key_id=None, secret_access_key=None, credential_provider=provider)
    with pytest.raises(UnauthenticatedError, match="the vault is closed") as caught:
        store.sign("GET", "x", HOUR)
    assert "the vault is closed" in str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__.__cause__, RuntimeError)


def test_the_example_of_the_reference() -> None:
    """Amazon S3 API reference, "Authenticating Requests: Using Query Parameters", its example's figures."""
    when = datetime(2013, 5, 24, tzinfo=timezone.utc).timestamp()
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    signature = aws_signature("AKIAIOSFODNN7EXAMPLE", secret, "us-east-1", "s3", when)
    (url,) = signed_urls(signature, "GET", "https://examplebucket.s3.amazonaws.com", ["/test.txt"], 86400, {})
    assert url.endswith("&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")


def same_second(ours: Callable[[], str], theirs: Callable[[], str]) -> tuple[str, str]:
    """Both URLs, signed at one time."""
    while True:
        mine, other = ours(), theirs()
        if query_of(mine)["X-Amz-Date"] == query_of(other)["X-Amz-Date"]:
            return mine, other


@pytest.mark.parametrize("options", [{}, {"session_token": "T/+="}])
def test_it_is_what_botocore_makes(options: dict[str, Any]) -> None:
    import boto3
    from botocore.config import Config

    store = S3Store("bucket", region="eu-west-1", access_key_id="AK", secret_access_key="S", **options)
    client = boto3.client(
        "s3", region_name="eu-west-1", aws_access_key_id="AK", aws_secret_access_key="S",
        aws_session_token=options.get("session_token"), endpoint_url="https://s3.eu-west-1.amazonaws.com",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )  # fmt: skip
    ours, theirs = same_second(
        lambda: store.sign("GET", ODD, HOUR),
        lambda: client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": ODD}, 3600),
    )
    client.close()
    assert ours.partition("?")[0] == theirs.partition("?")[0]
    assert query_of(ours) == query_of(theirs)


def test_requesters_pay(ministack: S3Server) -> None:
    """As a parameter, as the S3 user guide has it ("Using Requester Pays buckets"): clients need send no header."""
    store = server_store(ministack, request_payer=True)
    store.put("x", b"1")
    url = store.sign("GET", "x", HOUR)
    assert query_of(url)["x-amz-request-payer"] == "requester"
    assert use("GET", url) == (200, b"1")
    assert use("GET", url.replace("&x-amz-request-payer=requester", "")).status == 403


def test_directory_buckets(fault_server: FaultServer) -> None:
    """Signed by the session's keys, with its token under its own name, as AWS's SDKs do."""
    from tests.faults import Response

    until = (datetime.now(timezone.utc) + timedelta(seconds=300)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {"SessionToken": "T", "SecretAccessKey": "S", "AccessKeyId": "AK", "Expiration": until}
    text = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    fault_server.default = Response.xml(f"<CreateSessionResult><Credentials>{text}</Credentials></CreateSessionResult>")
    query = query_of(fault_store(fault_server, s3_express=True).sign("GET", "x", HOUR))
    assert query["X-Amz-Credential"].startswith("AK/")
    assert query["X-Amz-Credential"].endswith("/us-east-1/s3express/aws4_request")
    assert query["X-Amz-S3session-Token"] == "T"
    assert "X-Amz-Security-Token" not in query


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"])
def test_obstore_signs_alike(method: Any) -> None:
    import obstore

    options: dict[str, Any] = {
        "region": "us-east-1", "access_key_id": "AK", "secret_access_key": "S", "session_token": "T/+=",
    }  # fmt: skip
    mine, theirs = S3Store("bucket", **options), obstore.store.S3Store("bucket", **options)
    ours, other = same_second(lambda: mine.sign(method, "a b", HOUR), lambda: obstore.sign(theirs, method, "a b", HOUR))
    assert query_of(ours) == query_of(other)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("GET", "x", timedelta(0)), ValueError, "a second at least"),
        (("GET", "x", timedelta(seconds=-5)), ValueError, "a second at least"),
        (("GET", "x", timedelta(milliseconds=999)), ValueError, "a second at least"),
        (("GET", "x", timedelta(days=7, seconds=1)), ValueError, "7 days"),
        (("GET", "x", 3600), TypeError, "timedelta"),
        (("get", "x", HOUR), ValueError, "HTTP method"),
        ((1, "x", HOUR), TypeError, "method"),
        (("GET", "", HOUR), InvalidPathError, "empty"),
        (("GET", ["x", 1], HOUR), TypeError, "path"),
    ],
)
def test_what_can_not_be(fault_server: FaultServer, arguments: Any, error: type[Exception], says: str) -> None:
    """Said before anything is asked for: this store's keys would have to be fetched."""

    def provider() -> dict[str, Any]:
        raise AssertionError("asked")

    store = fault_store(fault_server, access_key_id=None, secret_access_key=None, credential_provider=provider)
    with pytest.raises(error, match=says):
        store.sign(*arguments)


def test_the_longest() -> None:
    store = S3Store("bucket", region="us-east-1", access_key_id="AK", secret_access_key="S")
    assert query_of(store.sign("GET", "x", timedelta(days=7)))["X-Amz-Expires"] == "604800"


def test_who_can_not_sign(tmp_path: Any) -> None:
    with pytest.raises(UnauthenticatedError, match="skip_signature"):
        S3Store("bucket", skip_signature=True).sign("GET", "x", HOUR)
    for store in (MemoryStore(), LocalStore(tmp_path), HTTPStore("https://example.com")):
        for function in (obs.sign, obs.sign_async, obs.futures.sign):
            with pytest.raises(NotSupportedError, match="no signed URLs"):
                function(store, "GET", "x", HOUR)
