"""A page of Azure's List Blobs: what is read from it, and what it must not hold."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from cumulo._native import ListError, parse_blob_page

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
WHEN = datetime(1994, 11, 6, 8, 49, 37, tzinfo=timezone.utc)


def blob(name: str, attributes: str = "", extra: str = "", date: str = DATE, size: str = "5") -> str:
    return (
        f"<Blob><Name{attributes}>{name}</Name>{extra}<Properties><Last-Modified>{date}</Last-Modified>"
        f"<Etag>0x8D1</Etag><Content-Length>{size}</Content-Length></Properties><OrMetadata /></Blob>"
    )


def page(*parts: str, marker: str = "") -> bytes:
    head = '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://a/" ContainerName="c">'
    return (
        f"{head}<Prefix/><Blobs>{''.join(parts)}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>".encode()
    )


def test_a_page() -> None:
    body = page(
        blob("p/a &amp; +é"),
        blob("p/%EF%BF%BE+x", ' Encoded="true"', "<VersionId>2025</VersionId>"),
        blob("p/%20", ' Encoded="false"'),
        "<BlobPrefix><Name>p/q/</Name></BlobPrefix>",
        marker="2!8&amp;",
    )
    found = {"last_modified": WHEN, "size": 5, "e_tag": '"0x8D1"'}
    assert parse_blob_page(body, "p/") == (
        [
            {"path": "a & +é", **found, "version": None},
            {"path": "\ufffe+x", **found, "version": "2025"},
            {"path": "%20", **found, "version": None},
        ],
        ["q/"],
        "2!8&",
    )
    assert parse_blob_page(page(), "") == ([], [], None)


def test_directories_of_a_hierarchical_namespace_are_left_out() -> None:
    directory = "<Blob><Name>d</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>"
    file = blob("f").replace("</Properties>", "<ResourceType>file</ResourceType></Properties>")
    assert [each["path"] for each in parse_blob_page(page(directory, file), "")[0]] == ["f"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (page(blob("p/a"))[:-9], "not well-formed"),
        (b"<html></html>", "<html>"),
        (b"<ListBucketResult></ListBucketResult>", "<ListBucketResult>"),
        (page(blob("q/a")), "does not begin with"),
        (page(blob("p/a", size="-1")), "Content-Length"),
        (page(blob("p/a", date="yesterday")), "Last-Modified"),
        (page(blob("p/a", date="Sun, 31 Feb 1994 08:49:37 GMT")), "Last-Modified"),
        (page("<Blob><Name>p/a</Name></Blob>"), "without Name, "),
        (page("<Blob><Name>p/a</Name><Properties/></Blob>"), "Last-Modified or Content-Length"),
    ],
)
def test_what_is_no_page(body: bytes, told: str) -> None:
    with pytest.raises(ListError, match=told):
        parse_blob_page(body, "p/")


def test_an_error_document() -> None:
    with pytest.raises(ListError) as caught:
        parse_blob_page(b"<Error><Code>ServerBusy</Code><Message>No.</Message></Error>", "")
    assert (caught.value.code, caught.value.message) == ("ServerBusy", "No.")
