"""A page of a listing: what is read from it, with what it may hold and what it must not."""

from __future__ import annotations

import copy
import pickle
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulo._native import Bytes, ListError, parse_list_page

from .pages import MODIFIED, WHEN, Item, encoded, escaped, meta, page, page_by_etree, prefixes

UNICODE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
ANY_BYTES = st.binary(min_size=1, max_size=40).map(
    lambda raw: raw.replace(b"\0", b"?").decode(errors="surrogateescape")
)
ETAGS = st.none() | UNICODE
SIZES = st.integers(0, 2**64 - 1)


def objects(body: bytes, strip: str = "", url: bool = False) -> list[dict[str, Any]]:
    return parse_list_page(body, strip, url)[0]


def refused(body: bytes, match: str, strip: str = "", url: bool = False) -> ListError:
    with pytest.raises(ListError, match=match) as caught:
        parse_list_page(body, strip, url)
    assert len(str(caught.value)) < 500
    return caught.value


# --- whole pages -----------------------------------------------------------------------------------------------------


def test_a_page() -> None:
    body = page(
        "<Name>b</Name><Prefix>p/</Prefix><Delimiter>/</Delimiter><MaxKeys>1000</MaxKeys><KeyCount>3</KeyCount>",
        "<IsTruncated>true</IsTruncated><ContinuationToken>old</ContinuationToken>",
        "<NextContinuationToken>1ueG/x=+%20&amp;</NextContinuationToken>\n  ",
        Item("p/a.tif", 5),
        "\n  <!-- nothing -->",
        Item("p/b.tif", 2**63, None),
        prefixes("p/c/"),
    )
    assert parse_list_page(body, "p/", False) == (
        [meta("a.tif", 5), meta("b.tif", 2**63, None)],
        ["c/"],
        "1ueG/x=+%20&",
        True,
        3,
        "p/",
    )
    assert page_by_etree(body, "p/") == parse_list_page(body, "p/", True)


def test_an_empty_page() -> None:
    assert parse_list_page(page(), "", False) == ([], [], None, False, None, None)
    assert parse_list_page(b"<ListBucketResult/>", "", True) == ([], [], None, False, None, None)
    assert parse_list_page(page("<Prefix/><KeyCount>0</KeyCount>"), "", True) == ([], [], None, False, 0, "")


def test_types_are_exact() -> None:
    found = objects(page(Item("k", 1)))[0]
    assert list(found) == ["path", "last_modified", "size", "e_tag", "version"]
    assert [type(each) for each in found.values()] == [str, datetime, int, str, type(None)]
    assert found["last_modified"].tzinfo is timezone.utc
    assert type(parse_list_page(page("<IsTruncated>false</IsTruncated>"), "", False)[3]) is bool


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, Bytes])
def test_any_buffer(wrap: Any) -> None:
    assert objects(wrap(page(Item("k")))) == [meta("k")]


@pytest.mark.parametrize("wrong", ["<ListBucketResult/>", None, 3])
def test_no_buffer(wrong: Any) -> None:
    with pytest.raises(TypeError):
        parse_list_page(wrong, "", False)


def test_the_order_of_elements_does_not_matter() -> None:
    fields = ["<Key>k</Key>", "<Size>7</Size>", "<ETag>e</ETag>", f"<LastModified>{MODIFIED}</LastModified>", "<X/>"]
    rng = random.Random(7)
    for _ in range(20):
        rng.shuffle(fields)
        assert objects(page(f"<Contents>{''.join(fields)}</Contents>")) == [meta("k", 7, "e")]


def test_prefixed_and_foreign_elements() -> None:
    body = (
        b"<s:ListBucketResult xmlns:s='u'><s:Contents a='1'><s:Key>k</s:Key><s:Size>1</s:Size>"
        b"<x><Key>not this</Key><Size>nor this</Size></x><s:LastModified>2009-10-12T17:50:30Z</s:LastModified>"
        b"</s:Contents><x><Contents/><IsTruncated>true</IsTruncated></x></s:ListBucketResult>"
    )
    assert parse_list_page(body, "", False) == ([meta("k", 1, None)], [], None, False, None, None)


