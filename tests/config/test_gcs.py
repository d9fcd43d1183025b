"""GCS's options: what obstore takes, this takes too; precedence; service accounts; endpoints."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from cumulo._config import GCSConfig, gcs_endpoint_of, resolve_client, resolve_gcs, service_account_of
from cumulo._config.gcs import GCS_OPTIONS
from cumulo.exceptions import UnknownConfigurationKeyError

from .test_obstore_keys import keys, stub

KEYS = keys("_gcs.pyi", "GCSConfig")
VARIABLES = sorted(set(re.findall(r"\bGOOGLE_[A-Z0-9_]+\b", stub("_gcs.pyi"))))
ACCOUNT = {"client_email": "a@b", "private_key": "s3cr3t", "disable_oauth": True}


@pytest.mark.parametrize("key", KEYS)
def test_obstores_keys(key: str) -> None:
    assert key in GCSConfig.__annotations__
    for name in (key, f"google_{key}", f"GOOGLE_{key.upper()}"):
        option = GCS_OPTIONS.find(name)
        assert option is not None
        assert option.name == key


@pytest.mark.parametrize("alias", ["bucket_name", "google_bucket_name", "service_account_path"])
def test_obstores_aliases(alias: str) -> None:
    assert GCS_OPTIONS.find(alias) is not None


@pytest.mark.parametrize("variable", VARIABLES)
def test_obstores_variables(variable: str) -> None:
    value = "http://h" if variable == "GOOGLE_BASE_URL" else "true"
    found = resolve_gcs(None, None, None, ({} if "BUCKET" in variable else {"GOOGLE_BUCKET": "b"}) | {variable: value})
    option = GCS_OPTIONS.find(variable)
    assert option is not None
    assert getattr(found, option.name) in (value, True)


def test_every_option_is_documented() -> None:
    assert set(GCSConfig.__annotations__) == {option.name for option in GCS_OPTIONS.options}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("anon", "skip_signature"), ("token", "bearer_token"), ("servce_account", "service_account"),
     ("endpoint_url", "base_url"), ("requester_pays", "user_project")],
)  # fmt: skip
def test_unknown_keys_name_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UnknownConfigurationKeyError, match=f"did you mean '{right}'"):
        resolve_gcs("b", {wrong: "x"})


def test_what_is_given_comes_first() -> None:
    env = {"GOOGLE_BUCKET": "theirs", "GOOGLE_BEARER_TOKEN": "t", "GOOGLE_USER_PROJECT": "p"}
    found = resolve_gcs("mine", {"service_account_key": "{}"}, {"timeout": "5s"}, env)
    assert (found.bucket, found.user_project, found.bearer_token) == ("mine", "p", None)
    assert found.client_options == {"timeout": "5s"}
    assert found.explicit == {"bucket": "mine", "service_account_key": "{}"}
    assert resolve_gcs(None, None, None, env).bearer_token == "t"


@pytest.mark.parametrize(
    "options",
    [{}, {"bucket": "a/b"}, {"bucket": "b", "bucket_name": "b"}, {"bucket": "b", "base_url": "nowhere"},
     {"bucket": "b", "service_account": "x", "service_account_key": "{}"}, {"bucket": "b", "bearer_token": "a\nb"}],
)  # fmt: skip
def test_refusals(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        resolve_gcs(None, options, None, {})


def test_service_accounts(tmp_path: Path) -> None:
    text = json.dumps({**ACCOUNT, "gcs_base_url": "http://localhost:4443"}, indent=2)
    (tmp_path / "a.json").write_text(text)
    for options in ({"service_account_key": text}, {"service_account": str(tmp_path / "a.json")}):
        settings = resolve_gcs("b", options, None, {})
        account = service_account_of(settings)
        assert account is not None
        assert account["disable_oauth"] is True
        client = resolve_client({"allow_http": True}, {}, env_prefix="GOOGLE_")
        endpoint = gcs_endpoint_of(settings, client, account)
        assert (endpoint.host, endpoint.port, endpoint.tls) == ("localhost", 4443, False)
        assert "s3cr3t" not in repr(settings)
        assert pickle.loads(pickle.dumps(settings)).explicit == settings.explicit
    assert service_account_of(resolve_gcs("b", {}, None, {})) is None


@pytest.mark.parametrize("text", ["s3cr3t", "[]", '"s3cr3t"', "{"])
def test_service_accounts_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    for options in ({"service_account_key": text}, {"service_account": str(tmp_path / "a.json")},
                    {"service_account": str(tmp_path / "missing")}, {"service_account": str(tmp_path)}):  # fmt: skip
        with pytest.raises(ValueError, match="service_account") as caught:
            service_account_of(resolve_gcs("b", options, None, {}))
        assert "s3cr3t" not in str(caught.value)


def test_endpoints() -> None:
    plain = resolve_client({}, {}, env_prefix="GOOGLE_")
    endpoint = gcs_endpoint_of(resolve_gcs("b-ü", None, None, {}), plain, None)
    assert (endpoint.host, endpoint.port, endpoint.tls) == ("storage.googleapis.com", 443, True)
    assert endpoint.base == b"/b-%C3%BC/"
    assert endpoint.json_object == b"/storage/v1/b/b-%C3%BC/o/"
    private = resolve_gcs("b", {"base_url": "https://private.example.com:8443/gcs/"}, None, {})
    endpoint = gcs_endpoint_of(private, plain, {"gcs_base_url": "http://other"})
    assert (endpoint.host_header, endpoint.base) == ("private.example.com:8443", b"/gcs/b/")
    assert endpoint.batch == b"/gcs/batch/storage/v1"
    with pytest.raises(ValueError, match="allow_http"):
        gcs_endpoint_of(resolve_gcs("b", {"base_url": "http://h"}, None, {}), plain, None)
    with pytest.raises(ValueError, match="gcs_base_url"):
        gcs_endpoint_of(resolve_gcs("b", None, None, {}), plain, {"gcs_base_url": "nowhere"})
