"""What goes over the wire, as Cloud Storage's references have it."""

from __future__ import annotations

import gzip
import pickle
import time

import pytest

from cumulo import transfer
from cumulo.exceptions import GenericError, NotFoundError, NotSupportedError, UnauthenticatedError
from cumulo.store import GCSStore
from tests.faults import FaultServer, Response
from tests.servers.gcs import GCSServer
from tests.servers.gcs_objects import crc32c

from .support import MIB, PATH, TOKEN, bucket_of, fault_store, gcs_store, headers_of, make_store, methods


def test_attributes(store: GCSStore, server: GCSServer) -> None:
    given = {"Content-Type": "image/tiff", "Cache-Control": "no-cache", "Storage-Class": "NEARLINE", "My-Key": "v 1"}
    store.put("key", b"x", attributes=given)
    sent = headers_of(server, "PUT")[0]
    assert {"x-goog-storage-class": "NEARLINE", "x-goog-meta-my-key": "v 1"}.items() <= sent.items()
    found = store.get("key").attributes
    assert {name: found.get(name) for name in ("Content-Type", "Cache-Control", "Storage-Class", "my-key")} == {
        "Content-Type": "image/tiff", "Cache-Control": "no-cache", "Storage-Class": "NEARLINE", "my-key": "v 1",
    }  # fmt: skip


def test_there_are_no_tags(store: GCSStore, server: GCSServer) -> None:
    with pytest.raises(NotSupportedError, match="attributes"):
        store.put("key", b"x", tags={"a": "b"})
    assert server.seen == []


def test_odd_keys(store: GCSStore) -> None:
    keys = ["a b", "a%20b", "a+b", "é😀", "a?b#c", "a//b", "x/../y", "q&r=s", 'qu"ote', "<tag>", "..x"]
    for key in keys:
        store.put(key, key.encode())
    assert sorted(meta["path"] for meta in store.list().collect()) == sorted(keys)
    for key in keys:
        store.copy(key, "copy of " + key)
        assert store.get("copy of " + key).bytes() == key.encode()
    store.delete(keys)
    assert all(meta["path"].startswith("copy of ") for meta in store.list().collect())


def test_uploads_in_parts_have_their_checksums(store: GCSStore, server: GCSServer) -> None:
    data = bytes(range(256)) * (4096 * 12)
    made = store.put("key", data, chunk_size=5 * MIB, max_concurrency=3)
    assert methods(server) == ["POST", "PUT", "PUT", "PUT", "POST"]
    parts = {data[at : at + 5 * MIB] for at in range(0, len(data), 5 * MIB)}
    assert {head["x-goog-hash"] for head in headers_of(server, "PUT")} == {"crc32c=" + crc32c(part) for part in parts}
    assert made == {key: store.head("key")[key] for key in ("e_tag", "version")}
    assert store.get("key", part_size=MIB).bytes() == data


def test_an_upload_that_fails_is_aborted(store: GCSStore, server: GCSServer) -> None:
    def pieces():
        yield bytes(11 * MIB)
        deadline = time.monotonic() + 30
        while methods(server).count("PUT") < 2 and time.monotonic() < deadline:  # it has come to both parts
            time.sleep(0.01)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.put("key", pieces(), chunk_size=5 * MIB)
    assert bucket_of(server, store).uploads == {}
    assert methods(server)[-1] == "DELETE"


def test_gzip_is_not_decompressed_on_the_way(store: GCSStore, server: GCSServer) -> None:
    """https://cloud.google.com/storage/docs/transcoding"""
    data = gzip.compress(b"text" * 1000)
    store.put("key", data, attributes={"Content-Encoding": "gzip"})
    result = store.get("key")
    assert result.attributes["Content-Encoding"] == "gzip"
    assert result.bytes() == data
    assert store.get_range("key", start=3, length=5) == data[3:8]
    assert store.head("key")["size"] == len(data)
    reads = [head["accept-encoding"] for method in ("GET", "HEAD") for head in headers_of(server, method)]
    assert set(reads) == {"gzip"}
    store.list().collect()
    assert server.seen[-1][2]["accept-encoding"] == "identity"


