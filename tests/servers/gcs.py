"""A stand-in for Cloud Storage: its XML API, and of the JSON API rewrites and batches of deletes, as documented.

No emulator that can be installed from a registry has the XML API's lists, uploads in parts and conditions on
generations, so this one is the project's own. It was held against Google's own emulator where that has the same calls.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from .gcs_objects import Bucket, GCSError, Generation, crc32c, md5

_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type")
_REWRITE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/rewriteTo/b/([^/]+)/o/([^/]+)")
_JSON_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
_JSON_LIST = re.compile(r"/storage/v1/b/([^/]+)/o")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with five, some of many that connect at once wait for a second or three

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away as they please."""


class GCSServer:
    """A running one. `token`: the bearer token it wants, None for none; `seen`: (method, path, headers) of requests."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.token: str | None = None
        self.rewrite_calls = 1
        self.versions_in_page = 1000
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.busy: dict[str, int] = {}
        """Keys whose deletion in a batch is answered so many times by 503."""
        self.lost: list[str] = []
        """Methods whose next request is carried out, and never answered."""
        self._http = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def new_bucket(self, **options: bool) -> str:
        """An empty bucket under a name not used before."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.buckets[name] = Bucket(**options)
        return name

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextlib.contextmanager
def serve() -> Iterator[GCSServer]:
    """Run it, on a thread of this process."""
    server = GCSServer()
    try:
        yield server
    finally:
        server.close()


