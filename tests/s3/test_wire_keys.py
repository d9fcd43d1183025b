"""Request lines and headers as they go over the wire, on the fault server: real servers show only what they decode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest

from cumulo.store import S3Store
from tests.faults import FaultServer, Object, Response, Upload

from .support import MIB, copied, delete_result, fault_store, list_page, targets

KEY = "a b%2F+#?&;='\"\\\u00e9\r\n/\x01/../ü//~.-_"
ENCODED = quote(KEY, safe="/~.-_")
LINES = "\r\nX-Injected: 1\r\n\r\nGET /other HTTP/1.1\r\n"


def _every_verb(store: S3Store, key: str) -> list[str]:
    """Call every verb; what should have been asked for, with `ENCODED` for the key."""
    store.put(key, b"data")
    store.get(key).bytes()
    store.get_range(key, start=0, end=1)
    store.get_ranges(key, starts=[0], ends=[1])
    store.head(key)
    store.delete(key)
    store.copy("from", key)
    return [f"{method} /bucket/{ENCODED}" for method in ("PUT", "GET", "GET", "GET", "HEAD", "DELETE", "PUT")]


def test_keys_are_encoded_exactly_once(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket/*", Object(b"data"))
    fault_server.script(f"/bucket/{ENCODED}", [Object(b"data")])
    fault_server.default = copied()
    fault_server.script(f"/bucket/{ENCODED}", lambda request: copied() if request.header("x-amz-copy-source")
                        else Object(b"data")(request))  # fmt: skip
    assert _every_verb(faulty, KEY) == targets(fault_server)


def test_the_source_of_a_copy_is_encoded_exactly_once(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket/to", copied())
    faulty.copy(KEY, "to")
    assert fault_server.requests[0].header("x-amz-copy-source") == f"/bucket/{ENCODED}"


def test_multipart_lines(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script(f"/bucket/{ENCODED}", Upload())
    faulty.put(KEY, bytes(6 * MIB), max_concurrency=1)
    assert targets(fault_server) == [
        f"POST /bucket/{ENCODED}?uploads=",
        f"PUT /bucket/{ENCODED}?partNumber=1&uploadId=upload-1",
        f"PUT /bucket/{ENCODED}?partNumber=2&uploadId=upload-1",
        f"POST /bucket/{ENCODED}?uploadId=upload-1",
    ]


def test_list_queries_are_encoded_exactly_once(fault_server: FaultServer, faulty: S3Store) -> None:
    odd_token = "a+b/c==&x=%20\r\n"
    fault_server.script("/bucket", [list_page("x", token=odd_token.replace("&", "&amp;").replace("\r\n", "&#13;&#10;")),
                                    list_page("y")])  # fmt: skip
    faulty.list(KEY, offset=KEY).collect()
    first, second = (request.target.partition("?")[2].split("&") for request in fault_server.requests)
    prefix = "prefix=" + quote(KEY + "/", safe="~.-_")
    assert first == ["encoding-type=url", "list-type=2", prefix, "start-after=" + quote(KEY, safe="~.-_")]
    token = "continuation-token=" + quote(odd_token, safe="~.-_")
    assert second == [token, "encoding-type=url", "list-type=2", prefix]


def test_a_version_is_one_parameter(fault_server: FaultServer, faulty: S3Store) -> None:
    version = "v 1+/=&versionId=x#"
    fault_server.script("/bucket/key", Object(b"data"))
    faulty.get("key", options={"version": version}).bytes()
    faulty.get("key", options={"version": version, "head": True})
    assert {request.target for request in fault_server.requests} == {f"/bucket/key?versionId={quote(version, safe='')}"}


def test_a_version_has_no_line_ends(fault_server: FaultServer, faulty: S3Store) -> None:
    for call in (
        lambda: faulty.get("key", options={"version": LINES}),
        lambda: faulty.head("key", version=LINES),
        lambda: faulty.delete("key", version=LINES),
    ):
        with pytest.raises(ValueError, match="version can't hold control characters"):
            call()
    assert not fault_server.requests


@pytest.mark.parametrize("where", ["key", "prefix"])
def test_line_ends_in_keys_stay_in_the_request_line(fault_server: FaultServer, where: str) -> None:
    store = fault_store(fault_server, prefix=LINES if where == "prefix" else None)
    key = "k" if where == "prefix" else LINES
    fault_server.script("/bucket/*", copied())
    store.put(key, b"x")
    store.copy(key, "to")
    store.copy("from", key)
    fault_server.script("/bucket", list_page())
    store.list(key).collect()
    fault_server.script("/bucket?delete", delete_result())
    store.delete([key, key + "2"])
    assert len(fault_server.requests) == 5
    for request in fault_server.requests:
        assert request.target.startswith(("/bucket/", "/bucket?"))
        assert request.header("x-injected") is None


BAD_PUTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "attribute name": lambda text: {"attributes": {"a" + text: "v"}},
    "attribute": lambda text: {"attributes": {"a": "v" + text}},
    "content type": lambda text: {"attributes": {"Content-Type": text}},
    "e_tag": lambda text: {"mode": {"e_tag": text}},
}


@pytest.mark.parametrize("text", ["\r\nX-Injected: 1", "a\nb", "a\rb", "a\0b", "a\x7fb"])
@pytest.mark.parametrize("what", BAD_PUTS)
def test_what_goes_into_headers_can_not_end_them(
    fault_server: FaultServer, faulty: S3Store, what: str, text: str
) -> None:
    with pytest.raises(ValueError, match=r"control|name"):
        faulty.put("key", b"x", **BAD_PUTS[what](text))
    for condition in ("if_match", "if_none_match"):
        with pytest.raises(ValueError, match="control"):
            faulty.get("key", options={condition: text})  # type: ignore[misc]
    assert fault_server.requests == []


def test_tags_are_encoded(fault_server: FaultServer, faulty: S3Store) -> None:
    fault_server.script("/bucket/key", Object(None))
    faulty.put("key", b"x", tags={"a b&c=d": "1+1\r\nX-Injected: 1", "\u00e9": ""})
    header = fault_server.requests[0].header("x-amz-tagging")
    assert header == "a%20b%26c%3Dd=1%2B1%0D%0AX-Injected%3A%201&%C3%A9="
    assert unquote_to_bytes(header.rpartition("&")[2]) == "\u00e9=".encode()


@pytest.mark.parametrize("bucket", ["a/b", "a?b", "a#b", "a\r\nb", "a b", "", "..", "a\0b", "a@b"])
def test_bucket_names_can_not_be_more_than_a_name(fault_server: FaultServer, bucket: str) -> None:
    with pytest.raises(ValueError, match="bucket"):
        S3Store(bucket, endpoint=fault_server.url, client_options={"allow_http": True}, skip_signature=True)


def test_an_odd_bucket_name_is_encoded_everywhere(fault_server: FaultServer) -> None:
    store = fault_store(fault_server, bucket="\u00e9%")
    fault_server.script("/%C3%A9%25/to", copied())
    store.copy("from", "to")
    assert fault_server.requests[0].header("x-amz-copy-source") == "/%C3%A9%25/from"


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\0b"])
@pytest.mark.parametrize("option", ["user_agent", "default_headers", "default_content_type"])
def test_client_options_can_not_inject(fault_server: FaultServer, option: str, value: str) -> None:
    given: Any = {"X-Mine": value} if option == "default_headers" else value
    fault_server.script("/bucket/key", Object(None))
    with pytest.raises(ValueError, match=option):
        fault_store(fault_server, client_options={option: given}).put("key", b"x")
    assert fault_server.requests == []


def test_an_upload_id_is_one_parameter(fault_server: FaultServer, faulty: S3Store, tmp_path: Path) -> None:
    odd = "id/+ &amp;x=1"
    created = Response.xml(f"<InitiateMultipartUploadResult><UploadId>{odd}</UploadId></InitiateMultipartUploadResult>")
    fault_server.script("/bucket/key", Response.error(403), method="PUT")
    fault_server.script("/bucket/key", created, method="POST")
    fault_server.script("/bucket/key", Response(204), method="DELETE")
    with pytest.raises(PermissionError):
        faulty.put("key", b"x", use_multipart=True)
    assert {request.query.get("uploadId") for request in fault_server.requests[1:]} == {"id/+ &x=1"}
