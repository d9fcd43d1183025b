"""Options that are none are refused when a store is made, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cumulo import transfer
from cumulo.store import AzureStore, GCSStore, HTTPStore, MemoryStore, S3Store, from_url

STORES: list[Callable[..., Any]] = [
    lambda **options: S3Store("bucket", **options),
    lambda **options: S3Store.from_url("s3://bucket", **options),
    lambda **options: GCSStore("bucket", **options),
    lambda **options: GCSStore.from_url("gs://bucket", **options),
    lambda **options: AzureStore("container", account_name="account", **options),
    lambda **options: from_url("az://container", account_name="account", **options),
]


@pytest.mark.parametrize("wrong", [5, [], "region=us-east-1", [("region", "us-east-1")]])
@pytest.mark.parametrize("make", STORES)
def test_options_are_dicts(make: Callable[..., Any], wrong: Any) -> None:
    for name in ("config", "client_options", "retry_config"):
        with pytest.raises(TypeError, match=f"^{name.split('_')[0]}.* must be a dict, not {type(wrong).__name__}"):
            make(**{name: wrong})


@pytest.mark.parametrize("wrong", [5, [], "timeout=1s"])
def test_options_of_a_url_are_dicts(wrong: Any) -> None:
    for name in ("client_options", "retry_config"):
        with pytest.raises(TypeError, match=" options must be a dict"):
            HTTPStore("https://example.com", **{name: wrong})


@pytest.mark.parametrize(
    "make",
    [
        lambda prefix: S3Store("bucket", prefix=prefix),
        lambda prefix: GCSStore("bucket", prefix=prefix),
        lambda prefix: AzureStore("container", account_name="account", prefix=prefix),
    ],
)
def test_a_prefix_is_text(make: Callable[[str], Any]) -> None:
    with pytest.raises(ValueError, match="can't be encoded as UTF-8"):
        make("\ud800")


@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "session_token"])
def test_a_secret_is_text_and_is_not_shown(name: str) -> None:
    keys = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "s3cr3t", "session_token": "t0ken"}
    with pytest.raises(ValueError, match=f"^{name} is not valid Unicode$") as caught:
        S3Store("bucket", **{**keys, name: "hidden\ud800"})
    assert type(caught.value) is not UnicodeEncodeError


def test_what_is_no_store_is_not_copied_from() -> None:
    for arguments in (("s3://bucket", "key", MemoryStore(), "key"), (MemoryStore(), "key", "s3://bucket", "key")):
        wrong: Any = arguments
        with pytest.raises(TypeError, match=r"(source|target) must be a store of cumulo's, not builtins\.str"):
            transfer.copy(*wrong)
