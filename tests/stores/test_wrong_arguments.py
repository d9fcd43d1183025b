"""What no call can mean is refused by every store, in each of the three ways, before anything is sent or written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cumulo
from cumulo import transfer
from cumulo.exceptions import NotSupportedError
from cumulo.store import AzureStore, GCSStore, HTTPStore, LocalStore, MemoryStore, S3Store
from tests.azure import support as azure
from tests.calls import CALLS
from tests.faults import FaultServer
from tests.gcs import support as gcs
from tests.http import support as http
from tests.s3 import support as s3

FLAGS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("copy", ("key", "other"), {"overwrite": "false"}),
    ("copy", ("key", "other"), {"overwrite": None}),
    ("rename", ("key", "other"), {"overwrite": 0}),
    ("put", ("key", b"new"), {"use_multipart": "false"}),
    ("download", ("key", "target"), {"fsync": "no"}),
    ("download", ("key", "target"), {"resume": 1}),
    ("delete_prefix", ("",), {"everything": "false"}),
    ("delete_prefix", ("k",), {"substring": "false"}),
    ("list_with_delimiter", (), {"return_arrow": "false"}),
    ("list_with_delimiter", ("k",), {"substring": 1}),
    ("get", ("key",), {"options": {"head": "false"}}),
]
OPTIONS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("get", ("key",), {"options": 0}, "options"),
    ("get", ("key",), {"options": []}, "options"),
    ("get", ("key",), {"options": {"if_match": ""}}, "if_match"),
    ("get", ("key",), {"options": {"if_none_match": " "}}, "if_none_match"),
    ("get", ("key",), {"options": {"if_match": "\ud800"}}, "if_match.* UTF-8"),
    ("put", ("key", b"new"), {"mode": {"e_tag": ""}}, "e_tag"),
    ("put", ("key", b"new"), {"attributes": {"name": "\ud800"}}, "'name'.* UTF-8"),
    ("put", ("key", b"new"), {"tags": {"name": "\ud800"}}, "'name'.* UTF-8"),
    ("put", ("key", b"new"), {"tags": {"\ud800": "value"}}, "name.* UTF-8"),
]
VERSIONS: list[Any] = ["", " ", b"1", "\ud800", "a\nb", 5]


@pytest.fixture(params=CALLS.values(), ids=CALLS)
def call(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    return request.param


@pytest.fixture(params=["s3", "gcs", "azure", "http", "memory", "local"])
def store(request: pytest.FixtureRequest, fault_server: FaultServer, tmp_path: Path) -> Any:
    if request.param == "http":
        return http.web_store(fault_server.url)
    remote: dict[str, Callable[[FaultServer], Any]] = {
        "s3": s3.fault_store, "gcs": gcs.fault_store, "azure": azure.fault_store,
    }  # fmt: skip
    if request.param in remote:
        return remote[request.param](fault_server)
    made = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "data", mkdir=True)
    made.put("key", b"old")
    return made


def untouched(store: Any, fault_server: FaultServer) -> bool:
    if isinstance(store, (MemoryStore, LocalStore)):
        return [meta["path"] for meta in store.list().collect()] == ["key"] and store.get("key").bytes() == b"old"
    return not fault_server.requests


def test_a_flag_is_a_bool(store: Any, call: Callable[..., Any], fault_server: FaultServer) -> None:
    for verb, arguments, options in FLAGS:
        with pytest.raises(TypeError, match="must be True or False, not "):
            call(store, verb, *arguments, **options)
        assert untouched(store, fault_server), (verb, options)


def test_a_flag_of_a_stream_is_a_bool(store: Any, fault_server: FaultServer) -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: store.list(return_arrow="false"),
        lambda: store.list(substring="false"),
        lambda: store.list_async(substring="false"),
        lambda: store.get_many(["key"], ordered="false"),
        lambda: store.put_many([("key", b"")], ordered="false"),
        lambda: transfer.copy(store, "key", MemoryStore(), "key", overwrite="false"),  # type: ignore[arg-type]
    ]
    for make in wrong:
        with pytest.raises(TypeError, match="must be True or False, not 'false'"):
            make()
    assert untouched(store, fault_server)


@pytest.mark.parametrize(
    "make",
    [
        lambda: S3Store("bucket", raw_keys="false"),  # type: ignore[arg-type]
        lambda: GCSStore("bucket", raw_keys="false"),  # type: ignore[arg-type]
        lambda: AzureStore("container", account_name="account", raw_keys="false"),  # type: ignore[arg-type]
        lambda: HTTPStore("https://example.com", cookies="false"),  # type: ignore[arg-type]
        lambda: LocalStore("/tmp", mkdir="false"),  # type: ignore[arg-type]
        lambda: LocalStore("/tmp", follow_symlinks="false"),  # type: ignore[arg-type]
        lambda: LocalStore("/tmp", fsync="false"),  # type: ignore[arg-type]
        lambda: LocalStore("/tmp", automatic_cleanup="false"),  # type: ignore[arg-type]
    ],
)
def test_a_flag_of_a_store_is_a_bool(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="must be True or False, not 'false'"):
        make()


def test_bools_of_numpy_are_bools() -> None:
    store = MemoryStore()
    store.put("key", b"old")
    sizes = np.array([1, 2])
    store.copy("key", "other", overwrite=bool(sizes[0] < sizes[1]))
    store.copy("key", "other", overwrite=sizes[0] < sizes[1])
    with pytest.raises(FileExistsError):
        store.copy("key", "other", overwrite=sizes[0] > sizes[1])


def test_an_option_that_makes_no_sense(store: Any, call: Callable[..., Any], fault_server: FaultServer) -> None:
    for verb, arguments, options, named in OPTIONS:
        with pytest.raises((TypeError, ValueError), match=named) as caught:
            call(store, verb, *arguments, **options)
        assert type(caught.value) in (TypeError, ValueError)
        assert untouched(store, fault_server), (verb, options)


@pytest.mark.parametrize("verb", ["head", "delete", "get"])
def test_what_is_no_version(store: Any, call: Callable[..., Any], fault_server: FaultServer, verb: str) -> None:
    """A server that passes over an empty one would delete the latest."""
    for version in VERSIONS:
        options = {"options": {"version": version}} if verb == "get" else {"version": version}
        with pytest.raises((TypeError, ValueError, NotSupportedError)) as caught:
            call(store, verb, "key", **options)
        assert type(caught.value) in (TypeError, ValueError, NotSupportedError)
        assert untouched(store, fault_server), version


@pytest.mark.parametrize("prefix", [0, False, 5, b"k"])
def test_what_is_no_prefix(store: Any, fault_server: FaultServer, prefix: Any) -> None:
    with pytest.raises(TypeError, match="a path must be a str"):
        store.list(prefix).collect()
    assert untouched(store, fault_server)


def test_a_signature_until_a_date_that_there_is_not() -> None:
    store = AzureStore("container", account_name="account", account_key=azure.KEY)
    with pytest.raises(ValueError, match="beyond the year 9999"):
        store.sign("GET", "key", timedelta(days=365 * 9000))


OBJECTS: list[Any] = [
    np.array([None, "text"], dtype=object),
    np.zeros(2, dtype=[("name", "O"), ("size", "<i4")]),
    np.array([["a"], ["b"]], dtype=object),
]


@pytest.mark.parametrize("wrong", OBJECTS)
def test_references_to_objects_are_no_content(
    store: Any, call: Callable[..., Any], fault_server: FaultServer, wrong: Any
) -> None:
    """What would be written are addresses in this process."""
    for content in (wrong, iter([wrong])):
        with pytest.raises(TypeError, match="holds references to Python objects"):
            call(store, "put", "key", content)
    assert untouched(store, fault_server)


@pytest.mark.parametrize("wrong", OBJECTS)
def test_references_to_objects_are_not_written_in_other_ways(store: Any, fault_server: FaultServer, wrong: Any) -> None:
    with pytest.raises(TypeError, match="holds references to Python objects"):
        list(store.put_many([("key", wrong)]))
    with cumulo.open_writer(store, "key") as file:
        with pytest.raises(TypeError, match="holds references to Python objects"):
            file.write(wrong)
        file.discard()
    assert untouched(store, fault_server)


@pytest.mark.parametrize("wrong", [{5: "a"}, {"name": 5}, {"name": "a\nb"}, ["name"], 5])
def test_attributes_of_a_copy_are_looked_at_first(store: Any, fault_server: FaultServer, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        transfer.copy(store, "key", MemoryStore(), "key", attributes=wrong)
    assert untouched(store, fault_server)


@pytest.mark.parametrize("wrong", [-1, float("nan"), "1", None, True])
def test_an_age_is_a_number_of_seconds(tmp_path: Path, wrong: Any) -> None:
    """Nothing is younger than what is not a number: all would be removed."""
    store = LocalStore(tmp_path)
    leftover = tmp_path / ".key.cumulo-1-0123456789abcdef.tmp"
    leftover.write_bytes(b"")
    with pytest.raises((TypeError, ValueError), match="older_than_s must be"):
        store.remove_leftovers(older_than_s=wrong)
    assert leftover.exists()


def test_fields_with_an_o_in_their_name_are_content() -> None:
    store = MemoryStore()
    array = np.zeros(2, dtype=[("NO2", "<f4"), ("O", "<i4")])
    store.put("key", array)
    assert store.head("key")["size"] == array.nbytes
