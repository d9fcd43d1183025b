"""What a store is made of: URLs, queries, users, headers, cookies, pickles."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from cumulo.exceptions import InvalidPathError, NotSupportedError, UnauthenticatedError, UnknownConfigurationKeyError
from cumulo.store import HTTPStore
from tests.faults import FaultServer, Object, Request, Response

from .support import web_store

DATA = b"0123456789"


@pytest.mark.parametrize(
    ("url", "message"),
    [("ftp://x/", "http"), ("example.com/data", "http"), ("https://", "host"), ("https://a/#frag", "fragment"),
     ("http://example.com/", "allow_http"), ("https://a:99999/", "URL"), ("https://a\n/", "control")],
)  # fmt: skip
def test_urls_that_are_none(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HTTPStore(url)


def test_options_that_are_none() -> None:
    with pytest.raises(TypeError, match="url"):
        HTTPStore(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callable"):
        HTTPStore("https://a/", header_provider="x")  # type: ignore[arg-type]
    with pytest.raises(UnknownConfigurationKeyError):
        HTTPStore("https://a/", client_options={"timout": 1})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(ValueError, match="one"):
        HTTPStore("https://u:p@a/", client_options={"default_headers": {"Authorization": "x"}})


def test_no_secret_shows() -> None:
    store = HTTPStore("https://user:s3cret@example.com/data?sig=s3cret")
    assert repr(store) == "HTTPStore('https://example.com/data/')"
    for url in ("https://user:s3cret@[x/", "https://user:s3cret@/x?s3cret", "gopher://user:s3cret@a?s3cret"):
        with pytest.raises(ValueError, match="url") as caught:
            HTTPStore(url)
        assert "s3cret" not in str(caught.value)


def test_pickles_copies_and_equality() -> None:
    store = HTTPStore("https://example.com/data", client_options={"timeout": "3s"}, cookies=True)
    for other in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store), HTTPStore.from_url(
        "https://example.com/data", client_options={"timeout": 3}, cookies=True)):  # fmt: skip
        assert other == store
        assert hash(other) == hash(store)
        assert other.url == store.url == "https://example.com/data"
    assert store != HTTPStore("https://example.com/data", client_options={"timeout": "3s"})
    assert store != HTTPStore("https://example.com/date")


def test_paths_and_the_query(fault_server: FaultServer) -> None:
    """The query goes with every request, to the store's own URL."""
    fault_server.default = Object(DATA)
    store = web_store(f"{fault_server.url}/a%20b/ü?sig=x%2By&t")
    store.get("c d/é?#%.txt").bytes()
    store.get_range("k", start=0, length=1)
    store.head("k")
    store.put("k", b"")
    store.delete("k")
    assert [f"{request.method} {request.target}" for request in fault_server.requests] == [
        "GET /a%20b/%C3%BC/c%20d/%C3%A9%3F%23%25.txt?sig=x%2By&t",
        "GET /a%20b/%C3%BC/k?sig=x%2By&t",
        "HEAD /a%20b/%C3%BC/k?sig=x%2By&t",
        "PUT /a%20b/%C3%BC/k?sig=x%2By&t",
        "DELETE /a%20b/%C3%BC/k?sig=x%2By&t",
    ]


@pytest.mark.parametrize("path", ["..", "a/../b", "./a", "a/.", "../../etc/passwd"])
def test_paths_that_servers_resolve(web: HTTPStore, fault_server: FaultServer, path: str) -> None:
    for attempt in (lambda: web.get(path), lambda: web.get_range(path, start=0, length=1), lambda: web.put(path, b""),
                    lambda: web.delete(path), lambda: web.copy("a", path), lambda: web.rename("a", path),
                    lambda: web.get_range_async(path, start=0, length=1)):  # fmt: skip
        with pytest.raises(InvalidPathError):
            attempt()
    assert fault_server.requests == []


