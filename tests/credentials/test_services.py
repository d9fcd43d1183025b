"""STS, containers, instance metadata and SSO, each against a server that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from cumulo._credentials import services
from cumulo._credentials.chain import fetch, options_of
from cumulo._credentials.exchange import Limits, NoAnswerError, exchange
from cumulo._credentials.keys import CredentialsError, Keys
from tests.faults import FaultServer, Response, blackhole
from tests.faults.records import Request as Seen

from .support import SECRET, TOKEN, document, iso, settings

ROLE = "arn:aws:iam::123456789012:role/reader"
IMDS_ROLES = "/latest/meta-data/iam/security-credentials/"


def keys_for(**options: Any) -> Keys:
    return fetch(options_of(settings(**options)))


def form_of(request: Seen) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


# -- EC2 instance metadata


class Imds:
    """Instance metadata, version 2; version 1 too when allowed."""

    def __init__(self, server: FaultServer, *, v1: bool = False, role: str = "my role") -> None:
        self.v1 = v1
        server.script("/latest/api/token", self.token)
        server.script(IMDS_ROLES, lambda request: self.guarded(request, Response.of(f"{role}\n".encode())))
        server.script(IMDS_ROLES + "*", lambda request: self.guarded(request, Response.json(document(request.path))))

    def token(self, request: Seen) -> Response:
        lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds")
        if request.method != "PUT" or not lifetime or request.header("x-forwarded-for"):
            return Response.error(400, "BadRequest")
        return Response.of(b"AQAEAtoken==")

    def guarded(self, request: Seen, response: Response) -> Response:
        token = request.header("x-aws-ec2-metadata-token")
        good = token == "AQAEAtoken==" or (token is None and self.v1)
        return response if good else Response.error(401, "Unauthorized")


@pytest.fixture
def metadata_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")


@pytest.mark.usefixtures("metadata_is_enabled")
class TestInstanceMetadata:
    def test_v2(self, fault_server: FaultServer) -> None:
        Imds(fault_server)
        keys = keys_for(metadata_endpoint=fault_server.url)
        assert keys[:3] == (IMDS_ROLES + "my%20role", SECRET, TOKEN)
        assert keys.expires_ms == pytest.approx((time.time() + 3600) * 1000, abs=5000)
        assert fault_server.requests[0].header("content-length") == "0"

    def test_endpoint_from_the_environment(self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
        Imds(fault_server)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", fault_server.url + "/")
        assert keys_for().secret_access_key == SECRET

    def test_no_v1_unless_asked_for(self, fault_server: FaultServer) -> None:
        Imds(fault_server, v1=True)
        fault_server.script("/latest/api/token", Response.error(403, "Forbidden"))
        with pytest.raises(CredentialsError, match=r"instance metadata: HTTP 403 to the request for a token"):
            keys_for(metadata_endpoint=fault_server.url)
        assert keys_for(metadata_endpoint=fault_server.url, imdsv1_fallback=True).secret_access_key == SECRET

    def test_v1_where_the_token_never_comes(self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
        # A container whose hop limit is one: the answer to the PUT is dropped on its way.
        Imds(fault_server, v1=True)
        fault_server.script("/latest/api/token", Response.never())
        monkeypatch.setattr(services, "_METADATA_LIMITS", Limits(connect_s=1, total_s=0.5, retries=2))
        assert keys_for(metadata_endpoint=fault_server.url, imdsv1_fallback=True).secret_access_key == SECRET
        monkeypatch.setenv("AWS_EC2_METADATA_V1_DISABLED", "true")
        with pytest.raises(CredentialsError, match="total timeout"):
            keys_for(metadata_endpoint=fault_server.url, imdsv1_fallback=True)

    def test_nobody_there(self) -> None:
        with blackhole() as url:
            started = time.monotonic()
            with pytest.raises(CredentialsError, match=r"no keys in the options.*no answer from 127.0.0.1"):
                keys_for(metadata_endpoint=url)
            assert time.monotonic() - started < 30

    def test_an_instance_without_a_role(self, fault_server: FaultServer) -> None:
        Imds(fault_server, role="")
        with pytest.raises(CredentialsError, match="the instance has no role"):
            keys_for(metadata_endpoint=fault_server.url)
        fault_server.script(IMDS_ROLES, Response.error(404))
        with pytest.raises(CredentialsError, match="HTTP 404: has the instance a role"):
            keys_for(metadata_endpoint=fault_server.url)

    def test_a_failed_role(self, fault_server: FaultServer) -> None:
        Imds(fault_server)
        fault_server.script(IMDS_ROLES + "*", Response.json({"Code": "AssumeRoleUnauthorizedAccess", "Message": "no"}))
        with pytest.raises(CredentialsError, match="instance metadata: AssumeRoleUnauthorizedAccess: no"):
            keys_for(metadata_endpoint=fault_server.url)

    def test_it_is_tried_again_after_an_error(self, fault_server: FaultServer) -> None:
        Imds(fault_server)
        fault_server.script("/latest/api/token", [Response.error(503), Response.of(b"AQAEAtoken==")])
        assert keys_for(metadata_endpoint=fault_server.url).secret_access_key == SECRET

    def test_no_proxy_is_used(self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
        Imds(fault_server)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        assert keys_for(metadata_endpoint=fault_server.url).secret_access_key == SECRET

    def test_disabled(self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "True")
        with pytest.raises(CredentialsError, match="instance metadata is disabled"):
            keys_for(metadata_endpoint=fault_server.url)
        assert fault_server.requests == []


# -- containers


def test_ecs_relative_uri(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "CONTAINER_HOST", fault_server.url)
    fault_server.script("/v2/credentials/id", Response.json(document("AKECS")))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/id")
    assert keys_for()[:3] == ("AKECS", SECRET, TOKEN)
    assert fault_server.requests[0].header("authorization") is None


def test_eks_full_uri_with_a_token_file_that_is_rotated(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.script("/v1/credentials", Response.json(document("AKEKS")))
    file = tmp_path / "token"
    for token in ("first", "second"):
        file.write_text(token + "\n")
        keys = keys_for(
            container_credentials_full_uri=f"{fault_server.url}/v1/credentials",
            container_authorization_token_file=str(file),
        )
        assert keys[:3] == ("AKEKS", SECRET, TOKEN)
    assert [request.header("authorization") for request in fault_server.requests] == ["first", "second"]


def test_container_token_from_the_environment(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fault_server.script("/creds", Response.json(document("AK")))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{fault_server.url}/creds")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer abc")
    assert keys_for().access_key_id == "AK"
    assert fault_server.requests[0].header("authorization") == "Bearer abc"


@pytest.mark.parametrize("url", ["http://example.com/creds", "http://10.0.0.1/creds", "http://169.254.169.254/x"])
def test_a_token_is_not_sent_in_the_open(url: str) -> None:
    with pytest.raises(CredentialsError, match="must be https"):
        services.container(None, url, "token", None)


def test_container_errors(fault_server: FaultServer, tmp_path: Path) -> None:
    url = f"{fault_server.url}/creds"
    fault_server.script("/creds", [Response.error(404), Response.of(SECRET.encode()), Response.json({})])
    with pytest.raises(CredentialsError, match=r"container: HTTP 404"):
        services.container(None, url, None, None)
    with pytest.raises(CredentialsError, match=r"container: the answer is no JSON object") as caught:
        services.container(None, url, None, None)
    assert SECRET not in str(caught.value)
    with pytest.raises(CredentialsError, match=r"container: the access key id is missing"):
        services.container(None, url, None, None)
    with pytest.raises(CredentialsError, match="cannot read the token file"):
        services.container(None, url, None, str(tmp_path / "absent"))
    (tmp_path / "token").write_text("a\nX-Injected: 1")
    with pytest.raises(CredentialsError, match="control characters"):
        services.container(None, url, None, str(tmp_path / "token"))


# -- STS


def sts_document(action: str, key: str = "AKSTS") -> str:
    fields = f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
    fields += f"<SessionToken>\n  {TOKEN}&amp;&#x3d;\n</SessionToken><Expiration>{iso(900)}</Expiration>"
    user = "<AssumedRoleUser><Arn>arn</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>"
    result = f"<{action}Result>{user}<Credentials>{fields}</Credentials></{action}Result>"
    return f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{result}</{action}Response>'


class Sts:
    """STS: web identity, and roles assumed with a signature that is checked."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        server.script("/", self)

    def __call__(self, request: Seen) -> Response:
        action = form_of(request)["Action"]
        if action == "AssumeRole" and not self.is_signed(request):
            return Response.error(403, "SignatureDoesNotMatch")
        return Response.xml(sts_document(action))

    def is_signed(self, request: Seen) -> bool:
        given = request.header("authorization") or ""
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        again = AWSRequest("POST", self.server.url + "/", data=request.body)
        for name in names:
            again.headers[name] = request.header(name)
        again.context["timestamp"] = request.header("x-amz-date")
        auth = SigV4Auth(BotoCredentials("AKSOURCE", SECRET), "sts", "eu-west-1")
        signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
        return given.endswith(f"Signature={signature}") and "/eu-west-1/sts/aws4_request" in given


