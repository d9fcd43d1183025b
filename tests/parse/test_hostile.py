"""Answers that are no listing: an error each, which says what came, in bounded time and length."""

from __future__ import annotations

import random
import time
import xml.etree.ElementTree as ET
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulo._native import ListError, parse_list_page, xml_fields

from .pages import Item, page, prefixes

BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>
<ListBucketResult><Name>&b;</Name></ListBucketResult>"""
EXTERNAL = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>"""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n", "no element"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "<!DOCTYPE html><html>"),
        (b"<!doctype html>\n<html>", "<!doctype html>"),
        (b"<html><body><p>Gateway</p></body></html>", "document <html>"),
        (b"<html><body><p>Gateway<br></body></html>", "document <html>"),
        (b'{"error": "denied"}', "denied"),
        (b"503 Service Unavailable", "503 Service"),
        (b"\x1f\x8b\x08\x00", r"x1f"),
        (b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>", "<ListAllMyBucketsResult>"),
        (b"<ListVersionsResult/>", "<ListVersionsResult>"),
        (b"<listbucketresult/>", "<listbucketresult>"),
        (b"<Error><Code>NoSuchBucket</Code>", "well-formed"),
        (b"<Error/>", "error document"),
        (BILLION_LAUGHS, "document type"),
        (EXTERNAL, "document type"),
        (page(Item("k")) + b"<x/>", "more after"),
        (page(Item("k")) + b"HTTP/1.1 200 OK", "more after"),
        (page("<Name>&nbsp;</Name>"), "reference"),
        (page("<Contents><Key><b>k</b></Key></Contents>"), "only text"),
        (page("</Contents>"), "end tag"),
        (page("<Owner>" * 40), "too deep"),
        (page("<Name>\0</Name>"), "NUL"),
    ],
)
def test_no_listing(body: bytes, says: str) -> None:
    for url in (False, True):
        with pytest.raises(ListError, match=says) as caught:
            parse_list_page(body, "", url)
        assert caught.value.code is None
        assert len(str(caught.value)) < 300


def test_an_error_document_is_told_with_its_code() -> None:
    body = b"<?xml version='1.0'?>\n<Error xmlns='u'><Code>AccessDenied</Code><Message>No</Message><HostId/></Error>"
    with pytest.raises(ListError, match="AccessDenied: No") as caught:
        parse_list_page(body, "", True)
    assert (caught.value.code, caught.value.message) == ("AccessDenied", "No")


WHOLE = page(
    "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
    Item("a&b", 12),
    "<!-- c --><![CDATA[x]]>",
    prefixes("p/"),
)


AFTER_DECLARATION = WHOLE.index(b"?>") + 2


def test_cut_anywhere() -> None:
    parse_list_page(WHOLE, "", True)
    for length in range(len(WHOLE)):
        for url in (False, True):
            with pytest.raises(ListError):
                parse_list_page(WHOLE[:length], "", url)
        with pytest.raises(ListError):
            xml_fields(WHOLE[:length])


def test_mutated() -> None:
    """Whatever comes is a page or a ListError, and never a page where Python's own parser sees a broken document."""
    rng = random.Random(20)
    pages = 0
    whole = WHOLE.replace(b"<![CDATA[x]]>", b"")  # its end is refused as text by XML, and read by us
    for _ in range(20_000):
        body = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(AFTER_DECLARATION, len(body))
            body[at : at + rng.randrange(3)] = rng.choice(
                [b"", b"<", b">", b"&", b"/", b"x", b"%", b"\xff", b"<a>", b"1"]
            )
        found = page_or_none(bytes(body))
        pages += found is not None
        if found is not None and b"\xff" not in body:
            root = ET.fromstring(bytes(body))
            assert [each["path"] for each in found] == [each.findtext("{*}Key") for each in root.findall("{*}Contents")]
    assert pages > 500


def page_or_none(body: bytes) -> list[dict[str, Any]] | None:
    try:
        return parse_list_page(body, "", True)[0]
    except ListError:
        return None


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    for body in (raw, b"<ListBucketResult>" + raw, b"<ListBucketResult>" + raw + b"</ListBucketResult>"):
        page_or_none(body)
        with suppress(ListError):
            xml_fields(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<ListBucketResult>" + b"<!--" * 500_000,
        b"<ListBucketResult>" + b"<!---->" * 300_000,
        b"<ListBucketResult" + b" a='b'" * 300_000,
        b"<ListBucketResult>" + b"<a/>" * 500_000,
        b"<ListBucketResult>" + b"<EncodingType>" * 30 + b"x" * 1_000_000,
        b"<ListBucketResult>" + b"<Contents>" * 200_000,
        b"<ListBucketResult><Name>" + b"&amp;" * 400_000,
        b"<ListBucketResult><Name>" + b"<![CDATA[]]>" * 200_000,
        b"<ListBucketResult>" + Item("k").xml().encode() * 5_000,
        b"<" + b"a" * 2_000_000,
        b"<ListBucketResult>&#" + b"1" * 2_000_000,
        b" " * 2_000_000,
    ],
)
def test_large_ones_take_linear_time(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ListError):
        parse_list_page(body, "", True)
    assert time.process_time() - began < 1  # a few milliseconds; quadratic would be minutes
