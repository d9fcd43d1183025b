"""obstore's modules, classes and arguments; and what any provider can say of its store."""

from __future__ import annotations

import importlib
import inspect
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest

from cumulo.exceptions import UnknownConfigurationKeyError
from cumulo.store import AzureStore, GCSStore, S3Store

MODULES = ("azure", "boto3", "earthdata", "google", "planetary_computer")


def classes(module: Any) -> dict[str, Any]:
    return {
        name: found for name, found in vars(module).items()
        if inspect.isclass(found) and found.__module__ == module.__name__ and not name.startswith("_")
    }  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_obstores_names_and_arguments(name: str) -> None:
    mine, theirs = importlib.import_module(f"cumulo.auth.{name}"), importlib.import_module(f"obstore.auth.{name}")
    for each, other in classes(theirs).items():
        found = getattr(mine, each)
        if issubclass(other, dict):
            assert set(found.__annotations__) | _keys(found) == set(other.__annotations__), each
            continue
        assert parameters(found) == parameters(other), each
        assert inspect.iscoroutinefunction(found.__call__) == inspect.iscoroutinefunction(other.__call__)
        for method in ("from_asset", "close", "session"):
            assert hasattr(found, method) == hasattr(other, method)
        if hasattr(other, "from_asset"):
            assert parameters(found.from_asset) == parameters(other.from_asset)
    for constant in ("DEFAULT_SCOPES", "DEFAULT_EARTHDATA_HOST"):
        if hasattr(theirs, constant):
            assert getattr(mine, constant) == getattr(theirs, constant)
    assert set(mine.__all__) >= set(classes(theirs))


def _keys(kind: Any) -> set[str]:
    return set(kind.__required_keys__) | set(kind.__optional_keys__)


def parameters(what: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(what).parameters.values()]


class Provider:
    """Any callable with such attributes."""

    def __init__(self, config: Any = None, prefix: Any = None) -> None:
        self.config = config
        self.prefix = prefix

    def __call__(self) -> dict[str, Any]:
        return {
            "access_key_id": "AK",
            "secret_access_key": "S",
            "token": None,
            "expires_at": datetime.now(timezone.utc),
        }


def test_what_a_provider_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes before the environment, and what is given before it, under whatever name."""
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    provider = Provider({"region": "us-west-2", "bucket": "theirs"}, "pre/fix")
    store = S3Store(credential_provider=provider)
    assert (store.config, store.prefix) == ({"region": "us-west-2", "bucket": "theirs"}, "pre/fix")
    store = S3Store("mine", prefix="own", config={"AWS_REGION": "eu-west-1"}, credential_provider=provider)
    assert (store.config, store.prefix) == ({"region": "eu-west-1", "bucket": "mine"}, "own")
    store = S3Store("mine", region="eu-west-1", credential_provider=provider)
    assert store.config["region"] == "eu-west-1"
    store = S3Store.from_url("s3://mine/of-the-url", credential_provider=provider)
    assert (store.config, store.prefix) == ({"region": "us-west-2", "bucket": "mine"}, "of-the-url")
    again = pickle.loads(pickle.dumps(store))
    assert (again.config, again.prefix) == (store.config, store.prefix)
    azure = AzureStore(credential_provider=Provider({"account_name": "a", "container_name": "c"}, "p"))
    assert (azure.config, azure.prefix) == ({"account_name": "a", "container_name": "c"}, "p")
    assert GCSStore(credential_provider=Provider({"bucket": "b"})).config == {"bucket": "b"}
    assert S3Store("b", credential_provider=Provider()).prefix is None


def test_what_a_provider_can_not_say() -> None:
    with pytest.raises(UnknownConfigurationKeyError, match="region"):
        S3Store("b", credential_provider=Provider({"regoin": "x"}))
    with pytest.raises(TypeError, match=r"credential_provider\.config"):
        S3Store("b", credential_provider=Provider("region"))
    with pytest.raises(TypeError, match=r"credential_provider\.prefix"):
        S3Store("b", credential_provider=Provider(None, 1))
