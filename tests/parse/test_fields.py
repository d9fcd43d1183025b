"""Small documents as a list of fields, compared with Python's own parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulo._native import Bytes, ListError, xml_fields

from .pages import escaped, fields_by_etree

DOCUMENTS: dict[bytes, list[tuple[str, str]]] = {
    b"""<?xml version="1.0" encoding="UTF-8"?>
<InitiateMultipartUploadResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>b</Bucket>
  <Key>a &amp; b</Key>
  <UploadId>VXBsb2FkSUQ=</UploadId>
</InitiateMultipartUploadResult>
""": [
        ("InitiateMultipartUploadResult/Bucket", "b"),
        ("InitiateMultipartUploadResult/Key", "a & b"),
        ("InitiateMultipartUploadResult/UploadId", "VXBsb2FkSUQ="),
    ],
    b"<CopyObjectResult><LastModified>l</LastModified><ETag>&quot;3858-2&quot;</ETag></CopyObjectResult>": [
        ("CopyObjectResult/LastModified", "l"),
        ("CopyObjectResult/ETag", '"3858-2"'),
    ],
    b"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code></Error>"
    b"<Deleted><Key>c</Key></Deleted></DeleteResult>": [
        ("DeleteResult/Deleted/Key", "a"),
        ("DeleteResult/Error/Key", "b"),
        ("DeleteResult/Error/Code", "AccessDenied"),
        ("DeleteResult/Deleted/Key", "c"),
    ],
    b"<CreateSessionResult><Credentials><SessionToken>t\n</SessionToken><x/></Credentials></CreateSessionResult>": [
        ("CreateSessionResult/Credentials/SessionToken", "t\n"),
        ("CreateSessionResult/Credentials/x", ""),
    ],
    b"<Error><Code>NoSuchKey</Code><Message></Message></Error>": [("Error/Code", "NoSuchKey"), ("Error/Message", "")],
    b"<a>x<![CDATA[<]]><!-- c -->y</a>": [("a", "x<y")],
    b"<a/>": [("a", "")],
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents(document: bytes) -> None:
    assert xml_fields(document) == DOCUMENTS[document] == fields_by_etree(document)
    assert xml_fields(Bytes(document)) == xml_fields(bytearray(document)) == DOCUMENTS[document]


NAMES = st.sampled_from(["Key", "Code", "a", "x-y.z_1", "Größe"])
TEXTS = st.text(st.characters(exclude_characters="\ufffe\uffff", exclude_categories=["Cs", "Cc"]), max_size=20)
PIECES = TEXTS.map(escaped) | TEXTS.map(lambda text: f"<![CDATA[{text.replace(']]>', '')}]]>")
PIECES |= TEXTS.map(lambda text: "".join(f"&#x{ord(each):X};" for each in text))
LEAVES = st.lists(PIECES | st.sampled_from(["<!-- c -->", "<?p i?>", "\n", "\t"]), max_size=4).map("".join)


def _element(content: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attributes = st.sampled_from(["", " ", " a='1'", ' b = "&lt;>" c=\'"\'', "\n"])
    return st.builds(lambda name, extra, inner: f"<{name}{extra}>{inner}</{name}>", NAMES, attributes, content)


ELEMENTS = st.recursive(
    _element(LEAVES) | NAMES.map(lambda name: f"<{name}/>"),
    lambda inner: _element(st.lists(inner | st.sampled_from(["\n", " ", "<!-- x -->"]), max_size=4).map("".join)),
    max_leaves=12,
)


@given(ELEMENTS)
def test_as_etree_reads_it(document: str) -> None:
    assert xml_fields(document.encode()) == fields_by_etree(document.encode())


def test_text_that_is_no_utf8() -> None:
    assert xml_fields(b"<a>\xff</a>") == [("a", "\udcff")]


@pytest.mark.parametrize("body", [b"", b"text", b"<a>", b"<a></b>", b"<!DOCTYPE a><a/>", b"<a>&b;</a>", b"<a/><b/>"])
def test_broken_documents(body: bytes) -> None:
    with pytest.raises(ListError, match="well-formed"):
        xml_fields(body)


def test_size_limit() -> None:
    document = b"<a>" + b"x" * ((1 << 20) - 7) + b"</a>"
    assert len(xml_fields(document)[0][1]) == len(document) - 7
    with pytest.raises(ListError, match="1048577 bytes"):
        xml_fields(document + b" ")
    assert xml_fields(document + b" ", 2 << 20)
    with pytest.raises(ListError):
        xml_fields(b"<a/>", 3)


def test_paths_cannot_fill_memory() -> None:
    name = b"n" * 500_000
    with pytest.raises(ListError, match="too long"):
        xml_fields(b"<" + name + b">" + b"<a/>" * 10_000 + b"</" + name + b">")


def test_depth() -> None:
    assert xml_fields(b"<a>" * 32 + b"</a>" * 32) == [("/".join("a" * 32), "")]
    with pytest.raises(ListError, match="too deep"):
        xml_fields(b"<a>" * 33 + b"</a>" * 33)
