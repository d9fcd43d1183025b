"""Cloud Storage: objects and listings by its XML API, copies and deletes by its JSON API; docs/design/gcs.md says why.

Source of the rules: the Cloud Storage references of both APIs. An object's generation is its version here.

Every request but a read of an object asks for an answer without coding. Reads say that they take gzip: Cloud Storage
would otherwise decompress what is stored with `Content-Encoding: gzip`, and then has neither its length nor its ranges.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from cumulo._errors import Context, of_document
from cumulo._native import Client, Request, combine_digests
from cumulo._records import record
from cumulo.exceptions import NotSupportedError

from .base import FilePart, Listing, Provider, PutPlan
from .gcs_batch import batch_body, read_batch
from .xml_api import MIB, Part, XmlProvider, complete_xml

if TYPE_CHECKING:
    from cumulo._config import GCSEndpoint
    from cumulo._keys import Keys
    from cumulo._operations.get import Wanted
    from cumulo._types import ObjectVersion
    from cumulo.exceptions import BaseError

    from .s3_bulk import S3Bulk

_PLAIN = ("Accept-Encoding", "identity")
_RETRIED = (408, 429, 500, 502, 503, 504)


@record(frozen=True)
class GCSPart(Part):
    """An uploaded part with its length in bytes. `checksum` is its CRC32C."""

    length: int = 0


# What a request is for, and what its answer is to be read with.


class _PartContext(Context):
    length = 0
    checksum: str | None = None


class _BatchContext(Context):
    paths: Sequence[str] = ()


class _CopyContext(Context):
    again: tuple[str, str, str] = ("", "", "")
    """(source, target, conditions)"""


def client_headers(user_project: str | None) -> list[tuple[str, bytes]]:
    """What goes with every request of a client, but where a request says otherwise."""
    project = [("x-goog-user-project", user_project.encode())] if user_project else []
    return [("Accept-Encoding", b"gzip"), *project]


class GCSProvider(XmlProvider):
    """The requests of one GCS store."""

    max_put_bytes = 5 * 1024 * 1024 * MIB
    bulk_delete_keys = 100
    checksum_algorithm: str | None = "CRC32C"
    conditional_uploads = False
    version_header = "x-goog-generation"
    class_header = "x-goog-storage-class"
    meta_prefix = "x-goog-meta-"
    bulk: S3Bulk | None = None

    def __init__(self, store: Any, client: Client, keys: Keys, endpoint: GCSEndpoint, default_type: str | None) -> None:
        super().__init__(store, client, keys, default_type)
        self._endpoint = endpoint
        self._origin = self
        """Whose objects copies are made of."""
        self._payer = [_PLAIN]

    # -- reading

    def get(self, path: str, wanted: Wanted) -> Request:
        return self._request(
            "get", "GET", path, _generation(wanted.version), headers=wanted.headers, range=wanted.range, sink="stream",
            announce_headers=True, verify=wanted.range is None,
        )  # fmt: skip

    def get_part(
        self, path: str, version: str | None, etag: str, span: tuple[int, int], *, digest: str | None = None,
        sink: str = "buffer",
    ) -> Request:  # fmt: skip
        return self._request("get", "GET", path, _generation(version), headers=[("If-Match", etag)],
                             range=("bounded", *span), sink=sink, digest=digest)  # fmt: skip

    def head(self, path: str, wanted: Wanted) -> Request:
        return self._request("head", "HEAD", path, _generation(wanted.version), headers=wanted.headers)

    def probe(self, path: str) -> Request:
        return self._request("head", "HEAD", path)

    # -- writing

    def put(
        self, path: str, plan: PutPlan, *, body: Any = None, file: FilePart | None = None, checksum: str | None = None
    ) -> Request:
        headers = [*self._object_headers(plan), *_conditions(plan), *_hash(checksum)]
        return self._request("put", "PUT", path, headers=headers, body=body, file=file, create=plan.create)

    def _object_headers(self, plan: PutPlan) -> list[tuple[str, str]]:
        if plan.tags:
            raise NotSupportedError("Cloud Storage's objects have no tags; attributes of any name serve as well")
        return [*self._payer, *self._attribute_headers(plan)]

    def create_upload(self, path: str, plan: PutPlan) -> Request:
        return self._request("put", "POST", path, "uploads=", headers=self._object_headers(plan), names=True)

    def put_part(
        self, path: str, upload_id: str, number: int, *, body: Any = None, file: FilePart | None = None,
        checksum: str | None = None,
    ) -> Request:  # fmt: skip
        context = _PartContext(self._store, "put", path)
        context.length, context.checksum = len(body) if file is None else file[2], checksum
        target = self._path(path, f"partNumber={number}&uploadId={quote(upload_id, safe='')}")
        headers = [*self._payer, *_hash(checksum)]
        return Request(self._client, "PUT", target, headers, context=context, body=body, file=file)

    def part_of(self, request: Request, number: int) -> Part:
        etag = request.response[1].get("etag")
        if not etag:
            raise self._bad_answer(request, "an ETag")
        context: _PartContext = request.context
        return GCSPart(number, etag, context.checksum, context.length)

    def part_again(self, number: int, etag: str | None, checksum: str | None, length: int) -> Part:
        return GCSPart(number, etag or "", checksum, length)

    def complete_upload(self, path: str, upload_id: str, parts: Sequence[Part], plan: PutPlan) -> Request:
        headers = [*self._payer, ("Content-Type", "application/xml")]
        return self._request(
            "put", "POST", path, f"uploadId={quote(upload_id, safe='')}", headers=headers,
            body=complete_xml(parts, None).encode(), error_in_200=True,
        )  # fmt: skip

    def is_completed_as(self, head: Request, parts: Sequence[Part]) -> bool:
        """By its CRC32C, which is that of its parts."""
        total, size = 0, 0
        for part in cast("Sequence[GCSPart]", parts):
            if part.checksum is None:
                return False
            total = combine_digests("CRC32C", total, _number(part.checksum), part.length)
            size += part.length
        found = hashes(head).get("crc32c")
        return size != 0 and head.response[2] == size and found is not None and _number(found) == total

    def is_stored_as(self, head: Request, size: int, md5: str, checksum: str | None) -> bool:
        found = hashes(head)
        if size == 0 or head.response[2] != size:
            return False
        return found.get("md5") == _of_hex(md5) or (checksum is not None and found.get("crc32c") == checksum)

    # -- deleting

    def delete(self, path: str, version: str | None = None) -> Request:
        context = Context(self._store, "delete", path)
        query = b"?" + _generation(version).encode() if version is not None else b""
        return Request(self._client, "DELETE", self._json_object(path) + query, self._payer, context=context)

    # -- versions, by the JSON API

    def list_versions(self, prefix: str, token: str | None) -> Request:
        query = "versions=true&fields=nextPageToken,items(name,generation,size,updated,md5Hash,timeDeleted)"
        query += "&prefix=" + quote(prefix, safe="") if prefix else ""
        query += "&pageToken=" + quote(token, safe="") if token else ""
        path = self._endpoint.json_object.removesuffix(b"/") + b"?" + query.encode()
        context = Context(self._store, "list_versions", prefix)
        return Request(self._client, "GET", path, self._payer, context=context)

    def versions(self, request: Request) -> Listing:
        try:
            answer: Any = json.loads(bytes(request.take_body()))
            found: list[Any] = [self._version_of(item) for item in answer.get("items", [])]
            return Listing(found, [], answer.get("nextPageToken") or None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._bad_answer(request, f"a readable page ({error!r})") from error

    def _version_of(self, item: Any) -> ObjectVersion:
        if not item["name"].startswith(self._keys.strip):
            raise ValueError(f"{item['name']!r} does not begin with {self._keys.strip!r}")
        md5 = item.get("md5Hash")
        return {
            "path": item["name"][len(self._keys.strip) :],
            "last_modified": datetime.fromisoformat(item["updated"].replace("Z", "+00:00")),
            "size": int(item["size"]),
            "e_tag": f'"{a2b_base64(md5).hex()}"' if md5 else None,  # as reads have it; composed objects have no MD5
            "version": str(item["generation"]),
            "is_latest": "timeDeleted" not in item,
            "is_delete_marker": False,
        }

    def can_bulk_delete(self, path: str) -> bool:
        return True

    def bulk_delete(self, paths: Sequence[str]) -> Request:
        context = _BatchContext(self._store, "delete", f"{len(paths)} paths")
        context.paths = paths
        body, content_type = batch_body([self._json_object(path) for path in paths])
        headers = [*self._payer, ("Content-Type", content_type)]
        return Request(self._client, "POST", self._endpoint.batch, headers, context=context, body=body)

    def bulk_deleted(self, request: Request) -> tuple[Sequence[str], Sequence[BaseError]]:
        context: _BatchContext = request.context
        answers = read_batch(bytes(request.take_body()), request.response[1].get("content-type", ""))
        if answers is None or len(answers) != len(context.paths):
            raise self._bad_answer(request, "what was deleted")
        again: list[str] = []
        failed: list[BaseError] = []
        for path, answer in zip(context.paths, answers, strict=True):
            if answer.status in _RETRIED:
                again.append(path)
            elif answer.status == 404 and request.in_doubt:
                continue  # an earlier attempt, whose answer was lost, deleted it
            elif answer.status >= 400:
                about = Context(self._store, "delete", path)
                failed.append(of_document(request, about, answer.code, answer.message, answer.status))
        return again, failed

    # -- copying: rewrites, of which a large one takes several requests

    def _json_object(self, path: str) -> bytes:
        return self._endpoint.json_object + quote(self._keys.key(path), safe="").encode()

    def _rewrite(self, source: str, target: str, query: str, token: str | None = None, *, create: bool) -> Request:
        place = b"/rewriteTo/b/" + self._endpoint.bucket + b"/o/" + quote(self._keys.key(target), safe="").encode()
        parameters = "&".join(
            part for part in (query, "rewriteToken=" + quote(token, safe="") if token else "") if part
        )
        path = self._origin._json_object(source) + place + (b"?" + parameters.encode() if parameters else b"")
        context = _CopyContext(self._store, "copy", target if create else source, create)
        context.again = (source, target, query)
        return Request(self._client, "POST", path, self._payer, context=context)

    def copying_from(self, origin: Provider) -> GCSProvider | None:
        if not isinstance(origin, GCSProvider) or not self._store.shares_account_with(origin._store):
            return None
        view = copy(self)
        view._origin = origin
        return view

    def copy(self, source: str, target: str) -> Request:
        return self._rewrite(source, target, "", create=False)

    def copy_if_absent(self, source: str, target: str, header: tuple[str, str]) -> Request:
        return self._rewrite(source, target, "=".join(header), create=True)

    def check_copied(self, request: Request) -> Request | None:
        """What goes on with the copy, when it is not done."""
        try:
            answer: Any = json.loads(bytes(request.take_body()))
            token = None if answer["done"] else str(answer["rewriteToken"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._bad_answer(request, "whether the copy is done") from error
        context: _CopyContext = request.context
        return None if token is None else self._rewrite(*context.again, token, create=context.create)

    def is_copy_of(self, head: Request, source: Request) -> bool:
        found, size = hashes(head).get("crc32c"), head.response[2]
        same = size == source.response[2] and found == hashes(source).get("crc32c")
        return same and found is not None and bool(size)

    def copy_part(
        self, source: str, target: str, upload_id: str, number: int, span: tuple[int, int], etag: str | None
    ) -> Request:
        raise NotSupportedError("Cloud Storage copies no parts")  # nor needs it: a rewrite has no limit

    def has_tags(self, head: Request) -> bool:
        return False

    def get_tags(self, path: str) -> Request:
        raise NotSupportedError("Cloud Storage's objects have no tags")

    def tags(self, request: Request) -> dict[str, str]:
        return {}


def hashes(request: Request) -> dict[str, str]:
    """What a response says of the content, by algorithm, in base64."""
    pairs = (item.strip().partition("=") for item in request.response[1].get("x-goog-hash", "").split(","))
    return {name: value for name, _, value in pairs if value}


def _hash(checksum: str | None) -> list[tuple[str, str]]:
    return [("x-goog-hash", "crc32c=" + checksum)] if checksum is not None else []


def _number(checksum: str) -> int:
    try:
        return int.from_bytes(a2b_base64(checksum), "big")
    except ValueError:
        return -1


def _of_hex(digest: str) -> str:
    return b2a_base64(bytes.fromhex(digest), newline=False).decode()


def _generation(version: str | None) -> str:
    return "generation=" + quote(version, safe="") if version is not None else ""


def _conditions(plan: PutPlan) -> list[tuple[str, str]]:
    wanted = "0" if plan.create else plan.if_version
    return [("x-goog-if-generation-match", wanted)] if wanted is not None else []