# --- round trips -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(UNICODE | ANY_BYTES, SIZES, ETAGS), max_size=8), st.lists(UNICODE, max_size=3), st.booleans())
def test_round_trip(items: list[tuple[str, int, str | None]], common: list[str], url: bool) -> None:
    body = page(*[Item(*each) for each in items], prefixes(*common, url=url), url=url)
    found, names, *_ = parse_list_page(body, "", url)
    # Bytes that are no UTF-8 on their own may be one character together: compared as what was stored.
    assert [each["path"].encode(errors="surrogateescape") for each in found] == [
        key.encode(errors="surrogateescape") for key, _, _ in items
    ]
    assert [(each["size"], each["e_tag"]) for each in found] == [(size, e_tag) for _, size, e_tag in items]
    assert names == common


XML_TEXT = st.text(
    st.characters(exclude_characters="\r\ufffe\uffff", exclude_categories=["Cs", "Cc"])
    | st.sampled_from("\t\n&<>'\"%+"),
    min_size=1,
    max_size=30,
)


@given(
    st.lists(st.builds(Item, XML_TEXT, SIZES, st.none() | XML_TEXT), max_size=5),
    st.lists(XML_TEXT, max_size=3),
    st.none() | XML_TEXT,
    st.booleans(),
)
def test_as_etree_reads_it(items: list[Item], common: list[str], token: str | None, url: bool) -> None:
    ends = "" if token is None else f"<IsTruncated>true</IsTruncated><NextMarker>{escaped(token)}</NextMarker>"
    body = page(*items, prefixes(*common, url=url), ends, f"<Prefix>{escaped(token or '')}</Prefix>", url=url)
    _, _, next_token, truncated, count, prefix = parse_list_page(body, "", url)
    expected = page_by_etree(body)
    assert parse_list_page(body, "", url)[:2] == expected[:2]
    assert (next_token, truncated, count, prefix or None) == (*expected[2:5], expected[5] or None)


# --- keys ------------------------------------------------------------------------------------------------------------

ODD_KEYS = [
    "a//b",
    "./x",
    "..",
    "a\nb",
    "a\r\nb",
    " ",
    " a ",
    "a\tb",
    "\x01\x1f\x7f",
    "]]>",
    "<&>'\"",
    "%2F",
    "a+b",
    "é",
]
ODD_KEYS += [
    "a%",
    "%%41",
    "𝄞",
    "\ufffe",
    "\ufeffk",
    "\ud800".encode(errors="surrogatepass").decode(errors="surrogateescape"),
]


@pytest.mark.parametrize("key", ODD_KEYS)
@pytest.mark.parametrize("url", [False, True])
def test_odd_keys(key: str, url: bool) -> None:
    assert objects(page(Item(key), Item("plain"), url=url), url=url) == [meta(key), meta("plain")]


@pytest.mark.parametrize("raw", [b"a\xffb", b"\xe9", b"\xed\xa0\x80", b"a\rb", b"a\r\nb", b"\x01\x7f"])
def test_bytes_as_sent(raw: bytes) -> None:
    """Servers that do not escape a key are taken at their word: XML would make CR LF one LF."""
    body = page(Item("KEY")).replace(b"KEY", raw)
    assert objects(body)[0]["path"].encode(errors="surrogateescape") == raw


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ("a%20b+c%2B", "a b c+"),
        ("%E2%82%ac", "€"),
        ("%ff", "\udcff"),
        ("100%", "100%"),
        ("%4", "%4"),
        ("%zz%4", "%zz%4"),
        ("%2", "%2"),
        ("%%34%31", "%41"),
        ("%00", "\0"),
        ("&#37;41&#x2b;", "A "),
        ("<![CDATA[%41&amp;]]>%42", "A&amp;B"),
    ],
)
def test_url_decoding(sent: str, key: str) -> None:
    item = f"<Contents><Key>{sent}</Key><LastModified>{MODIFIED}</LastModified><Size>0</Size></Contents>"
    assert objects(page(item, url=True), url=True) == [meta(key, 0, None)]


