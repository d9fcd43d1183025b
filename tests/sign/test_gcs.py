"""Cloud Storage's signed URLs. No server at hand verifies them: google-cloud-storage is the second opinion."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

import cumulo as obs
from cumulo.exceptions import NotSupportedError, UnauthenticatedError
from cumulo.store import GCSStore
from tests.faults import FaultServer, Request, Response
from tests.gcs.support import fault_store, make_store
from tests.gcs.test_credentials import account, private_key, token_answer
from tests.servers.gcs_emulator import Emulator

from .support import HOUR, query_of, use

ODD = "a dir/ä + %20~'()*!,;=&$@:.tif"
EMAIL = "a@p.iam.gserviceaccount.com"
SIGN_BLOB = f"/v1/projects/-/serviceAccounts/{EMAIL}:signBlob"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but a test's own."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def theirs(url: str, key: str, method: str = "GET", **query: str) -> str:
    """The same by google-cloud-storage, for the moment at which `url` was signed."""
    from google.cloud.storage._signing import generate_signed_url_v4
    from google.oauth2.service_account import Credentials

    info = {
        "type": "service_account", "private_key": private_key(), "client_email": EMAIL,
        "token_uri": "https://example.com/token",
    }  # fmt: skip
    parts = urlsplit(url)
    return generate_signed_url_v4(
        Credentials.from_service_account_info(info), resource=f"/bucket/{quote(key, safe=b'/~')}",
        api_access_endpoint=f"{parts.scheme}://{parts.netloc}", expiration=int(query_of(url)["X-Goog-Expires"]),
        method=method, query_parameters=query or None, _request_timestamp=query_of(url)["X-Goog-Date"],
    )  # fmt: skip


def google_store(fault_server: FaultServer, **options: Any) -> GCSStore:
    text = json.dumps(account(fault_server))
    return GCSStore("bucket", service_account_key=text, **options)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "HEAD", "PATCH", "TRACE", "DELETE", "OPTIONS", "CONNECT"])
def test_it_is_what_google_cloud_storage_makes(fault_server: FaultServer, method: Any) -> None:
    store = google_store(fault_server, prefix="pre")
    url = store.sign(method, ODD, HOUR)
    assert urlsplit(url).netloc == "storage.googleapis.com"
    assert url == theirs(url, f"pre/{ODD}", method)
    assert fault_server.requests == []


def test_requesters_pay(fault_server: FaultServer) -> None:
    url = google_store(fault_server, user_project="p-1").sign("GET", ODD, HOUR)
    assert query_of(url)["userProject"] == "p-1"
    assert url == theirs(url, ODD, userProject="p-1")


async def test_the_three_ways(fault_server: FaultServer) -> None:
    store = google_store(fault_server)
    for urls in (
        obs.sign(store, "GET", ["a", "b"], HOUR), await obs.sign_async(store, "GET", ["a", "b"], HOUR),
        obs.futures.sign(store, "GET", ["a", "b"], HOUR).result(),
    ):  # fmt: skip
        assert urls == [theirs(url, key) for url, key in zip(urls, "ab", strict=True)]
    assert store.sign("GET", [], HOUR) == []


def test_where_the_key_is(fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(account(fault_server)))
    for options in ({"service_account": str(path)}, {"application_credentials": str(path)}):
        url = GCSStore("bucket", **options).sign("GET", "x", HOUR)
        assert url == theirs(url, "x")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    url = GCSStore("bucket").sign("GET", "x", HOUR)
    assert url == theirs(url, "x")


@pytest.mark.server
def test_a_plain_client_on_the_emulator(gcs_emulator: Emulator, fault_server: FaultServer) -> None:
    """Which does not look at signatures: this shows host, path and query to be as its clients have them."""
    text = json.dumps(account(fault_server))
    store = make_store(gcs_emulator.url, gcs_emulator.new_bucket(), service_account_key=text)
    assert use("PUT", store.sign("PUT", "a dir/x+ä.tif", HOUR), b"content").status == 200
    assert gcs_emulator.objects(store.config["bucket"]) == {"a dir/x+ä.tif": b"content"}
    assert use("GET", store.sign("GET", "a dir/x+ä.tif", HOUR)) == (200, b"content")


# -- by IAM, where there is only a token


@pytest.fixture
def iam(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """IAM Service Account Credentials API, signBlob, as its reference says; it signs with the account's key."""
    monkeypatch.setattr(
        "google.auth.iam._IAM_SIGN_ENDPOINT", f"{fault_server.url}/v1/projects/-/serviceAccounts/{{}}:signBlob"
    )
    fault_server.script(SIGN_BLOB, sign_blob, method="POST")
    return fault_server


def sign_blob(request: Request) -> Response:
    from google.auth.crypt import RSASigner

    assert request.header("authorization") == "Bearer t0ken"
    signature = RSASigner.from_string(private_key()).sign(base64.b64decode(json.loads(request.body)["payload"]))
    text = json.dumps({"keyId": "1", "signedBlob": base64.b64encode(signature).decode()})
    return Response.of(text.encode(), content_type="application/json")


