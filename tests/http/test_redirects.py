"""Redirects: every way to read works through one, and nothing that says who we are goes to another host."""

from __future__ import annotations

import asyncio
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

import cumulo as obs
from cumulo.exceptions import BaseError, GenericError, NotFoundError, ObjectChangedError, PermissionDeniedError
from cumulo.store import HTTPStore
from tests.faults import FaultServer, Object, Request, Response

from .support import MIB, READS, redirects, web_store

DATA = os.urandom(40_000)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_all_kinds(fault_server: FaultServer, web: HTTPStore, status: int) -> None:
    redirects(fault_server, DATA, status)
    assert web.get("key").bytes() == DATA


@pytest.mark.parametrize("read", READS)
def test_every_read(fault_server: FaultServer, web: HTTPStore, read: str) -> None:
    redirects(fault_server, DATA)
    assert READS[read](web, DATA)
    assert fault_server.seen("/signed/key")[0].query == {"X-Signature": "s3cr3t"}


def test_a_reader_here_and_there(fault_server: FaultServer, web: HTTPStore) -> None:
    redirects(fault_server, DATA)
    with obs.open_reader(web, "key") as reader:
        for place in (9000, 100, 20_000):
            reader.seek(place)
            assert reader.read(50) == DATA[place : place + 50]


def test_a_large_object_in_parts_straight_from_there(fault_server: FaultServer, web: HTTPStore) -> None:
    data = os.urandom(5 * MIB + 3)
    redirects(fault_server, data)
    assert web.get("key", part_size=MIB).bytes() == data
    assert len(fault_server.seen("/data/key")) == 1
    assert len(fault_server.seen("/signed/key")) == 6
    target = bytearray(len(data))
    assert web.get_into("key", target, part_size=MIB) == len(data)
    assert target == data


def test_many_ranges_from_asyncio(fault_server: FaultServer, web: HTTPStore) -> None:
    redirects(fault_server, DATA)

    async def run() -> list[Any]:
        return await asyncio.gather(*(web.get_range_async("key", start=i, length=100) for i in range(64)))

    assert [bytes(part) for part in asyncio.run(run())] == [DATA[i : i + 100] for i in range(64)]
    assert web.stats()["requests"] == len(fault_server.requests)


def test_a_range_that_is_cancelled_on_the_way(fault_server: FaultServer, web: HTTPStore) -> None:
    redirects(fault_server, DATA)
    fault_server.script("/signed/key", Response.never())

    async def run() -> None:
        future = web.get_range_async("key", start=0, length=10)
        await fault_server.wait_for_async(lambda: fault_server.seen("/signed/key"))
        assert future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future

    asyncio.run(run())
    fault_server.wait_for(lambda: not fault_server.stalled)


def test_an_error_at_the_end(fault_server: FaultServer, web: HTTPStore) -> None:
    redirects(fault_server, DATA)
    fault_server.script("/signed/key", Response(404))
    for attempt in (lambda: web.get("key"), lambda: web.get_range("key", start=0, length=1),
                    lambda: asyncio.run(_range(web))):  # fmt: skip
        with pytest.raises(NotFoundError) as caught:
            attempt()
        assert "s3cr3t" not in str(caught.value)


async def _range(store: HTTPStore) -> Any:
    return await store.get_range_async("key", start=0, length=1)


def test_several_and_relative_ones(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Response.redirect("../other/a b?x=ü", 301))
    fault_server.script("/other/a%20b", Response.redirect(fault_server.url.removeprefix("http:") + "/last"))
    fault_server.script("/last", Object(DATA))
    assert web.get_range("key", start=1, length=9) == DATA[1:10]
    assert fault_server.requests[1].target == "/other/a%20b?x=%FC"


def test_a_loop_ends(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Response.redirect("/data/key"))
    for attempt in (lambda: web.get("key"), lambda: web.get_range("key", start=0, length=1),
                    lambda: asyncio.run(_range(web))):  # fmt: skip
        with pytest.raises(GenericError, match="redirects"):
            attempt()
    assert len(fault_server.requests) <= 3 * 12


