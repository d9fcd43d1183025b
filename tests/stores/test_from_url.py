"""`from_url`, of the module and of the stores, and `parse_scheme`: beside obstore's over a table of URLs."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import obstore.store as theirs
import pytest

import cumulo
from cumulo import store as ours
from cumulo.exceptions import GenericError, UnknownConfigurationKeyError
from cumulo.store import AzureStore, GCSStore, HTTPStore, LocalStore, MemoryStore, S3Store, from_url, parse_scheme

S3 = [
    "s3://bucket", "s3://bucket/", "s3://bucket/a/b", "s3://bucket/a/b/", "s3a://bucket/a", "S3://bucket/a",
    "s3://Bucket/A", "s3://my_bucket/x", "s3://bucket/a%20b/c%2Fd", "s3://bucket/a b", "s3://bucket/é",
    "s3://bucket/a%zz", "s3://bucket/a%2520b", "s3://bucket/a%2F", "s3://bucket/a+b", "s3://bucket/a?x=1",
    "s3://bucket/a#f", "s3://bucket/../a", "s3://bucket/a/./b", "s3://bucket/%2e%2e/a", "s3://bucket/a/b/..",
    "s3://bucket/a/.", "s3://user@bucket/a", "s3://user:pw@bucket/a", "s3://bucket:80/a", " s3://bucket/a",
    "https://s3.us-west-2.amazonaws.com/bucket", "https://s3.us-west-2.amazonaws.com/bucket/a/b",
    "https://s3.foo.amazonaws.com/bucket/a", "https://bucket.s3.us-west-2.amazonaws.com",
    "https://bucket.s3.us-west-2.amazonaws.com/", "https://bucket.s3.us-west-2.amazonaws.com/a/b",
    "https://bucket.s3.amazonaws.com", "https://bucket.s3.amazonaws.com/a",
    "HTTPS://BUCKET.S3.US-WEST-2.AMAZONAWS.COM/A", "https://bucket.s3.us-west-2.amazonaws.com:443/a",
    "https://ACCOUNT.r2.cloudflarestorage.com/bucket", "https://account.r2.cloudflarestorage.com/bucket/a/b",
    "https://account.eu.r2.cloudflarestorage.com/bucket/a", "https://bucket.account.r2.cloudflarestorage.com/a",
]  # fmt: skip
GCS = ["gs://bucket", "gs://bucket/a/b/", "gs://bucket/a%20b", "GS://bucket/a"]
AZURE = [
    "abfs://container@account.dfs.core.windows.net/a/b", "abfss://container@account.dfs.core.windows.net/a/b",
    "abfss://container@account.blob.core.windows.net/a", "abfss://container@account.dfs.fabric.microsoft.com/a",
    "abfss://container@account.blob.fabric.microsoft.com/a", "az://container@account.dfs.core.windows.net/a",
    "https://account.blob.core.windows.net/container", "https://account.blob.core.windows.net/container/a/b",
    "https://account.blob.core.windows.net/container/a%20b?sv=1&sig=x", "https://account.dfs.core.windows.net/container",
    "https://account.blob.fabric.microsoft.com/container/a", "https://account.dfs.fabric.microsoft.com/container/a",
    "https://ACCOUNT.blob.core.windows.net/container/a", "https://onelake.dfs.fabric.microsoft.com/ws/item/a",
    "https://container@account.dfs.core.windows.net/a",
    "abfss://ws@onelake.dfs.fabric.microsoft.com/item.Lakehouse/Files",
]  # fmt: skip
# The account is said elsewhere.
AZURE_SHORT = [
    f"{scheme}://container{path}" for scheme in ("az", "adl", "azure", "abfs", "abfss") for path in ("", "/a/b")
]
OTHER = ["file:///", "file:///tmp", "file:///tmp/", "file://localhost/tmp", "file:/tmp", "memory://", "memory:///",
         "memory:///a", "memory:/", "memory:"]  # fmt: skip
HTTP = [
    "http://example.com", "http://example.com/a/b", "https://example.com/a/b/", "https://user:pw@example.com/a?x=1",
    "http://localhost:8080/a", "HTTP://example.com/a", "http://[::1]:80/a", "https://storage.googleapis.com/bucket/a",
    "https://account.file.core.windows.net/c/a", "http://account.blob.core.windows.net/container/a",
    "http://bucket.s3.us-west-2.amazonaws.com/a", "http://account.r2.cloudflarestorage.com/bucket/a",
    "https://bucket.s3.cn-north-1.amazonaws.com.cn/a", "https://account.blob.core.windows.net.example.com/c",
]  # fmt: skip
# parse_scheme knows the provider by the host; from_url then finds no bucket, container or service.
KNOWN_ONLY = ["https://ec2.us-west-2.amazonaws.com/a", "https://bucket.s3-accelerate.amazonaws.com/a",
              "https://s3.foo.bar.amazonaws.com/bucket/a", "https://r2.cloudflarestorage.com/b",
              "https://account.blob.core.windows.net", "https://a.b.blob.core.windows.net/container/a",
              "abfs://container@account.example.com/a", "az://container"]  # fmt: skip
REFUSED = ["s3://", "s3:///a", "s3n://bucket/a", "gcs://bucket/a", "gs://", "az:///a", "s3:/bucket/a", "s3:bucket/a",
           "file://host/tmp", "memory://a", "mem://", "hf://datasets/a", "ftp://example.com/a", "/tmp", "bucket",
           "C:\\x", "", "://", "https://", "s3://a[b/c"]  # fmt: skip
PATHS = ["s3://bucket//a", "s3://bucket/a//b", "s3://bucket/a//", "s3://bucket//", "s3://bucket/%FF",
         "s3://bucket/a%2F..%2Fb"]  # fmt: skip
# More than obstore knows.
MORE: dict[str, tuple[str | None, dict[str, Any]]] = {
    "https://s3.amazonaws.com/bucket/a": ("a", {"bucket": "bucket"}),
    "https://s3-us-west-2.amazonaws.com/bucket/a": ("a", {"bucket": "bucket", "region": "us-west-2"}),
    "https://my.bucket.s3.us-west-2.amazonaws.com": (
        None, {"bucket": "my.bucket", "region": "us-west-2", "virtual_hosted_style_request": True},
    ),
    "https://s3-fips.dualstack.us-west-2.amazonaws.com/bucket": (
        None, {"bucket": "bucket", "region": "us-west-2", "use_fips_endpoint": True, "use_dualstack_endpoint": True},
    ),
    "adl://container@account.dfs.core.windows.net/a": ("a", {"container_name": "container", "account_name": "account"}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)


def seen(store: Any) -> tuple[Any, ...]:
    """A store as both libraries show it; obstore shows options that a URL says as text."""
    config = {name: str(value).lower() if value in (True, "true") else value
              for name, value in getattr(store, "config", {}).items()}  # fmt: skip
    return type(store).__name__, getattr(store, "prefix", None), config


def refusal(call: Any, *arguments: Any, **options: Any) -> bool:
    try:
        call(*arguments, **options)
    except (obstore.exceptions.BaseError, ValueError):
        return True
    return False


# -- beside obstore


@pytest.mark.parametrize("url", [*S3, *GCS, *AZURE, *OTHER])
def test_the_store_is_obstores(url: str) -> None:
    options: dict[str, Any] = {"skip_signature": True} if url in GCS else {}
    store = from_url(url, **options)
    assert seen(store) == seen(theirs.from_url(url, **options))
    assert parse_scheme(url) == obstore.parse_scheme(url)
    if not isinstance(store, MemoryStore):
        kind: Any = type(store)
        assert kind.from_url(url, **options) == store
        assert pickle.loads(pickle.dumps(store)) == store


@pytest.mark.parametrize("url", AZURE_SHORT)
def test_azures_short_urls_are_obstores(url: str) -> None:
    assert seen(from_url(url, account_name="acc")) == seen(theirs.from_url(url, account_name="acc"))
    assert parse_scheme(url) == obstore.parse_scheme(url) == "azure"


@pytest.mark.parametrize("url", [*HTTP, *KNOWN_ONLY])
def test_the_kind_is_obstores(url: str) -> None:
    assert cumulo.parse_scheme(url) == obstore.parse_scheme(url)


@pytest.mark.parametrize("url", REFUSED)
def test_urls_that_neither_knows(url: str) -> None:
    for call in (obstore.parse_scheme, theirs.from_url):
        assert refusal(call, url)
    for ours_too in (parse_scheme, from_url):
        with pytest.raises(ValueError, match="URL|store") as caught:
            ours_too(url)
        assert isinstance(caught.value, GenericError)


@pytest.mark.parametrize("url", [*KNOWN_ONLY, *PATHS])
def test_urls_without_a_store(url: str) -> None:
    assert refusal(theirs.from_url, url)
    with pytest.raises(ValueError, match=r"is no .* URL|no container|no storage account|path"):
        from_url(url)


@pytest.mark.parametrize("url", MORE)
def test_urls_that_obstore_does_not_know(url: str) -> None:
    assert refusal(theirs.from_url, url)
    prefix, config = MORE[url]
    store: Any = from_url(url)
    assert (store.prefix, store.config) == (prefix, config)


@pytest.mark.parametrize("name", ["from_url", "S3Store", "GCSStore", "AzureStore", "LocalStore", "HTTPStore"])
def test_signatures_begin_as_obstores(name: str) -> None:
    def signature(module: Any) -> dict[str, inspect.Parameter]:
        found = getattr(module, name)
        return dict(inspect.signature(getattr(found, "from_url", found)).parameters)

    mine = signature(ours)
    for parameter, wanted in signature(theirs).items():
        assert mine[parameter].kind == wanted.kind or parameter == "url"
        assert mine[parameter].default == wanted.default
    extra = mine.keys() - signature(theirs).keys()
    assert all(mine[parameter].default is not inspect.Parameter.empty for parameter in extra)


WEST = "https://b.s3.us-west-2.amazonaws.com/a"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://b/a", {"region": "x"}),
        ("s3://b/a", {"config": {"bucket": "c"}}),
        (WEST, {"config": {"AWS_REGION": "x"}}),
        ("https://a.r2.cloudflarestorage.com/b", {"config": {"region": "weur", "endpoint_url": "https://x"}}),
        ("https://account.blob.core.windows.net", {"container_name": "c"}),
        ("https://account.blob.core.windows.net/c", {"config": {"azure_storage_account_name": "z"}}),
        ("s3://b/a", {"client_options": {"timeout": "3s"}}),
        ("file:///tmp", {"config": {"region": "x"}, "client_options": {"timeout": "3s"}}),
        ("file:///tmp", {"automatic_cleanup": True}),
        ("memory:///", {"config": {}, "client_options": {"timeout": "3s"}, "retry_config": {"max_retries": 2}}),
    ],
)
def test_options_are_obstores(url: str, options: dict[str, Any]) -> None:
    assert seen(from_url(url, **options)) == seen(theirs.from_url(url, **options))


@pytest.mark.parametrize("url", HTTP)
def test_any_other_server_is_a_web_server(url: str) -> None:
    options: dict[str, Any] = {"client_options": {"allow_http": True}}
    store: Any = from_url(url, **options, cookies=True)
    assert store == HTTPStore.from_url(url, **options, cookies=True)
    assert type(theirs.from_url(url, **options)).__name__ == "HTTPStore"


def provider() -> None: ...


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (WEST, {"region": "x"}),
        (WEST, {"AWS_REGION": "x"}),
        (WEST, {"virtual_hosted_style_request": False}),
        ("s3://b/a", {"bucket": "c"}),
        ("s3://b/a", {"config": {"region": "x"}, "region": "x"}),
        ("s3://b/a", {"config": {"region": "x", "aws_region": "y"}}),
        ("https://a.r2.cloudflarestorage.com/b", {"region": "weur"}),
        ("https://account.blob.core.windows.net/c", {"account_name": "z"}),
        ("az://c", {"account_name": "z", "container_name": "d"}),
        ("file:///tmp", {"credential_provider": provider}),
        ("memory:///", {"config": {"a": 1}}),
        ("memory:///", {"a": 1}),
        ("https://h/", {"config": {"a": 1}}),
        ("https://h/", {"credential_provider": provider}),
        ("https://h/", {"timeout": "3s"}),
    ],
)
def test_options_that_both_refuse(url: str, options: dict[str, Any]) -> None:
    assert refusal(theirs.from_url, url, **options)
    with pytest.raises(ValueError, match=r"Duplicate key|does not accept"):
        from_url(url, **options)


def test_unknown_options() -> None:
    with pytest.raises(UnknownConfigurationKeyError, match="did you mean 'region'"):
        from_url("s3://b/a", regoin="x")
    with pytest.raises(UnknownConfigurationKeyError, match="region"):
        from_url("gs://b/a", region="x")
    with pytest.raises(TypeError, match="mkdri"):
        from_url("file:///tmp", mkdri=True)
    with pytest.raises(TypeError, match="callable"):
        from_url("s3://b", credential_provider=3)  # type: ignore[arg-type]
    wrong: Any
    for wrong in (3, None, b"s3://b", Path("/tmp")):
        for call in (from_url, parse_scheme, S3Store.from_url):
            with pytest.raises(TypeError, match="must be a str"):
                call(wrong)


# -- what is cumulo's own


def test_a_store_of_another_kind() -> None:
    for store, url in ((S3Store, "gs://b/a"), (GCSStore, "s3://b"), (AzureStore, "https://example.com/a"),
                       (S3Store, "https://a.blob.core.windows.net/c"), (GCSStore, WEST)):  # fmt: skip
        with pytest.raises(ValueError, match=r"is no .* URL: write"):
            store.from_url(url)


def test_options_reach_the_store(tmp_path: Path) -> None:
    store = S3Store.from_url(
        "s3://b/a", region="eu-west-1", client_options={"timeout": "3s"}, retry_config={"max_retries": 2},
        credential_provider=provider,  # type: ignore[arg-type]
    )  # fmt: skip
    assert store.client_options == {"timeout": timedelta(seconds=3)}
    assert store.retry_config["max_retries"] == 2
    assert store.credential_provider is provider
    assert from_url((tmp_path / "new").as_uri(), mkdir=True) == LocalStore(tmp_path / "new", mkdir=True)
    for wrong in ("file:relative", "file:///a?b"):
        with pytest.raises(ValueError, match="file:///path"):
            from_url(wrong)


def test_a_none_in_config_leaves_the_urls() -> None:
    assert S3Store.from_url(WEST, config={"region": None}).config["region"] == "us-west-2"


def test_prefixes() -> None:
    assert S3Store.from_url("s3://b/a/b", prefix="c").prefix == "c"
    assert GCSStore.from_url("gs://b/a//b", prefix="c", skip_signature=True).prefix == "c"
    assert AzureStore.from_url("az://c/a", prefix="", account_name="acc").prefix is None
    assert S3Store.from_url("s3://b//a//b/", raw_keys=True).prefix == "/a//b/"


def test_subclasses_make_their_own() -> None:
    class Mine(S3Store): ...

    assert type(Mine.from_url("s3://b")) is Mine


def test_errors_keep_secrets() -> None:
    for url in ("ftp://user:secret@h/secret?sig=secret", "abfs://c:secret@h/secret?sig=secret",
                "https://user:secret@ec2.us-west-2.amazonaws.com/secret?sig=secret"):  # fmt: skip
        with pytest.raises(ValueError, match="://") as caught:
            from_url(url)
        assert "secret" not in str(caught.value)


def test_only_the_store_that_is_named_is_imported() -> None:
    code = (
        "import sys, cumulo.store\n"
        "assert 'cumulo._config' not in sys.modules\n"
        "cumulo.store.from_url('memory:///')\n"
        "assert not {'cumulo.store.s3', 'cumulo.store.local', 'cumulo._config'} & set(sys.modules)\n"
        "cumulo.store.from_url('s3://bucket/path')\n"
        "assert not {'cumulo.store.azure', 'cumulo.store.gcs', 'cumulo.store.local'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
