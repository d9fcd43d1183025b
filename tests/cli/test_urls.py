"""Locations on the command line."""

from __future__ import annotations

import pytest

from cumulo.cli.urls import Location, parse

AZURE = "https://account.blob.core.windows.net/c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/k/l", Location("s3", "k/l", "s3://b")),
        ("S3://b", Location("s3", "", "S3://b")),
        ("s3://b/", Location("s3", "", "s3://b")),
        ("s3://b//a%20b/", Location("s3", "/a%20b/", "s3://b")),
        ("s3://b/x?y#z", Location("s3", "x?y#z", "s3://b")),
        ("s3a://b/k", Location("s3", "k", "s3a://b")),
        ("gs://b/k%20l", Location("gcs", "k%20l", "gs://b")),
        ("az://c/k", Location("azure", "k", "az://c")),
        ("adl://c/k", Location("azure", "k", "adl://c")),
        ("azure://c", Location("azure", "", "azure://c")),
        ("abfs://c/k", Location("azure", "k", "abfs://c")),
        (
            "abfss://c@account.dfs.core.windows.net/k/l",
            Location("azure", "k/l", "abfss://c@account.dfs.core.windows.net"),
        ),
        (f"{AZURE}/k%20l", Location("azure", "k l", AZURE)),
        (AZURE, Location("azure", "", AZURE)),
        (f"{AZURE}/k%20l?sig=x%2B", Location("http", "c/k l", "https://account.blob.core.windows.net?sig=x%2B")),
        ("https://b.s3.us-west-2.amazonaws.com/k", Location("s3", "k", "https://b.s3.us-west-2.amazonaws.com")),
        ("https://example.com/a%20b/c", Location("http", "a b/c", "https://example.com")),
        ("http://me:pass@example.com:8080", Location("http", "", "http://me:pass@example.com:8080")),
        ("https://example.com/a?b=c/d", Location("http", "a", "https://example.com?b=c/d")),
        ("file:///a%20b/c", Location("local", "/a b/c")),
        ("file://localhost/a", Location("local", "/a")),
        ("a b%20c", Location("local", "a b%20c")),
        ("./s3:", Location("local", "./s3:")),
        ("-", Location("stream")),
    ],
)
def test_what_a_text_names(text: str, expected: Location) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "s3://", "s3:///key", "gs://", "ftp://b/k", "memory:///", "file://host/a", "file:///a?b", "file:///a%00",
        "abfss://c@elsewhere.example/k", "https://", "https://example.com/a#b", "https://example.com/a%2Fb",
        "https://account.blob.core.windows.net//k",
    ],
)  # fmt: skip
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["s3://b/a/b c", "gs://b/", "abfss://c@account.dfs.core.windows.net/k", f"{AZURE}/k%20l", "x/y", "-"]
)
def test_a_location_shows_as_it_was_written(text: str) -> None:
    assert str(parse(text)) == text


def test_a_location_shows_nothing_that_may_be_secret() -> None:
    assert str(parse("https://me:pass@example.com/a%20b?token=t")) == "https://example.com/a%20b"
