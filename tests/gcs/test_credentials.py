"""Whose token goes along, and where it comes from. The fault server plays Google's services, as documented."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cumulo.exceptions import UnauthenticatedError
from tests.faults import FaultServer, Object, Request, Response

from .support import PATH, TOKEN, fault_store


@cache
def private_key() -> str:
    """A key as Google makes them for service accounts."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *form).decode()


def token_answer(token: str, expires_in: int = 3600) -> Response:
    """https://developers.google.com/identity/protocols/oauth2/service-account"""
    text = json.dumps({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"})
    return Response.of(text.encode(), content_type="application/json")


def account(server: FaultServer, **more: Any) -> dict[str, Any]:
    return {
        "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": private_key(),
        "client_email": "a@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": f"{server.url}/token", **more,
    }  # fmt: skip


def sent(server: FaultServer) -> list[str | None]:
    """The authorizations of the requests for the object."""
    return [each.header("authorization") for each in server.requests if each.path == PATH]


@pytest.fixture
def origin(fault_server: FaultServer) -> FaultServer:
    fault_server.script(PATH, Object(b"content"))
    fault_server.script("/token", token_answer("fetched"), method="POST")
    return fault_server


def test_service_accounts(origin: FaultServer, tmp_path: Path) -> None:
    text = json.dumps(account(origin))
    (tmp_path / "a.json").write_text(text)
    for options in ({"service_account_key": text}, {"service_account": str(tmp_path / "a.json")},
                    {"application_credentials": str(tmp_path / "a.json")}):  # fmt: skip
        store = fault_store(origin, **options)
        assert store.get("key").bytes() == b"content"
        assert store.get_range("key", start=0, length=3) == b"con"
        assert private_key() not in repr(store)
    assert set(sent(origin)) == {"Bearer fetched"}
    asked = [each for each in origin.requests if each.path == "/token"]
    assert len(asked) == 2, "the two of the same key share their tokens"
    form = parse_qs(asked[0].body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_the_variables_that_google_auth_reads(
    origin: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adc.json").write_text(json.dumps(account(origin)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    assert fault_store(origin, skip_signature=False).get("key").bytes() == b"content"
    assert sent(origin) == ["Bearer fetched"]


def test_the_users_login(origin: FaultServer, tmp_path: Path) -> None:
    """Where `gcloud auth application-default login` leaves credentials. (A user's own go to Google only.)"""
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    (folder / "application_default_credentials.json").write_text(json.dumps(account(origin)))
    assert fault_store(origin, skip_signature=False).get("key").bytes() == b"content"
    assert sent(origin) == ["Bearer fetched"]


def test_workload_identity(origin: FaultServer, tmp_path: Path) -> None:
    """https://cloud.google.com/iam/docs/workload-identity-federation: a file's token for one of Google's."""
    (tmp_path / "subject").write_text("subject-token")
    external = {
        "type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "token_url": f"{origin.url}/sts", "credential_source": {"file": str(tmp_path / "subject")},
    }  # fmt: skip
    answer = json.loads(bytes(token_answer("federated").body))
    answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
    origin.script("/sts", Response.of(json.dumps(answer).encode(), content_type="application/json"), method="POST")
    (tmp_path / "adc.json").write_text(json.dumps(external))
    store = fault_store(origin, application_credentials=str(tmp_path / "adc.json"))
    assert store.get("key").bytes() == b"content"
    assert sent(origin) == ["Bearer federated"]
    [asked] = [each for each in origin.requests if each.path == "/sts"]
    assert parse_qs(asked.body.decode())["subject_token"] == ["subject-token"]


def test_the_metadata_server(origin: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """https://cloud.google.com/compute/docs/metadata. In a process of its own: google-auth reads its host on import."""
    flavor = (("Metadata-Flavor", "Google"), ("Content-Type", "application/json"))
    base = "/computeMetadata/v1/instance/service-accounts/default/"

    def metadata(request: Request) -> Response:
        assert request.header("metadata-flavor") == "Google"
        if request.path.endswith("/token"):
            return token_answer("of the machine").but(headers=flavor)
        if request.path == base:
            text = json.dumps({"email": "a@b", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]})
            return Response(body=text.encode(), headers=flavor)
        return Response(body=b"p", headers=(("Metadata-Flavor", "Google"), ("Content-Type", "text/plain")))

    root = "/computeMetadata/v1/"
    for path in ("project/project-id", "universe/universe-domain", "instance/service-accounts/a@b/token"):
        origin.script(root + path, metadata)
    for path in ("/", base, base + "token"):
        origin.script(path, metadata)
    host = urlsplit(origin.url).netloc
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, host)
    program = (
        "from cumulo.store import GCSStore\n"
        f"store = GCSStore('bucket', base_url={origin.url!r}, client_options={{'allow_http': True}})\n"
        "assert store.get('key').bytes() == b'content'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert sent(origin) == ["Bearer of the machine"]


def test_a_provider(origin: FaultServer) -> None:
    calls: list[int] = []

    def provider() -> dict[str, Any]:
        calls.append(1)
        return {"token": TOKEN, "expires_at": datetime.now(timezone.utc) + timedelta(hours=1)}

    async def later() -> dict[str, Any]:
        return {"token": "later", "expires_at": None}

    for given, text in ((provider, TOKEN), (later, "later")):
        store = fault_store(origin, credential_provider=given)
        for _ in range(3):
            assert store.get("key").bytes() == b"content"
        assert sent(origin)[-1] == f"Bearer {text}"
        assert store.credential_provider is given
    assert len(calls) == 1


@pytest.mark.parametrize(
    "answer", [None, {}, {"token": TOKEN}, {"token": 5, "expires_at": None}, {"token": TOKEN, "expires_at": 5},
               {"token": TOKEN, "expires_at": datetime(2030, 1, 1)}, {"token": f"{TOKEN}\r\nX: y", "expires_at": None}]
)  # fmt: skip
def test_providers_that_give_none(origin: FaultServer, answer: Any) -> None:
    with pytest.raises(UnauthenticatedError, match="credential provider") as caught:
        fault_store(origin, credential_provider=lambda: answer).get("key")
    assert TOKEN not in str(caught.value)
    assert sent(origin) == []


def test_a_token_that_is_refused_is_fetched_anew(fault_server: FaultServer) -> None:
    tokens = iter(["old", "new"])
    good = ["Bearer old"]

    def answer(request: Request) -> Response:
        return Object(b"content")(request) if request.header("authorization") in good else Response.error(401)

    fault_server.script(PATH, answer)
    store = fault_store(fault_server, credential_provider=lambda: {"token": next(tokens), "expires_at": None})
    assert store.get("key").bytes() == b"content"
    good[:] = ["Bearer new"]
    time.sleep(5.2)  # a token that has only just come is not at fault
    assert store.get("key").bytes() == b"content"
    assert sent(fault_server) == ["Bearer old", "Bearer old", "Bearer new"]


def test_why_there_is_no_token(origin: FaultServer, tmp_path: Path) -> None:
    origin.script("/refuse", Response.of(b'{"error": "invalid_grant"}', status=400), method="POST")
    broken = account(origin, token_uri=f"{origin.url}/refuse")
    with pytest.raises(UnauthenticatedError, match="service account.*invalid_grant"):
        fault_store(origin, service_account_key=json.dumps(broken)).get("key")
    with pytest.raises(UnauthenticatedError, match="private_key|key"):
        fault_store(origin, service_account_key=json.dumps({**broken, "private_key": "no key"})).get("key")
    with pytest.raises(UnauthenticatedError, match="missing.json"):
        fault_store(origin, application_credentials=str(tmp_path / "missing.json")).get("key")


def test_who_asks_is_found_in_order(origin: FaultServer) -> None:
    key = json.dumps(account(origin))
    provider = {"credential_provider": lambda: {"token": "given", "expires_at": None}}
    for options, expected in (
        ({"skip_signature": True, "bearer_token": TOKEN}, None),
        ({"service_account_key": json.dumps({"disable_oauth": True})}, None),
        ({**provider, "bearer_token": TOKEN}, "Bearer given"),
        ({"bearer_token": TOKEN, "service_account_key": key}, f"Bearer {TOKEN}"),
    ):
        fault_store(origin, **options).get("key")
        assert sent(origin)[-1] == expected


def test_without_google_auth_it_says_what_to_install(origin: FaultServer) -> None:
    program = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] == 'google': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from cumulo.exceptions import MissingExtraError\n"
        "from cumulo.store import GCSStore\n"
        "def store(**options):\n"
        f"    return GCSStore('bucket', base_url={origin.url!r}, client_options={{'allow_http': True}}, **options)\n"
        "for options in ({}, {'service_account_key': '{}'}, {'application_credentials': 'x'}):\n"
        "    try:\n"
        "        store(**options).get('key')\n"
        "    except MissingExtraError as error:\n"
        "        assert isinstance(error, ImportError)\n"
        "        assert 'cumulo[gcs]' in str(error), error\n"
        "    else:\n"
        "        raise AssertionError(options)\n"
        "assert store(bearer_token='t').get('key').bytes() == b'content'\n"
        "assert store(skip_signature=True).get('key').bytes() == b'content'\n"
        "given = lambda: {'token': 't', 'expires_at': None}\n"
        "assert store(credential_provider=given).get('key').bytes() == b'content'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert sent(origin) == ["Bearer t", None, "Bearer t"]