def test_what_http_does_not_know(web: HTTPStore, fault_server: FaultServer) -> None:
    for attempt in (lambda: web.get("a", options={"version": "1"}), lambda: web.put("a", b"", tags={"a": "b"}),
                    lambda: web.put("a", b"", attributes={"my-key": "x"})):  # fmt: skip
        with pytest.raises(NotSupportedError):
            attempt()
    assert fault_server.requests == []


def test_headers(fault_server: FaultServer) -> None:
    fault_server.script("/key", Object(DATA))
    headers = {"X-Api-Key": "k", "Accept": "text/plain"}
    store = web_store(fault_server.url, client_options={"default_headers": headers, "user_agent": "me/1"})
    store.get("key").bytes()
    store.get_range("key", start=0, length=1)
    for request in fault_server.requests:
        assert [request.header(name) for name in ("x-api-key", "accept", "user-agent")] == ["k", "text/plain", "me/1"]


def test_user_and_password(fault_server: FaultServer) -> None:
    fault_server.script("/key", Object(DATA))
    store = web_store(fault_server.url.replace("//", "//us%40er:p%C3%A4ss%3A@"))
    store.get_range("key", start=0, length=1)
    assert fault_server.requests[0].header("authorization") == "Basic dXNAZXI6cMOkc3M6"


def test_attributes(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Object(DATA))
    web.put("key", b"x", attributes={"content-TYPE": "image/tiff", "Cache-Control": "no-cache"})
    assert fault_server.requests[0].header("content-type") == "image/tiff"
    assert fault_server.requests[0].header("cache-control") == "no-cache"


# -- the header provider


class Tokens:
    """A provider of bearer tokens: the second is good."""

    def __init__(self, lifetime: timedelta | None = None) -> None:
        self.count = 0
        self.lifetime = lifetime
        self.threads: set[int] = set()

    def __call__(self) -> Any:
        self.threads.add(threading.get_ident())
        self.count += 1
        headers = {"Authorization": f"Bearer t{self.count}", "X-Request-For": "me"}
        return headers if self.lifetime is None else (headers, datetime.now(timezone.utc) + self.lifetime)


class AsyncTokens(Tokens):
    """The same, awaited."""

    async def __call__(self) -> Any:
        await asyncio.sleep(0.001)
        return super().__call__()


@pytest.mark.parametrize("kind", [Tokens, AsyncTokens])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_headers_from_a_callable(fault_server: FaultServer, kind: type[Tokens], how: str) -> None:
    fault_server.script("/key", Object(DATA))
    tokens = kind()
    store = web_store(fault_server.url, header_provider=tokens)

    async def run() -> None:
        await asyncio.gather(*(store.get_range_async("key", start=i, length=1) for i in range(9)))

    if how == "async":
        asyncio.run(run())
    else:
        for _ in range(9):
            store.get("key").bytes()
    assert {request.header("authorization") for request in fault_server.requests} == {"Bearer t1"}
    assert {request.header("x-request-for") for request in fault_server.requests} == {"me"}
    assert tokens.count == 1
    assert threading.get_ident() not in tokens.threads


@pytest.mark.parametrize("status", [401, 403])
def test_once_more_with_new_headers(fault_server: FaultServer, status: int) -> None:
    """What has just been made is not asked for again: then the refusal means what it says."""
    obj, good = Object(DATA), ["Bearer t1"]
    fault_server.script("/key", lambda request: obj(request) if request.header("authorization") in good
                        else Response(status))  # fmt: skip
    tokens = Tokens()
    store = web_store(fault_server.url, header_provider=tokens)
    assert store.get_range("key", start=0, length=3) == b"012"
    good[0] = "Bearer t2"
    with pytest.raises(PermissionError):
        store.get_range("key", start=0, length=3)
    time.sleep(5.1)
    assert store.get_range("key", start=0, length=3) == b"012"
    assert tokens.count == 2


def test_headers_that_expire(fault_server: FaultServer) -> None:
    fault_server.script("/key", Object(DATA))
    tokens = Tokens(timedelta(milliseconds=200))
    store = web_store(fault_server.url, header_provider=tokens)

    def read() -> bool:
        store.get("key").bytes()
        return tokens.count > 2

    fault_server.wait_for(read)
    assert {"Bearer t1", "Bearer t2"} <= {str(request.header("authorization")) for request in fault_server.requests}


