"""S3's keys and the options of encryption: what goes together, what does not, and that no error shows one."""

from __future__ import annotations

import base64
import pickle

import pytest

from cumulo._config import resolve_s3

KEY_256 = base64.b64encode(bytes(32)).decode()


def resolve(config=None, env=None, **kwargs):
    return resolve_s3("b", config, kwargs, env or {})


@pytest.mark.parametrize("kind", ["AES256", "aws:kms", "aws:kms:dsse"])
def test_encryption(kind):
    assert resolve(server_side_encryption=kind).server_side_encryption == kind
    assert resolve(env={"AWS_SERVER_SIDE_ENCRYPTION": kind.lower()}).server_side_encryption == kind


@pytest.mark.parametrize("kind", ["aws:kms", "aws:kms:dsse"])
def test_kms_key(kind):
    settings = resolve(server_side_encryption=kind, sse_kms_key_id="arn:x")
    assert settings.sse_kms_key_id == "arn:x"
    assert resolve(env={"AWS_SSE_KMS_KEY_ID": "k"}, server_side_encryption=kind).sse_kms_key_id == "k"


@pytest.mark.parametrize(
    "given",
    [{}, {"server_side_encryption": "AES256"}, {"server_side_encryption": "sse-c", "sse_customer_key_base64": KEY_256}],
)
def test_kms_key_without_kms(given):
    with pytest.raises(ValueError, match="sse_kms_key_id goes with server_side_encryption='aws:kms'"):
        resolve({**given, "sse_kms_key_id": "k"})
    assert resolve(given, {"AWS_SSE_KMS_KEY_ID": "k"}).sse_kms_key_id is None


def test_customer_key():
    settings = resolve(server_side_encryption="sse-c", sse_customer_key_base64=KEY_256)
    assert settings.sse_customer_key_base64 == KEY_256
    assert KEY_256 not in repr(settings)
    with pytest.raises(ValueError, match="sse_customer_key_base64 goes with"):
        resolve(sse_customer_key_base64=KEY_256)
    with pytest.raises(ValueError, match="needs sse_customer_key_base64"):
        resolve(server_side_encryption="sse-c")
    assert resolve(env={"AWS_SSE_CUSTOMER_KEY_BASE64": KEY_256}).sse_customer_key_base64 is None


@pytest.mark.parametrize("key", ["hunter2", "hunter2=", "AAAA", KEY_256[:-4], KEY_256 + KEY_256, "é" * 44])
def test_customer_keys_that_are_none(key):
    with pytest.raises(ValueError, match="sse_customer_key_base64") as caught:
        resolve(server_side_encryption="sse-c", sse_customer_key_base64=key)
    assert key not in str(caught.value)


KEYS = {"access_key_id": "AK", "secret_access_key": "SK"}
ENV_KEYS = {"AWS_ACCESS_KEY_ID": "EAK", "AWS_SECRET_ACCESS_KEY": "ESK", "AWS_SESSION_TOKEN": "ETOK"}


@pytest.mark.parametrize(
    ("given", "env", "expected"),
    [
        (KEYS, {}, ("AK", "SK", None)),
        ({**KEYS, "token": "TOK"}, {}, ("AK", "SK", "TOK")),
        ({**KEYS, "token": ""}, {}, ("AK", "SK", None)),
        ({}, ENV_KEYS, ("EAK", "ESK", "ETOK")),
        ({}, {**ENV_KEYS, "AWS_SESSION_TOKEN": "", "AWS_TOKEN": "T"}, ("EAK", "ESK", "T")),
        # Keys from one place and a token from another don't fit each other.
        (KEYS, ENV_KEYS, ("AK", "SK", None)),
        ({"profile": "p"}, ENV_KEYS, None),
        ({"web_identity_token_file": "f"}, ENV_KEYS, None),
        ({}, {**ENV_KEYS, "AWS_PROFILE": "p"}, ("EAK", "ESK", "ETOK")),
        ({"token": ""}, {}, None),
        ({"secret_access_key": " SK\n", "access_key_id": "AK\n"}, {}, ("AK", "SK", None)),
    ],
)
def test_static_keys(given, env, expected):
    assert resolve(given, env).static_keys() == expected


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"access_key_id": "hunter2"}, "secret_access_key"),
        ({"secret_access_key": "hunter2"}, "access_key_id"),
        ({"secret_access_key": "hunter2", "access_key_id": ""}, "access_key_id"),
        ({"secret_access_key": "", "access_key_id": ""}, "access_key_id"),
        ({"session_token": "hunter2"}, "access_key_id"),
        ({"session_token": "hunter2", "access_key_id": "a"}, "secret_access_key"),
    ],
)
def test_half_a_key(given, missing):
    with pytest.raises(ValueError, match=missing) as caught:
        resolve(given, ENV_KEYS)
    assert "hunter2" not in str(caught.value)


def test_half_a_key_in_the_environment_only_matters_when_it_is_used():
    settings = resolve(env={"AWS_SECRET_ACCESS_KEY": "hunter2"}, skip_signature=True)
    with pytest.raises(ValueError, match="access_key_id is missing") as caught:
        settings.static_keys()
    assert "hunter2" not in str(caught.value)


def test_pickles_hold_keys_that_were_given():
    assert pickle.loads(pickle.dumps(resolve(KEYS))).static_keys() == ("AK", "SK", None)