def expiring() -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=1)


def test_by_a_providers_token(iam: FaultServer) -> None:
    def provider() -> dict[str, Any]:
        return {"token": "t0ken", "expires_at": expiring()}

    provider.service_account_email = EMAIL
    urls = GCSStore("bucket", credential_provider=provider).sign("GET", ["x", "y"], HOUR)
    assert urls == [theirs(url, key) for url, key in zip(urls, "xy", strict=True)]
    assert len(iam.requests) == 2


def test_by_a_providers_google_credentials(iam: FaultServer) -> None:
    """Whatever of google-auth's the provider has: with an account's name IAM signs, with its key nobody is asked."""
    from google.oauth2.credentials import Credentials
    from google.oauth2.service_account import Credentials as OfAccount

    class Provider:
        def __init__(self, credentials: Any) -> None:
            self.credentials = credentials

        def __call__(self) -> dict[str, Any]:
            return {"token": "t0ken", "expires_at": expiring()}

    class WithEmail(Credentials):
        service_account_email = EMAIL

    url = GCSStore("bucket", credential_provider=Provider(WithEmail("t0ken"))).sign("GET", "x", HOUR)
    assert (url, len(iam.requests)) == (theirs(url, "x"), 1)
    by_key: Any = OfAccount.from_service_account_info(account(iam))
    url = GCSStore("bucket", credential_provider=Provider(by_key)).sign("GET", "x", HOUR)
    assert (url, len(iam.requests)) == (theirs(url, "x"), 1)
    with pytest.raises(NotSupportedError, match="user's login"):
        GCSStore("bucket", credential_provider=Provider(Credentials("t0ken"))).sign("GET", "x", HOUR)


def test_on_a_machine_of_googles(iam: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata server has token and email, IAM signs. In a process of its own: the host is read on import."""
    flavor = (("Metadata-Flavor", "Google"), ("Content-Type", "application/json"))
    base = "/computeMetadata/v1/instance/service-accounts/default/"

    def metadata(request: Request) -> Response:
        if request.path.endswith("/token"):
            return token_answer("t0ken").but(headers=flavor)
        if request.path == base:
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            return Response(body=json.dumps({"email": EMAIL, "scopes": scopes}).encode(), headers=flavor)
        body = b"googleapis.com" if request.path.endswith("universe-domain") else b"p"
        return Response(body=body, headers=(("Metadata-Flavor", "Google"), ("Content-Type", "text/plain")))

    root = "/computeMetadata/v1/"
    for path in ("project/project-id", "universe/universe-domain", f"instance/service-accounts/{EMAIL}/token"):
        iam.script(root + path, metadata)
    for path in ("/", base, base + "token"):
        iam.script(path, metadata)
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, urlsplit(iam.url).netloc)
    program = (
        "import google.auth.iam\n"
        f"google.auth.iam._IAM_SIGN_ENDPOINT = {iam.url!r} + '/v1/projects/-/serviceAccounts/{{}}:signBlob'\n"
        "from datetime import timedelta\n"
        "from cumulo.store import GCSStore\n"
        "print(GCSStore('bucket').sign('GET', 'x', timedelta(hours=1)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    url = done.stdout.strip()
    assert url == theirs(url, "x")


def test_iam_refuses(iam: FaultServer) -> None:
    refusal = {"error": {"code": 403, "message": "Permission 'iam.serviceAccounts.signBlob' denied"}}
    iam.script(SIGN_BLOB, Response.of(json.dumps(refusal).encode()).but(status=403), method="POST")

    class Provider:
        service_account_email = EMAIL

        def __call__(self) -> dict[str, Any]:
            return {"token": "t0ken", "expires_at": None}

    with pytest.raises(UnauthenticatedError, match=r"signBlob.* denied") as caught:
        GCSStore("bucket", credential_provider=Provider()).sign("GET", "x", HOUR)
    assert caught.value.__cause__ is not None


def test_who_can_not_sign(fault_server: FaultServer, tmp_path: Path) -> None:
    with pytest.raises(UnauthenticatedError, match="skip_signature"):
        fault_store(fault_server).sign("GET", "x", HOUR)
    with pytest.raises(NotSupportedError, match="service_account_email"):
        fault_store(fault_server, bearer_token="t0ken").sign("GET", "x", HOUR)
    with pytest.raises(NotSupportedError, match="service_account_email"):
        fault_store(fault_server, credential_provider=lambda: {"token": "t", "expires_at": None}).sign("GET", "x", HOUR)
    user = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "user.json").write_text(json.dumps(user))
    with pytest.raises(NotSupportedError, match="user's login"):
        fault_store(fault_server, application_credentials=str(tmp_path / "user.json")).sign("GET", "x", HOUR)
    with pytest.raises(UnauthenticatedError, match=r"none\.json"):
        fault_store(fault_server, application_credentials=str(tmp_path / "none.json")).sign("GET", "x", HOUR)
    with pytest.raises(ValueError, match="7 days"):
        google_store(fault_server).sign("GET", "x", timedelta(days=8))
    assert fault_server.requests == []
