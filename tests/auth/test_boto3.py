"""Sessions of boto3 and roles of STS, on a server that verifies keys and session tokens."""

from __future__ import annotations

import json
import pickle
import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest

from cumulo.auth.boto3 import Boto3CredentialProvider, StsCredentialProvider
from cumulo.exceptions import MissingExtraError, UnauthenticatedError
from cumulo.store import S3Store
from tests.s3.support import server_store
from tests.servers import S3Server

from .support import READS

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def session_of(server: S3Server, **more: Any) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=server.access_key_id, aws_secret_access_key=server.secret_access_key,
        region_name=server.region, **more,
    )  # fmt: skip


def store_of(server: S3Server, provider: Any) -> S3Store:
    """A bucket with an object `x`, read as the provider says."""
    plain = server_store(server)
    plain.put("x", b"content")
    return S3Store(
        plain.config["bucket"], endpoint=server.endpoint, client_options={"allow_http": True},
        credential_provider=provider,
    )  # fmt: skip


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_session(ministack: S3Server, read: Callable[[Any, str], bytes]) -> None:
    store = store_of(ministack, Boto3CredentialProvider(session_of(ministack)))
    assert store.config["region"] == ministack.region
    assert read(store, "x") == b"content"
    assert read(pickle.loads(pickle.dumps(store)), "x") == b"content"


def reader(server: S3Server) -> str:
    """A role that everybody may take, and that may read everything."""
    name = f"reader-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    policy = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}
    iam = server.boto3_client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    iam.put_role_policy(RoleName=name, PolicyName="read", PolicyDocument=document)
    iam.close()
    return str(arn)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_role(ministack: S3Server, monkeypatch: pytest.MonkeyPatch, read: Callable[[Any, str], bytes]) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", ministack.endpoint)
    provider = StsCredentialProvider(
        session_of(ministack), RoleArn=reader(ministack), RoleSessionName="test", DurationSeconds=900
    )
    found = provider()
    assert found["token"]
    assert found["expires_at"] is not None
    assert found["expires_at"] - datetime.now(timezone.utc) < timedelta(seconds=1000)
    store = store_of(ministack, provider)
    assert read(store, "x") == b"content"
    assert read(pickle.loads(pickle.dumps(store)), "x") == b"content"


def test_a_role_that_can_not_be_had(ministack: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", ministack.endpoint)
    provider = StsCredentialProvider(session_of(ministack), RoleArn="x", RoleSessionName="!")
    store = store_of(ministack, provider)
    for read in READS.values():
        with pytest.raises(UnauthenticatedError, match="RoleArn") as caught:
            read(store, "x")
        assert type(caught.value.__cause__).__name__ == "ParamValidationError"


def test_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is asked again after `ttl`, or when what it has expires."""
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": SECRET}
    provider = Boto3CredentialProvider(boto3.Session(**keys), ttl=timedelta(minutes=5))
    found = provider()
    assert (found["access_key_id"], found["secret_access_key"], found["token"]) == ("AK", SECRET, None)
    assert _minutes(found) == pytest.approx(5, abs=1)
    assert _minutes(Boto3CredentialProvider(boto3.Session(**keys))()) == pytest.approx(30, abs=1)
    until = (datetime.now(timezone.utc) + timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = {"Version": 1, "AccessKeyId": "AP", "SecretAccessKey": "S", "SessionToken": "T", "Expiration": until}
    (tmp_path / "keys.json").write_text(json.dumps(text))
    (tmp_path / "config").write_text(
        f"[profile p]\nregion = eu-west-3\ncredential_process = cat {tmp_path}/keys.json\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    of_profile = Boto3CredentialProvider(boto3.Session(profile_name="p"))
    found = of_profile()
    assert (found["access_key_id"], found["token"], of_profile.config) == ("AP", "T", {"region": "eu-west-3"})
    assert _minutes(found) == pytest.approx(20, abs=1)
    again = pickle.loads(pickle.dumps(of_profile))
    assert (again()["access_key_id"], again.config) == ("AP", {"region": "eu-west-3"})


def _minutes(found: Any) -> float:
    return (found["expires_at"] - datetime.now(timezone.utc)).total_seconds() / 60


def test_sessions_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for session in (None, boto3.Session(), botocore.session.get_session()):
        provider = Boto3CredentialProvider(session)
        assert (provider()["access_key_id"], provider.config) == ("AKENV", {"region": "eu-west-1"})
        assert SECRET.encode() not in pickle.dumps(provider), "what the environment says stays in it"
        assert pickle.loads(pickle.dumps(provider))()["access_key_id"] == "AKENV"
    explicit = Boto3CredentialProvider(
        boto3.Session(aws_access_key_id="AK", aws_secret_access_key="S", aws_session_token="T"),
        ttl=timedelta(minutes=1),
    )
    again = pickle.loads(pickle.dumps(explicit))
    assert (again()["access_key_id"], again()["token"], again.ttl) == ("AK", "T", timedelta(minutes=1))


def test_without_credentials() -> None:
    with pytest.raises(ValueError, match="finds no credentials"):
        Boto3CredentialProvider()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    for kind in (Boto3CredentialProvider, StsCredentialProvider):
        with pytest.raises(MissingExtraError, match=r"cumulo\[boto3\]"):
            kind()
