"""Keys that need care, on real servers: written, read, listed, copied and deleted as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cumulo.exceptions import GenericError
from cumulo.store import S3Store
from tests.servers import S3Server

from .conftest import SERVERS
from .support import server_store

ODD = {
    "space": "a b",
    "spaces at the ends": " a ",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "emoji": "\U0001f600/\u4e2d\u6587",
    "percent": "100%",
    "percent escape": "a%2Fb%20c",
    "plus": "a+b",
    "hash": "a#b",
    "question": "a?b=c",
    "ampersand": "a&b&amp;c",
    "semicolon": "a;b",
    "equals": "a=b",
    "quotes": "a'b\"c",
    "backslash": "a\\b",
    "angle": "<Key>a</Key>",
    "rest of ascii": "!$()*,:@[]^_`{|}~-.",
    "double slash": "a//b",
    "three slashes": "a///b",
    "dot": "./x",
    "inner dot": "a/./b",
    "dots at the end": "x/..",
    "dots at the start": "../x",
    "inner dots": "a/../b",
    "only dots": "..",
    "one character": "%",
    "tab": "a\tb",
    "query of a multipart upload": "a?uploads",
    "1024 bytes": "k" * 1024,
    "1023 bytes of emoji": "\U0001f600" * 255 + "abc",
}
CONTROLS = {"newline": "a\nb", "carriage return": "a\r\nb", "0x01": "a\x01b", "del": "a\x7fb", "next line": "a\x85b"}
RAW = {
    "leading slash": "/lead",
    "trailing slash": "trail/",
    "both": "/both/",
    "two leading": "//lead",
    "two trailing": "trail//",
    "slash": "/",
    "two slashes": "//",
}


# Those that take ways of their own where keys are raw, or stand in a prefix.
SOME = {
    name: ODD[name] for name in ("space", "percent escape", "plus", "composed", "double slash", "inner dots", "angle")
}


def _given(cases: dict[str, str]) -> Any:
    return pytest.mark.parametrize("key", [pytest.param(key, id=case) for case, key in cases.items()])


def _paths(store: S3Store, prefix: str | None = None) -> list[str]:
    return [meta["path"] for meta in store.list(prefix).collect()]


def _on_servers(cases: dict[str, str], name: str = "key") -> Any:
    """Each key on each server, but for those with line ends on moto, whose routes have none."""
    pairs = [
        pytest.param(server, key, id=f"{server}-{case}")
        for server in SERVERS
        for case, key in cases.items()
        if server != "moto" or not set("\r\n") & set(key)
    ]
    return pytest.mark.parametrize(("server", name), pairs, indirect=["server"])


def _round_trip(store: S3Store, key: str) -> None:
    """Every verb on one key, which is listed exactly once and exactly as it is."""
    data = key.encode()
    store.put(key, data)
    assert store.get(key).bytes() == data
    assert store.get(key).meta["path"] == key
    assert store.head(key)["path"] == key
    assert store.get_range(key, start=0, length=1) == data[:1]
    assert _paths(store) == [key]


def _copies(store: S3Store, key: str) -> None:
    """A copy from it, to it, and a rename to and fro."""
    store.copy(key, "plain")
    store.delete(key)
    assert _paths(store) == ["plain"]
    store.rename("plain", key)
    assert _paths(store) == [key]
    assert store.get(key).bytes() == key.encode()
    store.delete([key, "missing"])
    assert _paths(store) == []


@pytest.mark.parametrize("server", ["ministack", "swift"], indirect=True)
@_given(ODD | CONTROLS)
def test_every_verb_takes_the_key_as_it_is(s3: S3Store, key: str) -> None:
    _round_trip(s3, key)
    _copies(s3, key)


@_on_servers(RAW | CONTROLS | SOME)
def test_raw_keys_are_untouched(server: S3Server, key: str) -> None:
    store = server_store(server, raw_keys=True)
    _round_trip(store, key)
    _copies(store, key)


@_on_servers(CONTROLS | SOME, "prefix")
def test_a_prefix_may_be_as_odd(server: S3Server, prefix: str) -> None:
    store = server_store(server, prefix=prefix)
    store.put("a/b", b"1")
    whole = _same_bucket(server, store, raw_keys=True)
    assert _paths(whole) == [f"{prefix}/a/b"]
    assert _paths(store) == ["a/b"]
    assert store.list_with_delimiter()["common_prefixes"] == ["a"]
    store.delete(["a/b"])
    assert _paths(whole) == []


def _same_bucket(server: S3Server, store: S3Store, **options: Any) -> S3Store:
    return server_store(server, bucket=store.config["bucket"], **options)


def test_one_odd_key_never_fails_a_listing(server: S3Server) -> None:
    raw = server_store(server, raw_keys=True)
    cases = [*(ODD | CONTROLS | RAW).values()]
    keys = sorted([key for key in cases if server.name != "moto" or not {*key} & {*"\r\n"}], key=str.encode)
    for key in keys:
        raw.put(key, key.encode())
    assert sorted(_paths(raw), key=str.encode) == keys
    store = _same_bucket(server, raw)
    assert sorted(_paths(store), key=str.encode) == keys
    level = raw.list_with_delimiter()
    tops = {key.partition("/")[0] + "/" for key in keys if "/" in key}
    assert set(level["common_prefixes"]) == tops
    assert {meta["path"] for meta in level["objects"]} == {key for key in keys if "/" not in key}
    raw.delete(keys)
    assert _paths(raw) == []


def test_forms_of_unicode_are_different_keys(s3: S3Store) -> None:
    s3.put("caf\u00e9", b"NFC")
    s3.put("cafe\u0301", b"NFD")
    assert s3.get("caf\u00e9").bytes() == b"NFC"
    assert s3.get("cafe\u0301").bytes() == b"NFD"
    assert len(_paths(s3)) == 2


def test_one_slash_at_each_end_is_ignored(s3: S3Store) -> None:
    s3.put("/a/", b"1")
    assert s3.get("a").bytes() == b"1"
    assert s3.get("/a").meta["path"] == "a"
    assert _paths(s3) == ["a"]
    s3.copy("/a/", "/b/")
    s3.rename("/b/", "c/")
    assert _paths(s3) == ["a", "c"]
    s3.delete(["/a/", "c/"])
    assert _paths(s3) == []


@pytest.mark.parametrize("bad", ["lone \ud800 surrogate"])
def test_what_is_no_unicode_is_refused(s3: S3Store, bad: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: s3.put(bad, b""),
        lambda: s3.get(bad),
        lambda: s3.get_range(bad, start=0, length=1),
        lambda: s3.delete([bad]),
        lambda: s3.copy("a", bad),
        lambda: s3.list(bad).collect(),
        lambda: s3.list(offset=bad).collect(),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="UTF-8"):
            call()


def test_too_long_a_key_is_the_servers_to_refuse(swift: S3Server) -> None:
    """Only Swift of these servers has S3's limit of 1024 bytes."""
    with pytest.raises(GenericError) as caught:
        server_store(swift).put("k" * 1025, b"")
    assert caught.value.code == "KeyTooLongError"
    assert caught.value.status == 400