@pytest.mark.parametrize(
    ("answer", "message"),
    [("text", "dict"), ({"a\r\nb": "x"}, "header name"), ({"a": "x\r\ny: z"}, "control"), ({"Host": "x"}, "Host"),
     (({}, "soon"), "expires_at"), (({}, datetime(2030, 1, 1)), "time zone"), (({}, None, 1), "tuple")],
)  # fmt: skip
def test_headers_that_are_none(fault_server: FaultServer, answer: Any, message: str) -> None:
    store = web_store(fault_server.url, header_provider=lambda: answer)
    with pytest.raises(UnauthenticatedError, match=message):
        store.get("key")
    assert fault_server.requests == []


# -- cookies


def _login(request: Request) -> Response:
    if "session=abc" in (request.header("cookie") or ""):
        return Response(200, DATA, (("ETag", '"1"'), ("Accept-Ranges", "bytes")))
    headers = (("Location", "/login"), ("Set-Cookie", "seen=1; Path=/"))
    return Response(302, b"", headers)


def _script_login(server: FaultServer) -> None:
    server.script("/data/key", _login)
    cookies = (("Set-Cookie", "session=abc; Path=/; HttpOnly; Expires=Wed, 01 May 2090 10:00:00 GMT"),
               ("Set-Cookie", "other=x; Path=/elsewhere"))  # fmt: skip
    server.script("/login", Response(302, b"", (("Location", "/data/key"), *cookies)))


def test_cookies_are_kept_where_asked_for(fault_server: FaultServer) -> None:
    _script_login(fault_server)
    store = web_store(f"{fault_server.url}/data", cookies=True)
    assert store.get("key").bytes() == DATA
    assert [request.header("cookie") for request in fault_server.requests] == [None, "seen=1", "seen=1; session=abc"]
    assert store.get_range("key", start=2, length=3) == DATA[2:5]
    assert asyncio.run(_range(store)) == DATA[2:5]
    assert len(fault_server.requests) == 5
    assert pickle.loads(pickle.dumps(store)) == store


def test_a_child_begins_with_no_cookies(fault_server: FaultServer) -> None:
    _script_login(fault_server)
    store = web_store(f"{fault_server.url}/data", cookies=True)
    assert store.get("key").bytes() == DATA
    child = os.fork()
    if child == 0:
        os._exit(0 if store.get("key").bytes() == DATA else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    cookies = [request.header("cookie") for request in fault_server.requests]
    assert cookies == [None, "seen=1", "seen=1; session=abc"] * 2
    assert store.get("key").bytes() == DATA
    assert len(fault_server.requests) == 7


async def _range(store: HTTPStore) -> Any:
    return await store.get_range_async("key", start=2, length=3)


def test_cookies_are_not_kept_elsewhere(fault_server: FaultServer) -> None:
    _script_login(fault_server)
    with pytest.raises(Exception, match="redirects"):
        web_store(f"{fault_server.url}/data").get("key")
    assert {request.header("cookie") for request in fault_server.requests} == {None}


@pytest.mark.parametrize("where", ["host", "port"])
def test_cookies_stay_with_their_host(fault_server: FaultServer, where: str) -> None:
    with FaultServer() as other:
        elsewhere = other.url if where == "port" else fault_server.url_at("127.0.0.2")
        cookies = (("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/; Domain=127.0.0.2"))
        fault_server.script("/data/key", Response(302, b"", (*cookies, ("Location", f"{elsewhere}/x"))))
        fault_server.script("/x", Object(DATA))
        other.script("/x", Object(DATA))
        store = web_store(f"{fault_server.url}/data", cookies=True)
        for _ in range(2):
            assert store.get("key").bytes() == DATA
        there = [*other.requests, *fault_server.seen("/x")]
        assert len(there) == 2
        assert {request.header("cookie") for request in there} == {None}
        assert fault_server.seen("/data/key")[1].header("cookie") == "a=1"