def test_strip_prefix() -> None:
    body = page(Item("dir é/a"), Item("dir é/"), prefixes("dir é/b/"))
    assert [each["path"] for each in objects(body, "dir é/")] == ["a", ""]
    assert parse_list_page(body, "dir é/", False)[1] == ["b/"]
    body = page(Item("dir é/a"), Item("dir é/"), prefixes("dir é/b/", url=True), url=True)
    assert [each["path"] for each in objects(body, "dir é/", url=True)] == ["a", ""]
    assert objects(page(Item("\udcff/a")), "\udcff/") == [meta("a")]
    refused(page(Item("dir/a"), Item("dis/a")), "begin with b'dir/'", "dir/")
    refused(page(Item("di")), "begin with", "dir/")
    refused(page(prefixes("other/")), "begin with", "dir/")


@given(UNICODE, UNICODE, st.booleans())
def test_strip_prefix_round_trip(prefix: str, rest: str, url: bool) -> None:
    assert objects(page(Item(prefix + rest), url=url), prefix, url) == [meta(rest)]


# --- what the page says of its encoding ------------------------------------------------------------------------------


def test_the_page_says_whether_keys_are_encoded() -> None:
    says, item = "<EncodingType>url</EncodingType>", Item("a%41")
    assert objects(page(says, item), url=False) == [meta("aA")]
    assert objects(page(says, item), url=True) == [meta("aA")]
    assert objects(page(item, item, says), url=True) == [meta("aA"), meta("aA")]
    assert objects(page(item), url=True) == [meta("a%41")]
    assert objects(page(item, "<EncodingType/>"), url=True) == [meta("a%41")]
    assert objects(page("<x><EncodingType>url</EncodingType></x>", item), url=True) == [meta("a%41")]
    assert objects(page(item, "<x><EncodingType>url</EncodingType></x>"), url=True) == [meta("a%41")]
    refused(page(item, says), "EncodingType.*not asked for")
    refused(page("<EncodingType>base64</EncodingType>", item), "base64")
    refused(page(item)[:-1], "not well-formed", url=True)


def test_what_else_is_encoded() -> None:
    rest = f"<Prefix>{encoded('a b')}</Prefix><NextMarker>{encoded('m é+')}</NextMarker><IsTruncated>true</IsTruncated>"
    assert parse_list_page(page(rest, url=True), "", True) == ([], [], "m é+", True, None, "a b")
    # A continuation token is opaque.
    rest = "<NextContinuationToken>a%20+</NextContinuationToken><IsTruncated>true</IsTruncated>"
    assert parse_list_page(page(rest, url=True), "", True)[2] == "a%20+"


# --- truncation of the listing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "token", "truncated"),
    [
        ("<IsTruncated>false</IsTruncated>", None, False),
        ("<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>", None, False),
        ("<IsTruncated>true</IsTruncated><NextMarker>m</NextMarker>", "m", True),
        ("<IsTruncated>true</IsTruncated><NextMarker>m</NextMarker><NextContinuationToken/>", "m", True),
        ("<NextMarker>m</NextMarker><NextContinuationToken>t</NextContinuationToken>", "t", True),
        ("<NextMarker/>", None, False),
    ],
)
def test_tokens(fields: str, token: str | None, truncated: bool) -> None:
    assert parse_list_page(page(fields), "", False)[2:4] == (token, truncated)


@pytest.mark.parametrize("token", ["", "<NextContinuationToken/>", "<NextMarker></NextMarker>"])
def test_truncated_without_a_token(token: str) -> None:
    refused(page(Item("k"), "<IsTruncated>true</IsTruncated>", token), "truncated")


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("007", 7), ("18446744073709551615", 2**64 - 1), ("000000000000000000000000001", 1)],
)
def test_sizes(text: str, value: int) -> None:
    assert objects(page(Item("k").xml().replace("<Size>0<", f"<Size>{text}<")))[0]["size"] == value


GARBLED_SIZES = ["", " 1", "1 ", "-1", "+1", "1.0", "1e3", "0x10", "1_0", "x", "٣", "<b>1</b>", "1" * 40]
GARBLED_SIZES += ["18446744073709551616", "99999999999999999999"]


