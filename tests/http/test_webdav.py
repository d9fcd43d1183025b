"""WebDAV: listings of all shapes, also hostile ones; folders that are missing; what goes over the wire."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cumulo.exceptions import AlreadyExistsError, GenericError, NotFoundError, NotSupportedError
from cumulo.store import HTTPStore
from tests.faults import FaultServer, Response

from .support import MIB, web_store


@pytest.fixture
def dav(webdav: str, request: pytest.FixtureRequest) -> HTTPStore:
    """A store on a real WebDAV server, below folders that are not there yet."""
    return web_store(f"{webdav}/{request.node.name.partition('[')[0]}/{os.urandom(4).hex()}/base")


def test_a_tree(dav: HTTPStore) -> None:
    paths = ["a", "b c/é", "b c/x/y/z", "b c/x/1", "d%20/e#?", "z"]
    for path in paths:
        dav.put(path, path.encode())
    found = dav.list().collect()
    assert sorted(meta["path"] for meta in found) == sorted(paths)
    assert all(dav.get(meta["path"]).bytes() == meta["path"].encode() for meta in found)
    assert [meta["path"] for meta in dav.list("b c/x").collect()] == ["b c/x/1", "b c/x/y/z"]
    level = dav.list_with_delimiter("b c")
    assert (level["common_prefixes"], [meta["path"] for meta in level["objects"]]) == (["b c/x"], ["b c/é"])


def test_iterators_of_any_length(dav: HTTPStore) -> None:
    pieces = [os.urandom(MIB) for _ in range(20)]

    def source() -> Iterator[bytes]:
        yield from pieces

    dav.put("long", source())
    assert dav.get("long").bytes() == b"".join(pieces)
    dav.put("short", iter(pieces[:2]))
    assert dav.head("short")["size"] == 2 * MIB


def test_folders_for_copies_and_moves(dav: HTTPStore) -> None:
    dav.put("a", b"1")
    dav.copy("a", "new/folder/b")
    dav.rename("a", "another/c")
    assert dav.get("another/c").bytes() == dav.get("new/folder/b").bytes() == b"1"
    with pytest.raises(AlreadyExistsError):
        dav.rename("another/c", "new/folder/b", overwrite=False)
    with pytest.raises(NotFoundError):
        dav.copy("missing", "x")


PAGE = """<?xml version="1.0"?>{dtd}<D:multistatus xmlns:D="DAV:" xmlns:lp1="DAV:">{rows}</D:multistatus>"""
ROW = (
    "<D:response><D:href>{href}</D:href><D:propstat><D:prop><lp1:resourcetype>{kind}</lp1:resourcetype>"
    "<lp1:getcontentlength>{size}</lp1:getcontentlength><lp1:getetag>{etag}</lp1:getetag></D:prop>"
    "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
)
FOLDER = "<D:collection/>"


def row(href: str, *, kind: str = "", size: object = 1, etag: str = "abc") -> str:
    return ROW.format(href=href, kind=kind, size=size, etag=etag)


def page(*rows: str, dtd: str = "") -> Response:
    return Response.xml(PAGE.format(dtd=dtd, rows="".join(rows)), status=207)


def test_servers_that_know_themselves_by_another_path(fault_server: FaultServer, web: HTTPStore) -> None:
    """Behind a proxy that maps /data to /internal/files; and hrefs that are whole URLs, or point elsewhere."""
    own = row("http://internal:8080/internal/files/", kind=FOLDER)
    others = [row("/internal/files/b%20c"), row("/internal/files/../../etc/passwd"), row("/elsewhere/x"),
              row("/internal/files/deep/er"), row("/internal/files/..")]  # fmt: skip
    fault_server.script("/data/", page(own, *others), method="PROPFIND")
    found = web.list().collect()
    assert [(meta["path"], meta["size"], meta["e_tag"]) for meta in found] == [("b c", 1, '"abc"')]
    request = fault_server.requests[0]
    assert (request.header("depth"), request.method) == ("1", "PROPFIND")


@pytest.mark.parametrize(
    "answer",
    [
        page(row("/data/", kind=FOLDER), row("/data/x", etag="&a;"), dtd='<!DOCTYPE x [<!ENTITY a "boom">]>'),
        Response.xml("<html><body>hello</body></html>", status=207),
        Response.xml("<D:multistatus xmlns:D='DAV:'><D:response>", status=207),
        Response(207, b""),
        Response.of(b"a listing for people", status=200),
    ],
    ids=["entities", "html", "cut", "empty", "200"],
)
def test_what_is_no_listing(fault_server: FaultServer, web: HTTPStore, answer: Response) -> None:
    fault_server.script("/data/", answer, method="PROPFIND")
    with pytest.raises(GenericError, match="no WebDAV listing"):
        web.list().collect()


@pytest.mark.parametrize("status", [405, 501])
def test_servers_without_webdav(fault_server: FaultServer, web: HTTPStore, status: int) -> None:
    fault_server.default = Response(status)
    for attempt in (lambda: web.list().collect(), web.list_with_delimiter):
        with pytest.raises(NotSupportedError, match="WebDAV"):
            attempt()
    with pytest.raises(NotSupportedError):
        web.copy("a", "b")


def test_a_listing_through_a_redirect(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/", Response.redirect("/moved/", 301), method="PROPFIND")
    fault_server.script("/moved/", page(row("/moved/", kind=FOLDER), row("/moved/x")), method="PROPFIND")
    assert [meta["path"] for meta in web.list().collect()] == ["x"]


def test_what_goes_over_the_wire(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.default = Response(201)
    web.copy("a b", "c/é", overwrite=False)
    web.rename("a", "b")
    copied, moved = fault_server.requests
    assert (copied.method, copied.target, copied.header("overwrite"), copied.header("depth")) == (
        "COPY", "/data/a%20b", "F", "0",
    )  # fmt: skip
    assert copied.header("destination") == f"{fault_server.url}/data/c/%C3%A9"
    assert (moved.method, moved.header("overwrite")) == ("MOVE", "T")


def test_a_copy_of_a_part_is_an_error(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.default = page(row("/data/x"))
    with pytest.raises(GenericError, match="part"):
        web.copy("a", "b")


def test_a_server_that_refuses_folders(fault_server: FaultServer, web: HTTPStore) -> None:
    """The PUT's own error is what the user sees."""
    fault_server.script("/data/a/b", Response(409), method="PUT")
    fault_server.default = Response(403)
    with pytest.raises(GenericError) as caught:
        web.put("a/b", b"x")
    assert (caught.value.status, caught.value.operation) == (409, "put")