class _Call:
    """One request, and its answer."""

    def __init__(self, server: GCSServer, method: str, target: str, headers: Any, body: bytes) -> None:
        parts = urlsplit(target)
        self.server, self.method, self.path, self.body = server, method, parts.path, body
        self.headers = {name.lower(): text for name, text in headers.items()}
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))

    def answer(self) -> tuple[int, list[tuple[str, str]], bytes]:
        server = self.server
        if server.token is not None and self.headers.get("authorization") != f"Bearer {server.token}":
            raise GCSError(401, "AuthenticationRequired", "Authentication required.")
        if self.path == "/batch/storage/v1":
            return self._batch()
        if found := _REWRITE.fullmatch(self.path):
            return self._rewrite(*map(unquote, found.groups()))
        if (found := _JSON_OBJECT.fullmatch(self.path)) and self.method == "DELETE":
            bucket, key = map(unquote, found.groups())
            self._bucket(bucket).delete(key, self.query.get("generation"))
            return 204, [], b""
        if found := _JSON_LIST.fullmatch(self.path):
            return self._list_versions(self._bucket(unquote(found.group(1))))
        name, _, key = self.path[1:].partition("/")
        bucket = self._bucket(unquote(name))
        return self._object(bucket, unquote(key)) if key else self._list(bucket, unquote(name))

    def _bucket(self, name: str) -> Bucket:
        bucket = self.server.buckets.get(name)
        if bucket is None:
            raise GCSError(404, "NoSuchBucket", "The specified bucket does not exist.")
        if bucket.requester_pays and "x-goog-user-project" not in self.headers:
            raise GCSError(400, "UserProjectMissing", "Bucket is a requester pays bucket but no user project provided.")
        return bucket

    # -- objects

    def _object(self, bucket: Bucket, key: str) -> tuple[int, list[tuple[str, str]], bytes]:
        upload = self.query.get("uploadId")
        if self.method in ("GET", "HEAD"):
            return self._parts(bucket, upload) if upload else self._get(bucket.get(key, self.query.get("generation")))
        if self.method == "DELETE":
            if upload is not None:
                bucket.upload(upload)
                del bucket.uploads[upload]
            else:
                bucket.delete(key)
            return 204, [], b""
        if self.method == "POST" and "uploads" in self.query:
            name = bucket.start(key, self._kept())
            text = f"<InitiateMultipartUploadResult><Key>{escape(key)}</Key><UploadId>{name}</UploadId>"
            return 200, [], (text + "</InitiateMultipartUploadResult>").encode()
        if self.method == "POST":
            return self._complete(bucket, key, upload or "")
        self._verify()
        if upload is not None:
            bucket.upload(upload).parts[int(self.query["partNumber"])] = self.body
            hashes = [("x-goog-hash", "crc32c=" + crc32c(self.body))]
            return 200, [("ETag", f'"{md5(self.body).hex()}"'), *hashes], b""
        wanted = self.headers.get("x-goog-if-generation-match")
        return 200, _described(bucket.put(key, self.body, self._kept(), wanted=wanted)), b""

    @staticmethod
    def _parts(bucket: Bucket, upload: str) -> tuple[int, list[tuple[str, str]], bytes]:
        rows = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>&quot;{md5(body).hex()}&quot;</ETag><Size>{len(body)}</Size></Part>"
            for n, body in sorted(bucket.upload(upload).parts.items())
        )
        text = f"<ListPartsResult><IsTruncated>false</IsTruncated>{rows}</ListPartsResult>"
        return 200, [], text.encode()

    def _complete(self, bucket: Bucket, key: str, upload: str) -> tuple[int, list[tuple[str, str]], bytes]:
        if any(name.startswith("x-goog-if-") for name in self.headers):
            raise GCSError(400, "InvalidArgument", "Preconditions are not supported here.")
        rows = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag>", self.body.decode())
        made = bucket.complete(upload, [(int(number), etag.replace("&quot;", '"')) for number, etag in rows])
        text = f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>{escape(made.etag)}</ETag>"
        return 200, _described(made)[:3], (text + "</CompleteMultipartUploadResult>").encode()

    def _kept(self) -> dict[str, str]:
        return {
            name: text for name, text in self.headers.items()
            if name in _KEPT or name.startswith("x-goog-meta-") or name == "x-goog-storage-class"
        }  # fmt: skip

    def _verify(self) -> None:
        sent = dict(item.strip().split("=", 1) for item in self.headers.get("x-goog-hash", "").split(",") if item)
        if sent.get("crc32c", crc32c(self.body)) != crc32c(self.body):
            raise GCSError(400, "BadDigest", "The CRC32C you specified did not match what we computed.")

    def _get(self, found: Generation) -> tuple[int, list[tuple[str, str]], bytes]:
        self._check(found)
        headers = [*_described(found), *found.headers.items()]
        data = found.data
        if found.headers.get("content-encoding") == "gzip" and "gzip" not in self.headers.get("accept-encoding", ""):
            headers = [(name, text) for name, text in headers if name != "content-encoding"]
            return 200, headers, gzip.decompress(data)  # decompressed on the way: without ranges
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if wanted is None:
            return 200, headers, data
        first, last = wanted.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= end:
            raise GCSError(416, "InvalidRange", "The requested range cannot be satisfied.")
        return 206, [*headers, ("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")], data[start:end]

    def _check(self, found: Generation) -> None:
        given, written = self.headers, int(found.written)
        if "if-match" in given and given["if-match"] not in ("*", found.etag):
            raise GCSError(412, "PreconditionFailed")
        if "if-unmodified-since" in given and written > _seconds(given["if-unmodified-since"]):
            raise GCSError(412, "PreconditionFailed")
        if given.get("if-none-match") in ("*", found.etag):
            raise GCSError(304, "NotModified")
        if "if-modified-since" in given and written <= _seconds(given["if-modified-since"]):
            raise GCSError(304, "NotModified")

    # -- listings

    def _list(self, bucket: Bucket, name: str) -> tuple[int, list[tuple[str, str]], bytes]:
        query = self.query
        if query.get("list-type") != "2" or self.method != "GET":
            raise GCSError(400, "InvalidArgument")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        behind = max(query.get("continuation-token", ""), query.get("start-after", ""), key=str.encode)
        rows: list[str] = []
        seen: set[str] = set()
        last = ""
        most = int(query.get("max-keys", 1000))
        with bucket.lock:
            keys = sorted((key for key in bucket.live if key.startswith(prefix)), key=str.encode)
            for key in keys:
                rest = key[len(prefix) :]
                group = prefix + rest[: rest.index(delimiter) + 1] if delimiter and delimiter in rest else None
                if (group or key).encode() <= behind.encode() or group in seen:
                    continue
                if len(rows) == most:
                    break
                last = group or key
                seen.update([group] if group else [])
                rows.append(_row(group, key, bucket.live[key]))
            else:
                last = ""
        tail = f"<NextContinuationToken>{quote(last)}</NextContinuationToken>" if last else ""
        head = f"<Name>{name}</Name><Prefix>{quote(prefix)}</Prefix><KeyCount>{len(rows)}</KeyCount>"
        flags = f"<IsTruncated>{'true' if last else 'false'}</IsTruncated><EncodingType>url</EncodingType>"
        body = f"<ListBucketResult>{head}{flags}{tail}{''.join(rows)}</ListBucketResult>"
        return 200, [("Content-Type", "application/xml")], body.encode()

    # -- the JSON API

    def _list_versions(self, bucket: Bucket) -> tuple[int, list[tuple[str, str]], bytes]:
        assert self.query["versions"] == "true"
        with bucket.lock:
            live = [(key, found, True) for key, found in bucket.live.items()]
            everything = live + [(key, found, False) for (key, _), found in bucket.past.items()]
        prefix, start = self.query.get("prefix", ""), int(self.query.get("pageToken", "0"))
        rows = sorted((row for row in everything if row[0].startswith(prefix)), key=lambda row: (row[0], row[1].number))
        most = self.server.versions_in_page
        answer: dict[str, Any] = {"items": [_version(*row) for row in rows[start : start + most]]}
        if len(rows) > start + most:
            answer["nextPageToken"] = str(start + most)
        return 200, [("Content-Type", "application/json")], json.dumps(answer).encode()

    def _rewrite(self, source: str, key: str, target: str, name: str) -> tuple[int, list[tuple[str, str]], bytes]:
        origin, bucket = self._bucket(source), self._bucket(target)
        found = origin.get(key)
        token = self.query.get("rewriteToken") or uuid.uuid4().hex
        calls = bucket.rewrites[token] = bucket.rewrites.get(token, 0) + 1
        if calls < self.server.rewrite_calls:
            answer: dict[str, Any] = {"done": False, "rewriteToken": token, "objectSize": str(len(found.data))}
        else:
            wanted = self.query.get("ifGenerationMatch")
            made = bucket.put(name, found.data, dict(found.headers), wanted=wanted, composed=found.composed)
            answer = {"done": True, "resource": {"name": name, "generation": str(made.number)}}
        return 200, [("Content-Type", "application/json")], json.dumps(answer).encode()

    def _batch(self) -> tuple[int, list[tuple[str, str]], bytes]:
        boundary = self.headers["content-type"].partition("boundary=")[2]
        parts = self.body.decode().split(f"--{boundary}")[1:-1]
        assert len(parts) <= 100
        answers: list[str] = []
        for part in parts:
            name = re.search(r"Content-ID: <(.*?)>", part)
            line = re.search(r"(?m)^DELETE (\S+) HTTP/1.1", part)
            assert name is not None
            assert line is not None
            message = self._batched(line.group(1))
            answers.append(
                f"--answers\r\nContent-Type: application/http\r\nContent-ID: <response-{name.group(1)}>\r\n\r\n"
                f"{message}\r\n"
            )
        answers.reverse()  # they come in any order
        return (
            200,
            [("Content-Type", "multipart/mixed; boundary=answers")],
            ("".join(answers) + "--answers--\r\n").encode(),
        )

    def _batched(self, target: str) -> str:
        found = _JSON_OBJECT.fullmatch(target)
        assert found is not None
        bucket, key = map(unquote, found.groups())
        try:
            if self.server.busy.get(key, 0) > 0:
                self.server.busy[key] -= 1
                raise GCSError(503, "backendError")
            self._bucket(bucket).delete(key)
        except GCSError as error:
            text = _json_error(error)
            return f"HTTP/1.1 {error.status} no\r\nContent-Type: application/json\r\n\r\n{text}\r\n"
        return "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


