"""Pages of ListObjectVersions."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cumulo._native import ListError, parse_version_page

from .pages import MODIFIED, WHEN


def version(key: str, number: str, *, latest: bool, size: int = 3) -> str:
    return (
        f"<Version><Key>{key}</Key><VersionId>{number}</VersionId><IsLatest>{str(latest).lower()}</IsLatest><LastModified>"
        f"{MODIFIED}</LastModified><ETag>&quot;e&quot;</ETag><Size>{size}</Size><Owner><ID>x</ID></Owner></Version>"
    )


def marker(key: str, number: str) -> str:
    return (
        f"<DeleteMarker><Key>{key}</Key><VersionId>{number}</VersionId><IsLatest>true</IsLatest><LastModified>{MODIFIED}"
        "</LastModified></DeleteMarker>"
    )


def page(*content: str) -> bytes:
    return f"<?xml version='1.0'?><ListVersionsResult>{''.join(content)}</ListVersionsResult>".encode()


def test_a_page() -> None:
    more = (
        "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>p/a%2Bb</NextKeyMarker>"
        "<NextVersionIdMarker>v2</NextVersionIdMarker>"
    )
    found, token = parse_version_page(
        page(more, marker("p/a+b", "v3"), version("p/a+b", "v2", latest=False)), "p/", True
    )
    assert token == ("p/a+b", "v2")
    common = {"path": "a b", "last_modified": WHEN}
    assert found == [
        {**common, "size": 0, "e_tag": None, "version": "v3", "is_latest": True, "is_delete_marker": True},
        {**common, "size": 3, "e_tag": '"e"', "version": "v2", "is_latest": False, "is_delete_marker": False},
    ]
    assert parse_version_page(page("<IsTruncated>false</IsTruncated>"), "", True) == ([], None)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b"<ListBucketResult/>", "ListBucketResult"),
        (page("<IsTruncated>true</IsTruncated>"), "not where the next one begins"),
        (page(version("a", "1", latest=True).replace("<Size>3</Size>", "")), "without Key"),
        (page(marker("a", "1").replace("LastModified", "Modified")), "without Key"),
        (page(version("q/a", "1", latest=True)), "does not begin with"),
        (page(version("p/a", "1</VersionId><VersionId>2", latest=True)), "second time"),
    ],
)
def test_what_is_no_page(body: bytes, told: str) -> None:
    with pytest.raises(ListError, match=told):
        parse_version_page(body, "p/" if b"q/" in body else "", True)


def test_an_error_document() -> None:
    with pytest.raises(ListError) as caught:
        parse_version_page(b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>", "", True)
    assert (caught.value.code, caught.value.message) == ("AccessDenied", "No.")


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_mutations_are_read_or_refused(seed: int) -> None:
    source = random.Random(seed)
    body = bytearray(page(version("p/a&amp;b", "1", latest=True), marker("p/%C3%A9", "2")))
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(body))
        body[at : at + source.randrange(3)] = source.choice([b"", b"<", b"&", b"%", b"\xff", b"9", b"/>", b"<Key>"])
    with suppress(ListError):
        parse_version_page(bytes(body), "", True)
