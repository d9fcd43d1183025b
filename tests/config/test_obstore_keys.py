"""Every option, alias and environment variable in obstore's type stubs is known here."""

from __future__ import annotations

import ast
import importlib.util
import re
import typing
from pathlib import Path

import pytest

from cumulo._config import BackoffConfig, ClientConfig, RetryConfig, S3Config, resolve_client, resolve_s3
from cumulo._config.client import CLIENT_OPTIONS
from cumulo._config.s3 import S3_OPTIONS


def stub(name: str) -> str:
    spec = importlib.util.find_spec("obstore")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "_store" / name).read_text()


def keys(name: str, config: str) -> list[str]:
    (found,) = (node for node in ast.parse(stub(name)).body if isinstance(node, ast.ClassDef) and node.name == config)
    return [node.target.id for node in found.body if isinstance(node, ast.AnnAssign)]


S3_KEYS = keys("_aws.pyi", "S3Config")
CLIENT_KEYS = keys("_client.pyi", "ClientConfig")
VARIABLES = sorted(set(re.findall(r"\bAWS_[A-Z0-9_]+\b", stub("_aws.pyi"))))
# Names that obstore 0.12.1 itself takes; its stubs have only some of them.
ALIASES = {
    "bucket": ["bucket", "aws_bucket", "bucket_name", "aws_bucket_name"],
    "default_region": ["default_region", "aws_default_region"],
    "endpoint": ["endpoint", "aws_endpoint", "endpoint_url", "aws_endpoint_url"],
    "endpoint_url_s3": ["aws_endpoint_url_s3"],
    "request_payer": ["request_payer", "aws_request_payer"],
    "session_token": ["session_token", "aws_session_token", "token", "aws_token"],
    "sts_endpoint": ["endpoint_url_sts", "aws_endpoint_url_sts"],
}
VALUES = {
    "checksum_algorithm": "sha256",
    "conditional_put": "etag",
    "copy_if_not_exists": "multipart",
    "server_side_encryption": "AES256",
    **dict.fromkeys(("endpoint", "endpoint_url_s3", "sts_endpoint", "metadata_endpoint"), "http://localhost:1"),
}


def test_stubs_were_found():
    assert len(S3_KEYS) > 25
    assert len(CLIENT_KEYS) > 15
    assert len(VARIABLES) > 25


@pytest.mark.parametrize("key", S3_KEYS)
def test_s3_keys(key):
    option = S3_OPTIONS.find(key)
    assert option is not None
    for form in (key, key.upper(), f"aws_{key.removeprefix('aws_')}", f"AWS_{key.removeprefix('aws_').upper()}"):
        assert S3_OPTIONS.find(form) is option


@pytest.mark.parametrize(("name", "alias"), [(name, alias) for name, all_ in ALIASES.items() for alias in all_])
def test_s3_aliases(name, alias):
    option = S3_OPTIONS.find(alias)
    assert option is not None
    assert option.name == name


@pytest.mark.parametrize("key", CLIENT_KEYS)
def test_client_keys(key):
    option = CLIENT_OPTIONS.find(key)
    assert option is not None
    assert option.name == key


@pytest.mark.parametrize("variable", VARIABLES)
def test_environment_variables(variable):
    name = variable.removeprefix("AWS_").lower()
    option = S3_OPTIONS.find(name)
    assert option is not None
    found = S3_OPTIONS.from_env({variable: VALUES.get(option.name, "true")}, "AWS_")
    assert list(found) == [option.name]


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (S3Config, S3_KEYS),
        (ClientConfig, CLIENT_KEYS),
        (RetryConfig, keys("_retry.pyi", "RetryConfig")),
        (BackoffConfig, keys("_retry.pyi", "BackoffConfig")),
    ],
)
def test_typed_dicts_have_every_key_and_resolve_at_run_time(config, theirs):
    hints = typing.get_type_hints(config)
    assert set(theirs) <= set(hints)
    assert not config.__required_keys__


@pytest.mark.parametrize(("config", "table"), [(S3Config, S3_OPTIONS), (ClientConfig, CLIENT_OPTIONS)])
def test_typed_dicts_and_tables_agree(config, table):
    hints = typing.get_type_hints(config)
    assert {option.name for option in table.options} <= set(hints)
    assert all(table.find(name) is not None for name in hints)


@pytest.mark.parametrize(("config", "file"), [(S3Config, "s3_config.py"), (ClientConfig, "client.py")])
def test_every_key_is_documented(config, file):
    import cumulo._config as package

    source = (Path(package.__file__).parent / file).read_text()
    (found,) = (
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == config.__name__
    )
    for before, after in zip(found.body, [*found.body[1:], None], strict=True):
        if isinstance(before, ast.AnnAssign):
            assert isinstance(after, ast.Expr), f"{ast.unparse(before)} has no docstring"


def test_each_option_becomes_a_field():
    settings = resolve_s3("b", {}, None, {})
    folded = {"default_region", "endpoint_url_s3"}
    for option in S3_OPTIONS.options:
        assert option.name in folded or hasattr(settings, option.name)
    client = resolve_client(None, {})
    for option in CLIENT_OPTIONS.options:
        if not option.name.startswith("http"):
            assert hasattr(client, option.name) or hasattr(client, f"{option.name}_s")