def _row(group: str | None, key: str, found: Generation) -> str:
    if group is not None:
        return f"<CommonPrefixes><Prefix>{quote(group)}</Prefix></CommonPrefixes>"
    when = formatdate(found.written, usegmt=True)
    stamp = parsedate_to_datetime(when).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{quote(key)}</Key><Generation>{found.number}</Generation><MetaGeneration>1</MetaGeneration>"
        f"<LastModified>{stamp}</LastModified><ETag>{escape(found.etag)}</ETag><Size>{len(found.data)}</Size></Contents>"
    )


def _version(key: str, found: Generation, live: bool) -> dict[str, str]:
    stamp = datetime.fromtimestamp(found.written, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    item = {"name": key, "generation": str(found.number), "size": str(len(found.data)), "updated": stamp}
    item |= {} if found.composed else {"md5Hash": base64.b64encode(md5(found.data)).decode()}
    return item if live else {**item, "timeDeleted": stamp}


def _described(found: Generation) -> list[tuple[str, str]]:
    return [
        ("ETag", found.etag),
        ("x-goog-generation", str(found.number)),
        ("x-goog-metageneration", "1"),
        ("Last-Modified", formatdate(found.written, usegmt=True)),
        ("x-goog-stored-content-length", str(len(found.data))),
        ("x-goog-stored-content-encoding", found.headers.get("content-encoding", "identity")),
        *(("x-goog-hash", text) for text in found.hashes),
    ]


def _seconds(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


def _json_error(error: GCSError) -> str:
    reason = {"NoSuchKey": "notFound", "PreconditionFailed": "conditionNotMet"}.get(error.code, error.code)
    told = {"code": error.status, "message": error.message, "errors": [{"reason": reason, "message": error.message}]}
    return json.dumps({"error": told})


def _handler(server: GCSServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server.seen.append((self.command, self.path, {n.lower(): t for n, t in self.headers.items()}))
            try:
                status, headers, content = _Call(server, self.command, self.path, self.headers, body).answer()
            except GCSError as error:
                status, headers, content = error.status, [("X-GUploader-UploadID", "id-of-the-request")], b""
                if error.status != 304:
                    is_json = self.path.startswith("/storage/v1/")
                    text = f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>"
                    content = _json_error(error).encode() if is_json else text.encode()
            if self.command in server.lost:
                server.lost.remove(self.command)
                self.close_connection = True
            else:
                self._send(status, headers, content)

        def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response(status)
            for name, text in headers:
                self.send_header(name, text)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
