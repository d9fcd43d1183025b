"""Locations on the command line."""

from __future__ import annotations

import pytest

from cumulo.cli.urls import Location, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/k/l", Location("s3", "k/l", "b")),
        ("S3://b", Location("s3", "", "b")),
        ("s3://b/", Location("s3", "", "b")),
        ("s3://b//a%20b/", Location("s3", "/a%20b/", "b")),
        ("s3://b/x?y#z", Location("s3", "x?y#z", "b")),
        ("file:///a%20b/c", Location("local", "/a b/c")),
        ("file://localhost/a", Location("local", "/a")),
        ("a b%20c", Location("local", "a b%20c")),
        ("./s3:", Location("local", "./s3:")),
        ("-", Location("stream")),
    ],
)
def test_what_a_text_names(text: str, expected: Location) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "s3://", "s3:///key", "gs://b/k", "file://host/a", "file:///a?b", "file:///a%00"])
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_a_location_shows_as_it_was_written() -> None:
    assert str(parse("s3://b/a/b c")) == "s3://b/a/b c"
    assert str(parse("x/y")) == "x/y"
    assert str(parse("-")) == "-"