@pytest.fixture
def identity(tmp_path: Path) -> str:
    file = tmp_path / "identity"
    file.write_text("eyJhbGci.eyJzdWIi.c2ln\n")
    return str(file)


def test_web_identity(fault_server: FaultServer, identity: str) -> None:
    Sts(fault_server)
    keys = keys_for(
        role_arn=ROLE, web_identity_token_file=identity, role_session_name="me", sts_endpoint=fault_server.url
    )
    assert keys[:3] == ("AKSTS", SECRET, TOKEN + "&=")
    assert keys.expires_ms == pytest.approx((time.time() + 900) * 1000, abs=5000)
    (request,) = fault_server.requests
    assert request.header("authorization") is None
    assert form_of(request) == {
        "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": "me",
        "WebIdentityToken": "eyJhbGci.eyJzdWIi.c2ln",
    }  # fmt: skip


def test_web_identity_from_the_environment(
    fault_server: FaultServer, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sts(fault_server)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", identity)
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", fault_server.url)
    assert keys_for().access_key_id == "AKSTS"
    assert form_of(fault_server.requests[0])["RoleSessionName"].startswith("cumulo-")


def test_web_identity_errors(fault_server: FaultServer, identity: str, tmp_path: Path) -> None:
    options = {"role_arn": ROLE, "sts_endpoint": fault_server.url}
    fault_server.script("/", Response.error(400, "InvalidIdentityToken", "the token has expired"))
    with pytest.raises(CredentialsError, match=r"HTTP 400: InvalidIdentityToken: the token has expired"):
        keys_for(web_identity_token_file=identity, **options)
    fault_server.script("/", Response.of(b"hello"))
    with pytest.raises(CredentialsError, match="the access key id is missing"):
        keys_for(web_identity_token_file=identity, **options)
    with pytest.raises(CredentialsError, match="cannot read the token file"):
        keys_for(web_identity_token_file=str(tmp_path / "absent"), **options)


def test_sts_is_tried_again_when_busy(fault_server: FaultServer, identity: str) -> None:
    busy = Response.error(503, "Throttling")
    fault_server.script("/", [busy, Response.xml(sts_document("AssumeRoleWithWebIdentity"))])
    keys = keys_for(role_arn=ROLE, web_identity_token_file=identity, sts_endpoint=fault_server.url)
    assert keys.access_key_id == "AKSTS"
    assert len(fault_server.requests) == 2


def test_a_profiles_role(fault_server: FaultServer, aws: Path) -> None:
    Sts(fault_server)
    (aws / "config").write_text(
        f"[profile reader]\nrole_arn = {ROLE}\nsource_profile = source\nexternal_id = x/1 2\n"
        "duration_seconds = 1800\nrole_session_name = job\nregion = eu-west-1\n"
    )
    (aws / "credentials").write_text(f"[source]\naws_access_key_id = AKSOURCE\naws_secret_access_key = {SECRET}\n")
    keys = keys_for(profile="reader", sts_endpoint=fault_server.url)
    assert keys.access_key_id == "AKSTS"
    assert form_of(fault_server.requests[0]) == {
        "Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": "job",
        "ExternalId": "x/1 2", "DurationSeconds": "1800",
    }  # fmt: skip


def test_a_role_on_top_of_a_role(fault_server: FaultServer, aws: Path, identity: str) -> None:
    fault_server.script("/", lambda request: Response.xml(sts_document(form_of(request)["Action"])))
    (aws / "config").write_text(
        f"[profile top]\nrole_arn = {ROLE}/top\nsource_profile = middle\n"
        f"[profile middle]\nrole_arn = {ROLE}/middle\nweb_identity_token_file = {identity}\n"
    )
    assert keys_for(profile="top", sts_endpoint=fault_server.url).access_key_id == "AKSTS"
    actions = [form_of(request)["Action"] for request in fault_server.requests]
    assert actions == ["AssumeRoleWithWebIdentity", "AssumeRole"]
    assert fault_server.requests[1].header("x-amz-security-token") == TOKEN + "&="


def test_a_role_with_the_containers_keys(fault_server: FaultServer, aws: Path) -> None:
    Sts(fault_server)
    fault_server.script("/creds", Response.json({**document("AKSOURCE"), "Token": None}))
    (aws / "config").write_text(f"[default]\nrole_arn = {ROLE}\ncredential_source = EcsContainer\nregion = eu-west-1\n")
    keys = keys_for(container_credentials_full_uri=f"{fault_server.url}/creds", sts_endpoint=fault_server.url)
    assert keys.access_key_id == "AKSTS"


@pytest.mark.parametrize(
    ("region", "url"),
    [
        (None, "https://sts.amazonaws.com"),
        ("eu-central-1", "https://sts.eu-central-1.amazonaws.com"),
        ("cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_sts_endpoints(region: str | None, url: str) -> None:
    assert services.sts_url(region) == url


# -- SSO


class Portal:
    """The SSO portal and its OIDC service."""

    def __init__(self, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.token = "sso-access-token"
        self.refreshed: list[dict[str, str]] = []
        server.script("/federation/credentials", self.credentials)
        server.script("/token", self.refresh, method="POST")
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", server.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSO_OIDC", server.url)

    def credentials(self, request: Seen) -> Response:
        if request.header("x-amz-sso_bearer_token") != self.token:
            return Response.json({"message": "Session token not found or invalid"}, status=401)
        if unquote(request.query["role_name"]) != "Read/Only" or request.query["account_id"] != "123456789012":
            return Response.json({"message": "No access"}, status=403)
        keys = {"accessKeyId": "AKSSO", "secretAccessKey": SECRET, "sessionToken": TOKEN}
        return Response.json({"roleCredentials": {**keys, "expiration": int((time.time() + 3600) * 1000)}})

    def refresh(self, request: Seen) -> Response:
        self.refreshed.append(json.loads(request.body))
        if self.refreshed[-1]["refreshToken"] != "refresh-1":
            return Response.json({"error": "invalid_grant"}, status=400)
        self.token = "fresh-access-token"
        return Response.json({"accessToken": self.token, "expiresIn": 28800, "refreshToken": "refresh-2"})


SSO_PROFILE = "sso_account_id = 123456789012\nsso_role_name = Read/Only\n"
SSO_SESSION = "sso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n"


@pytest.fixture
def portal(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch, aws: Path) -> Portal:
    (aws / "config").write_text(
        f"[profile new]\nsso_session = corp\n{SSO_PROFILE}\n[sso-session corp]\n{SSO_SESSION}\n"
        f"[profile old]\n{SSO_SESSION}{SSO_PROFILE}\n[profile half]\nsso_start_url = https://x\n"
        "[profile lost]\nsso_session = nowhere\n"
    )
    return Portal(fault_server, monkeypatch)


def log_in(aws: Path, name: str, lives_s: float, **members: str) -> Path:
    cache = aws / "sso" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / f"{hashlib.sha1(name.encode()).hexdigest()}.json"
    file.write_text(json.dumps({"accessToken": "sso-access-token", "expiresAt": iso(lives_s), **members}))
    return file


def test_sso_session(portal: Portal, aws: Path) -> None:
    log_in(aws, "corp", 3600)
    keys = keys_for(profile="new")
    assert keys[:3] == ("AKSSO", SECRET, TOKEN)
    assert keys.expires_ms == pytest.approx((time.time() + 3600) * 1000, abs=5000)
    assert portal.refreshed == []


def test_sso_as_it_was_before_sessions(portal: Portal, aws: Path) -> None:
    log_in(aws, "https://example.awsapps.com/start", 3600)
    assert keys_for(profile="old").access_key_id == "AKSSO"


def test_sso_token_is_refreshed_and_kept_for_the_aws_tools(portal: Portal, aws: Path) -> None:
    members = {"clientId": "id", "clientSecret": "s3cret", "refreshToken": "refresh-1", "region": "eu-west-1"}
    file = log_in(aws, "corp", 60, **members)
    assert keys_for(profile="new").access_key_id == "AKSSO"
    assert portal.refreshed == [
        {"clientId": "id", "clientSecret": "s3cret", "refreshToken": "refresh-1", "grantType": "refresh_token"}
    ]
    kept = json.loads(file.read_text())
    assert (kept["accessToken"], kept["refreshToken"], kept["region"]) == (
        "fresh-access-token", "refresh-2", "eu-west-1",
    )  # fmt: skip
    assert file.stat().st_mode & 0o777 == 0o600
    assert keys_for(profile="new").access_key_id == "AKSSO"
    assert len(portal.refreshed) == 1


def test_sso_token_that_cannot_be_refreshed_serves_until_it_expires(portal: Portal, aws: Path) -> None:
    log_in(aws, "corp", 60, clientId="id", clientSecret="s", refreshToken="revoked")
    assert keys_for(profile="new").access_key_id == "AKSSO"


def test_sso_login_that_has_expired(portal: Portal, aws: Path) -> None:
    again = r"the login has expired; run `aws sso login --sso-session corp`"
    with pytest.raises(CredentialsError, match=again):
        keys_for(profile="new")
    log_in(aws, "corp", -60, clientId="id", clientSecret="s", refreshToken="revoked")
    with pytest.raises(CredentialsError, match=again):
        keys_for(profile="new")
    log_in(aws, "corp", 3600)
    portal.token = "another"
    with pytest.raises(CredentialsError, match=again):
        keys_for(profile="new")
    with pytest.raises(CredentialsError, match=r"run `aws sso login --profile old`"):
        keys_for(profile="old")


def test_sso_errors(portal: Portal, aws: Path, fault_server: FaultServer) -> None:
    with pytest.raises(CredentialsError, match="'half' lacks sso_region, sso_account_id, sso_role_name"):
        keys_for(profile="half")
    with pytest.raises(CredentialsError, match="sso-session 'nowhere' that is not there"):
        keys_for(profile="lost")
    log_in(aws, "corp", 3600)
    fault_server.script("/federation/credentials", Response.json({"message": SECRET}, status=403))
    with pytest.raises(CredentialsError, match="SSO: HTTP 403 for role 'Read/Only' of account 123456789012"):
        keys_for(profile="new")


# -- the exchange itself


def test_tls_is_verified_by_the_aws_tools_bundle(
    fault_server: FaultServer, identity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sts(fault_server)
    options = {"role_arn": ROLE, "web_identity_token_file": identity, "sts_endpoint": fault_server.tls_url()}
    with pytest.raises(NoAnswerError):
        exchange("GET", fault_server.tls_url(), limits=Limits(total_s=1))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(fault_server.ca_file))
    assert keys_for(**options).access_key_id == "AKSTS"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/absent")
    with pytest.raises(CredentialsError, match="AWS_CA_BUNDLE"):
        keys_for(**options)


def test_proxies_are_used_but_for_metadata(identity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(CredentialsError, match=r"no answer from sts\.example\.com: .*CONNECTION_REFUSED"):
        keys_for(role_arn=ROLE, web_identity_token_file=identity, sts_endpoint="https://sts.example.com")