@pytest.mark.parametrize("location", ["ftp://example.com/x", "file:///etc/passwd", "https://", "http://[::1", "//:80/"])
def test_to_what_is_no_web_server(fault_server: FaultServer, web: HTTPStore, location: str) -> None:
    fault_server.script("/data/key", Response.redirect(location))
    with pytest.raises(GenericError, match="redirect"):
        web.get("key")


@pytest.mark.parametrize("secret", ["header", "cookie", "user", "provider", "api key"])
@pytest.mark.parametrize("read", ["get", "range", "range async", "ranges", "head", "into"])
def test_no_secret_crosses_to_another_host(fault_server: FaultServer, secret: str, read: str) -> None:
    host = "user:s3cret@127.0.0.1" if secret == "user" else "127.0.0.1"
    url = fault_server.url.replace("127.0.0.1", host)
    headers = {"header": {"Authorization": "Bearer s3cret"}, "cookie": {"Cookie": "a=s3cret"},
               "api key": {"X-Api-Key": "s3cret"}}.get(secret, {})  # fmt: skip
    options: dict[str, Any] = {"client_options": {"default_headers": {**headers, "Accept-Language": "en"}}}
    if secret == "provider":
        options["header_provider"] = lambda: {"Authorization": "Bearer s3cret"}
    redirects(fault_server, DATA)
    store = web_store(f"{url}/data?base=s3cret", **options)
    assert READS[read](store, DATA)
    first, *_ = [request for request in fault_server.requests if request.path == "/data/key"]
    assert any("s3cret" in value or "czNjcmV0" in value for _, value in first.headers) or secret == "user"
    assert first.query == {"base": "s3cret"}
    for request in fault_server.seen("/signed/key"):
        assert "s3cret" not in request.target
        assert not any("s3cret" in value for _, value in request.headers)
        assert request.header("authorization") is None
        assert request.header("cookie") is None
        assert request.header("accept-language") == "en"
        assert "cumulo" in (request.header("user-agent") or "")


def test_another_port_is_another_origin(fault_server: FaultServer) -> None:
    with FaultServer() as other:
        fault_server.script("/data/key", Response.redirect(f"{other.url}/key"))
        other.script("/key", Object(DATA))
        store = web_store(f"{fault_server.url}/data", client_options={"default_headers": {"Authorization": "x"}})
        assert store.get("key").bytes() == DATA
        assert other.requests[0].header("authorization") is None


def test_secrets_stay_with_the_same_origin(fault_server: FaultServer) -> None:
    fault_server.script("/data/key", Response.redirect("/elsewhere"))
    fault_server.script("/elsewhere", Object(DATA))
    store = web_store(f"{fault_server.url}/data", client_options={"default_headers": {"Authorization": "x"}})
    assert store.get_range("key", start=0, length=4) == DATA[:4]
    assert [request.header("authorization") for request in fault_server.requests] == ["x", "x"]


def test_not_away_from_tls(fault_server: FaultServer) -> None:
    tls = fault_server.tls_url()
    fault_server.script("/data/key", Response.redirect(f"{fault_server.url}/plain"))
    fault_server.script("/plain", Object(DATA))
    trust = {"root_certificate": fault_server.ca_file.read_text()}
    store = HTTPStore(f"{tls}/data", client_options=trust)
    for attempt in (lambda: store.get("key"), lambda: store.get_range("key", start=0, length=1)):
        with pytest.raises(GenericError, match="TLS"):
            attempt()
    assert fault_server.seen("/plain") == []
    assert HTTPStore(f"{tls}/data", client_options={**trust, "allow_http": True}).get("key").bytes() == DATA


def test_writing_through_redirects(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Response.redirect("/upload", 307))
    obj = Object(None)
    fault_server.script("/upload", obj)
    web.put("key", DATA)
    web.put("key", iter([DATA[:100], DATA[100:]]))
    assert obj.data == DATA
    web.delete("key")
    assert obj.data is None
    fault_server.script("/data/key", Response.redirect("/upload", 303))
    with pytest.raises(GenericError, match="303"):
        web.put("key", DATA)