def test_errors_that_come_compressed(fault_server: FaultServer) -> None:
    text = gzip.compress(b"<Error><Code>UserProjectMissing</Code><Message>who pays?</Message></Error>")
    fault_server.script(PATH, Response(400, text, (("Content-Encoding", "gzip"),)))
    with pytest.raises(GenericError, match="who pays") as caught:
        fault_store(fault_server).get("key")
    assert caught.value.code == "UserProjectMissing"


def test_requester_pays(server: GCSServer) -> None:
    store = gcs_store(server, bucket={"requester_pays": True}, user_project="the-project")
    store.put("a", b"content")
    store.put("b", bytes(11 * MIB))
    assert store.get_range("a", start=0, length=3) == b"con"
    store.copy("a", "c")
    assert [meta["path"] for meta in store.list().collect()] == ["a", "b", "c"]
    store.delete(["a", "b"])
    store.delete("c")
    assert {headers.get("x-goog-user-project") for _, _, headers in server.seen} == {"the-project"}
    broke = make_store(server.url, store.config["bucket"])
    with pytest.raises(GenericError, match="user_project") as caught:
        broke.get("a")
    assert caught.value.code == "UserProjectMissing"
    assert caught.value.request_id == "id-of-the-request"


def test_a_token(server: GCSServer) -> None:
    server.token = TOKEN
    store = gcs_store(server, bearer_token=TOKEN)
    store.put("a", b"1")
    store.put("b", b"1")
    store.rename("a", "c")
    store.delete(["b", "c"])
    with pytest.raises(UnauthenticatedError):
        make_store(server.url, store.config["bucket"]).get("a")
    assert TOKEN not in repr(store)
    assert TOKEN not in str(vars(store)["_settings"])


def test_rewrites_go_on_until_they_are_done(store: GCSStore, server: GCSServer) -> None:
    store.put("from", b"content")
    server.rewrite_calls = 3
    server.seen.clear()
    store.copy("from", "to")
    paths = [path for _, path, _ in server.seen]
    assert methods(server) == ["POST"] * 3
    assert "rewriteToken" not in paths[0]
    assert all("rewriteToken=" in path for path in paths[1:])
    store.copy("from", "to2", overwrite=False)
    assert all("ifGenerationMatch=0" in path for _, path, _ in server.seen[3:])
    assert store.get("to2").bytes() == b"content"


def test_rewrites_from_bucket_to_bucket(store: GCSStore, server: GCSServer) -> None:
    store.put("a b", b"content")
    target = gcs_store(server)
    server.rewrite_calls = 3
    server.seen.clear()
    transfer.copy(store, "a b", target, "to")
    calls = [path for method, path, _ in server.seen if method == "POST"]
    begin = f"/storage/v1/b/{store.config['bucket']}/o/a%20b/rewriteTo/b/{target.config['bucket']}/o/to"
    assert [path.partition("?")[0] for path in calls] == [begin] * 3
    assert target.get("to").bytes() == b"content"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"done": false}', b"<html>"])
def test_rewrites_with_a_bad_answer(fault_server: FaultServer, body: bytes) -> None:
    fault_server.script("/storage/v1/b/bucket/o/a/rewriteTo/b/bucket/o/b", Response.of(body), method="POST")
    with pytest.raises(GenericError, match="whether the copy is done"):
        fault_store(fault_server).copy("a", "b")


def test_bulk_deletes(store: GCSStore, server: GCSServer) -> None:
    paths = [f"d/{i} & é" for i in range(150)]
    for path in paths:
        bucket_of(server, store).put(path, b"x", {}, wanted=None)
    server.seen.clear()
    server.busy["d/7 & é"] = 1
    store.delete(paths)
    assert methods(server).count("POST") == 2
    assert methods(server).count("DELETE") == 1, "what the server was too busy for is asked for again"
    assert bucket_of(server, store).live == {}


def test_a_bulk_delete_says_what_was_missing(store: GCSStore) -> None:
    store.put("there", b"x")
    with pytest.raises(NotFoundError, match="missing") as caught:
        store.delete(["missing", "there"])
    assert caught.value.path == "missing"
    with pytest.raises(NotFoundError):
        store.head("there")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/mixed", "multipart/mixed; boundary=x"])
