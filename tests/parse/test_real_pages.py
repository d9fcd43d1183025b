"""Pages as real servers write them, compared with what boto3 reads from the very same ones."""

from __future__ import annotations

from typing import Any

import pytest

from cumulo._native import parse_list_page
from tests.servers.s3server import S3Server

# boto3 asks for encoded keys, and decodes them.
KEYS = ["p/a b.tif", "p/a+b.tif", "p/d/x", "p/e&f/x", "p/100%25", "p/ü€𝄞", "p/q'\"<>"]


@pytest.fixture
def filled(s3_server: S3Server) -> tuple[Any, str]:
    """A client, and a bucket that holds the keys."""
    bucket = s3_server.new_bucket()
    for key in KEYS:
        s3_server.boto3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return s3_server.boto3, bucket


def listed(client: Any, method: str, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """What boto3 made of a page, and the page."""
    bodies: list[bytes] = []

    def keep(response_dict: dict[str, Any], **_: Any) -> None:
        bodies.append(response_dict["body"])

    client.meta.events.register("before-parse.s3", keep)
    try:
        return getattr(client, method)(**arguments), bodies[-1]
    finally:
        client.meta.events.unregister("before-parse.s3", keep)


@pytest.mark.server
@pytest.mark.parametrize("method", ["list_objects", "list_objects_v2"])
def test_as_boto3_reads_them(filled: tuple[Any, str], method: str) -> None:
    client, bucket = filled
    said, body = listed(client, method, Bucket=bucket, Prefix="p/", Delimiter="/")
    objects, prefixes, token, truncated, _, prefix = parse_list_page(body, "", True)
    assert [(each["path"], each["size"], each["e_tag"], each["last_modified"]) for each in objects] == [
        (each["Key"], each["Size"], each["ETag"], each["LastModified"]) for each in said["Contents"]
    ]
    assert prefixes == [each["Prefix"] for each in said["CommonPrefixes"]]
    assert len(objects) + len(prefixes) == len(KEYS)
    assert (token, truncated, prefix) == (None, False, "p/")


@pytest.mark.server
def test_page_by_page(filled: tuple[Any, str]) -> None:
    client, bucket = filled
    found: list[str] = []
    arguments = {"Bucket": bucket, "MaxKeys": 2}
    token: str | None = ""
    while token is not None:
        _, body = listed(client, "list_objects_v2", **arguments)
        objects, _, token, truncated, _, _ = parse_list_page(body, "p/", True)
        assert truncated is (token is not None)
        found += [each["path"] for each in objects]
        arguments["ContinuationToken"] = token
    assert sorted(found) == sorted(key.removeprefix("p/") for key in KEYS)