def test_a_redirect_that_is_an_answer_to_the_user(fault_server: FaultServer, web: HTTPStore) -> None:
    fault_server.script("/data/key", Response.redirect("ftp://example.com/?sig=s3cret"))
    with pytest.raises(BaseError) as caught:
        web.get("key")
    assert caught.value.status == 307
    assert "s3cret" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.status) == (GenericError, 307)


def test_a_signature_that_is_made_for_each_redirect(fault_server: FaultServer, web: HTTPStore) -> None:
    """No call goes where an earlier one was sent: a store has no memory of redirects."""
    count = iter(range(100))

    def signed(_: Request) -> Response:
        return Response.redirect(f"/signed?n={next(count)}", 302)

    fault_server.script("/data/key", signed)
    fault_server.script("/signed", Object(DATA))
    for _ in range(3):
        assert web.get_range("key", start=0, length=10) == DATA[:10]
    assert [request.query["n"] for request in fault_server.seen("/signed")] == ["0", "1", "2"]


# -- signed URLs that expire while an object is read


class _Signer:
    """`/data/key` redirects to a URL that is signed anew each time; each serves so many GETs and is then refused."""

    def __init__(self, server: FaultServer, data: bytes, gets: int, status: int = 403) -> None:
        self.object = Object(data)
        self._url, self._gets, self._status = server.url_at("127.0.0.2"), gets, status
        self._used: dict[str, int] = {}
        server.script("/data/key", self._redirect)
        server.script("/signed/key", self._serve)

    def _redirect(self, request: Request) -> Response:
        signature = f"s3cr3t{len(self._used)}"
        self._used[signature] = 0
        return Response.redirect(f"{self._url}/signed/key?X-Signature={signature}", 302)

    def _serve(self, request: Request) -> Response:
        signature = request.query["X-Signature"]
        self._used[signature] += 1
        if self._used[signature] > self._gets:
            return Response(self._status)
        return self.object(request)


@pytest.mark.parametrize("status", [401, 403, 410])
@pytest.mark.parametrize("read", ["bytes", "stream", "into", "download"])
def test_a_signed_url_that_expires_midway(fault_server: FaultServer, read: str, status: int, tmp_path: Path) -> None:
    data = os.urandom(12 * MIB + 5)
    _Signer(fault_server, data, gets=5, status=status)
    web = web_store(f"{fault_server.url}/data")
    options: dict[str, Any] = {"part_size": MIB, "max_concurrency": 3}
    if read == "bytes":
        assert web.get("key", **options).bytes() == data
    elif read == "stream":
        assert b"".join(web.get("key", **options).stream(300_000)) == data
    elif read == "into":
        target = bytearray(len(data))
        assert web.get_into("key", target, **options) == len(data)
        assert target == data
    else:
        web.download("key", tmp_path / "key", **options)
        assert (tmp_path / "key").read_bytes() == data
    assert 3 <= len(fault_server.seen("/data/key")) <= 5


@pytest.mark.parametrize("read", ["bytes", "stream"])
def test_a_place_that_is_refused_at_once_is_asked_for_once(fault_server: FaultServer, read: str) -> None:
    _Signer(fault_server, os.urandom(6 * MIB), gets=1)
    result = web_store(f"{fault_server.url}/data").get("key", part_size=MIB, max_concurrency=3)
    with pytest.raises(PermissionDeniedError) as caught:
        result.bytes() if read == "bytes" else list(result.stream())
    assert "s3cr3t" not in str(caught.value)
    assert len(fault_server.seen("/data/key")) == 2


def test_another_version_behind_the_new_url(fault_server: FaultServer) -> None:
    signer = _Signer(fault_server, os.urandom(6 * MIB), gets=3)
    result = web_store(f"{fault_server.url}/data").get("key", part_size=MIB, max_concurrency=1 + 1)
    stream = iter(result.stream(MIB))
    next(stream)
    signer.object.replace(os.urandom(6 * MIB))
    with pytest.raises(ObjectChangedError):
        list(stream)
