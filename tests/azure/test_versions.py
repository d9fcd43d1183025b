"""Azure's versions, which the emulator has not: requests and answers as the service's reference documents them."""

from __future__ import annotations

import pytest

from cumulo.exceptions import GenericError
from tests.faults import FaultServer, Response

from .support import PATH, blob, fault_store

OLD, NEW = "2025-01-01T00:00:00.0000000Z", "2025-01-02T00:00:00.0000000Z"


def _row(name: str, version: str, *, current: bool) -> str:
    flag = "<IsCurrentVersion>true</IsCurrentVersion>" if current else ""
    return (
        f"<Blob><Name>{name}</Name><VersionId>{version}</VersionId>{flag}<Properties>"
        "<Creation-Time>Wed, 01 Jan 2025 00:00:00 GMT</Creation-Time><Last-Modified>Wed, 01 Jan 2025 00:00:00 GMT"
        "</Last-Modified><Etag>0x1</Etag><Content-Length>7</Content-Length></Properties></Blob>"
    )


def _page(*rows: str, marker: str = "") -> Response:
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="container"><Blobs>{"".join(rows)}'
        f"</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    )
    return Response.xml(body)


def test_listing_them(fault_server: FaultServer) -> None:
    pages = [_page(_row("p/a", OLD, current=False), marker="2!8&amp;"), _page(_row("p/a", NEW, current=True))]
    fault_server.script("/container", pages)
    found = fault_store(fault_server).list_versions("p").collect()
    assert [(each["version"], each["is_latest"], each["is_delete_marker"]) for each in found] == [
        (OLD, False, False),
        (NEW, True, False),
    ]
    assert [(each["path"], each["size"], each["e_tag"]) for each in found] == [("p/a", 7, '"0x1"')] * 2
    first, second = fault_server.requests
    assert (first.query["comp"], first.query["include"], first.query["prefix"]) == ("list", "versions", "p/")
    assert second.query["marker"] == "2!8&"


def test_a_page_that_is_none(fault_server: FaultServer) -> None:
    fault_server.script("/container", Response.xml("<html/>"))
    with pytest.raises(GenericError, match="page"):
        fault_store(fault_server).list_versions().collect()


def test_one_of_them(fault_server: FaultServer) -> None:
    fault_server.script(PATH, blob(x_ms_version_id=OLD), method="HEAD")
    fault_server.script(PATH, Response(202), method="DELETE")
    store = fault_store(fault_server)
    assert store.head("key", version=OLD)["version"] == OLD
    store.delete("key", version=OLD)
    assert [request.query["versionid"] for request in fault_server.requests] == [OLD, OLD]
    # The service refuses it for a version.
    assert fault_server.requests[1].header("x-ms-delete-snapshots") is None