@pytest.mark.parametrize("text", GARBLED_SIZES)
def test_garbled_sizes(text: str) -> None:
    refused(page(Item("k").xml().replace("<Size>0<", f"<Size>{text}<")), "Size|only text")
    refused(page(f"<KeyCount>{text}</KeyCount>"), "KeyCount|only text")


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2009-10-12T17:50:30Z", WHEN),
        ("2009-10-12T17:50:30.5Z", WHEN + timedelta(microseconds=500000)),
        ("2009-10-12T17:50:30.123456789Z", WHEN + timedelta(microseconds=123456)),
        ("2009-10-12T17:50:30.000+00:00", WHEN),
        ("2009-10-12T19:50:30+02:00", WHEN),
        ("2009-10-12T12:20:30.000-05:30", WHEN),
        ("2024-02-29T23:59:59.999Z", datetime(2024, 2, 29, 23, 59, 59, 999000, timezone.utc)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=timezone.utc)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)),
    ],
)
def test_dates(text: str, when: datetime) -> None:
    found = objects(page(Item("a", modified=text), Item("b", modified=text), Item("c"), Item("d", modified=text)))
    assert [each["last_modified"] for each in found] == [when, when, WHEN, when]
    assert all(each["last_modified"].tzinfo is timezone.utc for each in found)


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_every_date(when: datetime) -> None:
    text = when.strftime("%m-%dT%H:%M:%S.%fZ")
    assert objects(page(Item("a", modified=f"{when.year:04}-{text}")))[0]["last_modified"] == when


GARBLED_DATES = ["", "x", "2009-10-12", "2009-10-12T17:50:30", "2009-10-12 17:50:30Z", "2009-13-12T17:50:30Z"]
GARBLED_DATES += ["2009-02-29T17:50:30Z", "2009-10-12T24:00:00Z", "2009-10-12T17:50:60Z", "2009-10-12T17:50:30.Z"]
GARBLED_DATES += [
    "2009-10-12T17:50:30.000",
    "2009-10-12T17:50:30ZZ",
    "2009-10-12T17:50:30+0200",
    "2009-1x-12T17:50:30Z",
]
GARBLED_DATES += [
    "2009-10-12T17:50:30+02:60",
    "0001-01-01T00:00:00+01:00",
    "Mon, 12 Oct 2009 17:50:30 GMT",
    MODIFIED * 9,
]
GARBLED_DATES += ["-009-10-12T17:50:30Z", "0000-10-12T17:50:30Z", "2009-10-12T17:50:30.000+", "12009-10-12T17:50:30Z"]


@pytest.mark.parametrize("text", GARBLED_DATES)
def test_garbled_dates(text: str) -> None:
    refused(page(Item("k", modified=text)), "LastModified")
    refused(page(Item("j"), Item("k", modified=text)), "LastModified")


@pytest.mark.parametrize("gone", ["Key", "LastModified", "Size"])
def test_missing_fields(gone: str) -> None:
    fields = {"Key": "k", "LastModified": MODIFIED, "Size": "1", "ETag": "e"}
    item = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items() if name != gone)
    refused(page(Item("first"), f"<Contents>{item}</Contents>"), "without Key, LastModified or Size")
    item = "".join(f"<{name}>{text if name != gone else ''}</{name}>" for name, text in fields.items())
    refused(page(Item("first"), f"<Contents>{item}</Contents>"), gone)


@pytest.mark.parametrize("twice", ["Key", "LastModified", "Size", "ETag"])
def test_fields_that_come_twice(twice: str) -> None:
    item = Item("k").xml()
    start, end = item.index(f"<{twice}>"), item.index(f"</{twice}>") + len(twice) + 3
    refused(page(item[:end] + item[start:end] + item[end:]), f"<{twice}>.*second")


def test_no_etag() -> None:
    assert objects(page(Item("k", e_tag=None), Item("k", e_tag=""))) == [meta("k", 0, None)] * 2


@pytest.mark.parametrize("value", ["", "TRUE", "1", "yes", " true"])
def test_garbled_booleans(value: str) -> None:
    refused(page(f"<IsTruncated>{value}</IsTruncated>"), "IsTruncated")


# --- ListError -------------------------------------------------------------------------------------------------------


def test_an_error_keeps_its_fields() -> None:
    error = refused(b"<Error><Code>SlowDown</Code><Message>Less &amp; less</Message></Error>", "SlowDown: Less & less")
    assert isinstance(error, ValueError)
    for each in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (each.code, each.message, str(each)) == ("SlowDown", "Less & less", str(error))
    other = refused(b"", "empty")
    assert (other.code, other.message) == (None, None)