def test_a_batch_with_a_bad_answer(fault_server: FaultServer, content_type: str) -> None:
    fault_server.script("/batch/storage/v1", Response.of(b"--x\r\n\r\n", content_type=content_type), method="POST")
    with pytest.raises(GenericError, match="what was deleted"):
        fault_store(fault_server).delete(["a", "b"])


def test_the_documented_answer_of_a_batch(fault_server: FaultServer) -> None:
    """The form that https://cloud.google.com/storage/docs/batch shows: quoted boundary, any order, bodies."""
    answer = (
        "--batch_pK7 JBAk73-E\r\nContent-Type: application/http\r\nContent-ID: <response-cumulo+1>\r\n\r\n"
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
        '{"error": {"code": 404, "message": "No such object: bucket/b", "errors": [{"reason": "notFound"}]}}\r\n'
        "--batch_pK7 JBAk73-E\r\nContent-Type: application/http\r\nContent-ID: <response-cumulo+0>\r\n\r\n"
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n\r\n--batch_pK7 JBAk73-E--\r\n"
    )
    made = Response.of(answer.encode(), content_type='multipart/mixed; boundary="batch_pK7 JBAk73-E"')
    fault_server.script("/batch/storage/v1", made, method="POST")
    with pytest.raises(NotFoundError, match="No such object: bucket/b") as caught:
        fault_store(fault_server).delete(["a", "b"])
    assert (caught.value.path, caught.value.status, caught.value.code) == ("b", 404, "notFound")
    [request] = fault_server.requests
    assert b"DELETE /storage/v1/b/bucket/o/a HTTP/1.1" in request.body


def test_pages_and_offsets(store: GCSStore, server: GCSServer) -> None:
    bucket = bucket_of(server, store)
    for i in range(2500):
        bucket.put(f"k/{i:04}", b"", {}, wanted=None)
    server.seen.clear()
    assert len(store.list("k").collect()) == 2500
    assert methods(server) == ["GET"] * 3
    assert [meta["path"] for meta in store.list(offset="k/2497").collect()] == ["k/2498", "k/2499"]
    assert store.list_with_delimiter()["common_prefixes"] == ["k"]


def test_stores_pickle(server: GCSServer) -> None:
    store = gcs_store(server, prefix="p", bearer_token=TOKEN)
    other = pickle.loads(pickle.dumps(store))
    assert other == store
    assert hash(other) == hash(store)
    other.put("key", b"x")
    assert store.get("key").bytes() == b"x"
    assert bucket_of(server, store).live.keys() == {"p/key"}
    assert gcs_store(server) != store


@pytest.mark.parametrize("verb", ["delete", "batch"])
def test_deletes_whose_answer_is_lost(store: GCSStore, server: GCSServer, verb: str) -> None:
    for path in ("a", "b"):
        store.put(path, b"x")
    server.lost.append("DELETE" if verb == "delete" else "POST")
    store.delete("a" if verb == "delete" else ["a", "b"])
    assert server.lost == []


def test_a_create_whose_answer_is_lost(store: GCSStore, server: GCSServer) -> None:
    server.lost.append("PUT")
    made = store.put("key", b"content", mode="create")
    assert made["version"] == store.head("key")["version"]
    assert methods(server)[:3] == ["PUT", "PUT", "HEAD"]


def test_a_copy_whose_answer_is_lost(store: GCSStore, server: GCSServer) -> None:
    store.put("from", b"content")
    server.lost.append("POST")
    store.copy("from", "to", overwrite=False)
    assert store.get("to").bytes() == b"content"


def test_an_upload_whose_end_is_lost(store: GCSStore, server: GCSServer) -> None:
    """It is proven by the CRC32C of all parts."""
    data = bytes(range(256)) * (4096 * 11)

    def pieces():
        yield data
        server.lost.append("POST")

    made = store.put("key", pieces(), chunk_size=5 * MIB)
    assert made["version"] == store.head("key")["version"]
    assert store.get("key").bytes() == data
