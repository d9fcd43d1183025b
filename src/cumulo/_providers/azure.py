"""Azure's Blob service. Source of the rules: the Azure Storage REST API reference, Blob service.

An upload in parts is blocks with ids of ours (Put Block), then the list of them (Put Block List): there is nothing to
create, and nothing to abort. What is not committed is not there; the service drops it after a week.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from cumulo._errors import Context, of_document
from cumulo._native import Client, ListError, Request, encode_path, parse_blob_page, xml_fields
from cumulo._operations.get import Wanted
from cumulo.exceptions import GenericError, NotSupportedError

from .azure_batch import MOST_IN_BATCH, Signer, answers_of, batch_of
from .base import FilePart, Listing, Provider, PutPlan, mark_of
from .headers import age_s, object_meta

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._config import AzureSettings
    from cumulo._keys import Keys
    from cumulo._types import Attributes, ObjectMeta, PutResult
    from cumulo.exceptions import BaseError

MIB = 1024 * 1024
API_VERSION = "2026-02-06"
"""The first that lists from a key on (`startFrom`)."""
_ATTRIBUTES = {
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
    "x-ms-access-tier": "Storage-Class",
}
_PUT_HEADERS = {
    header: "x-ms-access-tier" if name == "Storage-Class" else f"x-ms-blob-{header}"
    for header, name in ((name.lower(), name) for name in _ATTRIBUTES.values())
}
_META = "x-ms-meta-"


class AzureProvider:
    """The requests of one Azure store."""

    min_part_bytes = 1
    max_part_bytes = 4000 * MIB
    max_parts = 50_000
    max_put_bytes = 5000 * MIB
    accept_ranges = "bytes"
    redirected = False
    conditional_uploads = True
    aborts_uploads = False
    lists_in_order = False  # as far as one may begin anywhere
    lists_from_offset = False  # `startFrom` includes the offset itself, and emulators ignore it
    bulk = None

    def __init__(self, store: Any, client: Client, keys: Keys, settings: AzureSettings, default_type: str | None,
                 algorithm: str | None, signer: Callable[[], Signer | None]) -> None:  # fmt: skip
        self.store = store
        self._client = client
        self._keys = keys
        self._settings = settings
        self._default_type = default_type
        self._base = client.base
        self._signer = signer
        self._origin = self
        """Whose objects copies are made of."""
        self._key_headers = _customer_key("x-ms-encryption-", settings.encryption_key)
        self.checksum_algorithm = algorithm

    def as_listed(self) -> Self:
        """The same, for paths as a listing gives them: slashes at their ends belong to the keys."""
        view = copy(self)
        view._keys = self._keys.as_listed()
        return view

    # -- headers

    def _object_headers(self, plan: PutPlan) -> list[tuple[str, str]]:
        headers = list(self._key_headers)
        names = {name.lower() for name in plan.attributes}
        if self._default_type and "content-type" not in names:
            headers.append(("x-ms-blob-content-type", self._default_type))
        for name, value in plan.attributes.items():
            headers.append((_PUT_HEADERS.get(name.lower(), _META + name.lower()), value))
        if plan.tags and not self._settings.disable_tagging:
            pairs = (f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in plan.tags.items())
            headers.append(("x-ms-tags", "&".join(pairs)))
        return headers

    @staticmethod
    def _conditions(plan: PutPlan) -> list[tuple[str, str]]:
        if plan.create:
            return [("If-None-Match", "*")]
        return [("If-Match", plan.if_match)] if plan.if_match else []

    @staticmethod
    def _checksum_header(checksum: str | None) -> list[tuple[str, str]]:
        """The service's CRC-64 is CRC64NVME's polynomial, written with its last byte first."""
        if checksum is None:
            return []
        return [("x-ms-content-crc64", base64.b64encode(base64.b64decode(checksum)[::-1]).decode())]

    # -- making requests

    def _request(self, operation: str, method: str, path: str, query: str = "", *, create: bool = False,
                 **options: Any) -> Request:  # fmt: skip
        target = encode_path(self._base, self._keys.key(path))
        context = Context(self.store, operation, path, create)
        return Request(self._client, method, target + b"?" + query.encode() if query else target, context=context,
                       **options)  # fmt: skip

    def get(self, path: str, wanted: Wanted) -> Request:
        if wanted.range is not None and wanted.range[0] == "suffix":
            raise NotSupportedError(
                f"get {path!r} in {self.store!r}: Azure serves no suffix ranges; ask `head` for the size",
                operation="get", store=repr(self.store), path=path,
            )  # fmt: skip
        return self._request("get", "GET", path, _version(wanted.version), range=wanted.range, sink="stream",
                             headers=[*self._key_headers, *wanted.headers], announce_headers=True,
                             verify=wanted.range is None)  # fmt: skip

    def get_span(self, path: str, start: int, end: int) -> Request:
        return self._request("get_range", "GET", path, headers=self._key_headers, range=("bounded", start, end),
                             sink="buffer")  # fmt: skip

    def get_part(self, path: str, version: str | None, etag: str, span: tuple[int, int], *, digest: str | None = None,
                 sink: str = "buffer") -> Request:  # fmt: skip
        headers = [*self._key_headers, ("If-Match", etag)]
        return self._request("get", "GET", path, _version(version), headers=headers, range=("bounded", *span),
                             sink=sink, digest=digest)  # fmt: skip

    def head(self, path: str, wanted: Wanted) -> Request:
        headers = [*self._key_headers, *wanted.headers]
        return self._request("head", "HEAD", path, _version(wanted.version), headers=headers)

    def probe(self, path: str) -> Request:
        return self.head(path, Wanted(None))

    def put(self, path: str, plan: PutPlan, *, body: Any = None, file: FilePart | None = None,
            checksum: str | None = None) -> Request:  # fmt: skip
        headers = [("x-ms-blob-type", "BlockBlob"), *self._object_headers(plan), *self._conditions(plan),
                   *self._checksum_header(checksum)]  # fmt: skip
        return self._request("put", "PUT", path, headers=headers, body=body, file=file, create=plan.create)

    def create_upload(self, path: str, plan: PutPlan) -> str:
        """No request: what tells the blocks of this upload from another's of the same blob."""
        self._keys.key(path)
        return token_hex(8)

    def upload_id(self, request: Request) -> str:
        raise NotImplementedError  # see create_upload

    def abort_upload(self, path: str, upload_id: str) -> Request:
        raise NotImplementedError  # see create_upload

    def put_part(self, path: str, upload_id: str, number: int, *, body: Any = None, file: FilePart | None = None,
                 checksum: str | None = None) -> Request:  # fmt: skip
        block = quote(_block_id(upload_id, number), safe="")
        headers = [*self._key_headers, *self._checksum_header(checksum)]
        return self._request("put", "PUT", path, f"comp=block&blockid={block}", headers=headers, body=body, file=file)

    def part_of(self, request: Request, number: int) -> int:
        return number

    def upload_mark(self, plan: PutPlan) -> str:
        return mark_of(self._object_headers(plan), self.checksum_algorithm)

    def list_parts(self, path: str, upload_id: str, marker: str | None) -> Request:
        return self._request("put", "GET", path, "comp=blocklist&blocklisttype=uncommitted", headers=[])

    def parts_listed(self, request: Request, upload_id: str) -> tuple[dict[int, tuple[str | None, int]], str | None]:
        """All that are not committed; blocks have no ETag."""
        try:
            fields = xml_fields(request.take_body())
            names, sizes = ([text for name, text in fields if name == f"BlockList/UncommittedBlocks/Block/{field}"]
                            for field in ("Name", "Size"))  # fmt: skip
            blocks = [(base64.b64decode(name).decode("utf-8", "replace"), int(size))
                      for name, size in zip(names, sizes, strict=True)]  # fmt: skip
        except ValueError as error:
            raise self._unreadable(request, "list of blocks", error) from error
        ours = ((name.removeprefix(f"{upload_id}-"), size) for name, size in blocks if name.startswith(f"{upload_id}-"))
        return {int(number): (None, size) for number, size in ours if number.isdecimal()}, None

    def part_facts(self, part: int) -> tuple[str | None, str | None]:
        return None, None

    def part_again(self, number: int, etag: str | None, checksum: str | None, length: int) -> int:
        return number

    def complete_upload(self, path: str, upload_id: str, parts: Sequence[int], plan: PutPlan) -> Request:
        # Latest: so that a list whose answer was lost can be sent again, when its blocks are committed already.
        rows = "".join(f"<Latest>{_block_id(upload_id, number)}</Latest>" for number in parts)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{rows}</BlockList>'.encode()
        headers = [*self._object_headers(plan), *self._conditions(plan), ("Content-Type", "application/xml")]
        return self._request("put", "PUT", path, "comp=blocklist", headers=headers, body=body, create=plan.create)

    def delete(self, path: str, version: str | None = None) -> Request:
        headers = [("x-ms-delete-snapshots", "include")] if version is None else []
        return self._request("delete", "DELETE", path, _version(version), headers=headers)

    def delete_leftover(self, path: str, etag: str) -> Request:
        """Unless it has become something else meanwhile, or has snapshots."""
        return self._request("copy", "DELETE", path, headers=[("If-Match", etag)], clean_up=True)

    def list_versions(self, prefix: str, token: str | None) -> Request:
        query = "restype=container&comp=list&include=versions"
        query += "&prefix=" + quote(prefix, safe="") if prefix else ""
        query += "&marker=" + quote(token, safe="") if token else ""
        return self._container_request(Context(self.store, "list_versions", prefix), "GET", query)

    def versions(self, request: Request) -> Listing:
        try:
            objects, _, token = parse_blob_page(request.take_body(), self._keys.strip, versions=True)
        except ValueError as error:
            raise self._bad_page(request, error) from error
        return Listing(objects, [], token)

    def _bad_page(self, request: Request, error: ValueError) -> BaseError:
        if isinstance(error, ListError) and error.code:
            return of_document(request, request.context, error.code, error.message or "")
        return self._unreadable(request, "page", error)

    @property
    def bulk_delete_keys(self) -> int:
        """Each request of a batch shows for itself who sends it, so it takes credentials that are at hand."""
        return MOST_IN_BATCH if self._signer() is not None else 0

    def can_bulk_delete(self, path: str) -> bool:
        return True

    def bulk_delete(self, paths: Sequence[str]) -> Request:
        signer = self._signer()
        assert signer is not None
        targets = [encode_path(self._base, self._keys.key(path)).decode() for path in paths]
        content_type, body = batch_of(targets, signer)
        context = BatchContext(Context(self.store, "delete", f"{len(paths)} paths"), list(paths))
        return self._container_request(context, "POST", "restype=container&comp=batch", body=body,
                                       headers=[("Content-Type", content_type)])  # fmt: skip

    def bulk_deleted(self, request: Request) -> tuple[Sequence[str], Sequence[BaseError]]:
        context: BatchContext = request.context
        busy: list[str] = []
        failed: list[BaseError] = []
        for path, (status, code, message) in answers_of(request, context.paths):
            if status in (429, 500, 503):
                busy.append(path)
            elif status >= 300 and not (status == 404 and request.in_doubt):  # else an earlier attempt has deleted it
                failed.append(of_document(request, Context(self.store, "delete", path), code, message, status))
        return busy, failed

    def list(
        self, prefix: str, *, token: str | None, offset: str | None, delimiter: bool, page_size: int | None = None
    ) -> Request:
        query = ["restype=container", "comp=list"]
        if page_size is not None:
            query.append(f"maxresults={page_size}")
        if prefix:
            query.append("prefix=" + quote(prefix, safe=""))
        if delimiter:
            query.append("delimiter=%2F")
        if token is not None:
            query.append("marker=" + quote(token, safe=""))
        elif offset is not None:
            query.append("startFrom=" + quote(offset, safe=""))
        return self._container_request(Context(self.store, "list", prefix), "GET", "&".join(query))

    def _container_request(self, context: Context, method: str, query: str, **options: Any) -> Request:
        target = self._base.removesuffix(b"/") + b"?" + query.encode()
        return Request(self._client, method, target, context=context, **options)

    # -- copies

    def copying_from(self, origin: Provider) -> AzureProvider | None:
        if not isinstance(origin, AzureProvider) or not self.store.shares_account_with(origin.store):
            return None
        view = copy(self)
        view._origin = origin
        return view

    def copy(self, source: str, target: str, *, create: bool = False) -> Request:
        """Begin a copy. With a customer's key it is made while the request lasts, and can't be larger than a put."""
        headers = [
            ("x-ms-copy-source", self._origin._copy_source(source)),
            *([("If-None-Match", "*")] if create else []),
        ]
        key = self._settings.encryption_key
        if key is not None:
            headers += [
                ("x-ms-blob-type", "BlockBlob"),
                *self._key_headers,
                *_customer_key("x-ms-source-encryption-", key),
            ]
        return self._request("copy", "PUT", target, headers=headers, create=create)

    def _copy_source(self, source: str) -> str:
        url = self.store._endpoint.url.removesuffix(self._base.decode())
        whole = url + encode_path(self._base, self._keys.key(source)).decode()
        signer = self._signer()
        return whole + "?" + signer.secret if signer is not None and signer.kind == "sas" else whole

    def copy_status(self, request: Request) -> tuple[str, str, str]:
        """(id, status, description) of the copy that a PUT has begun or a HEAD found."""
        headers = request.response[1]
        status = headers.get("x-ms-copy-status", "success")
        return headers.get("x-ms-copy-id", ""), status, headers.get("x-ms-copy-status-description", "")

    def abort_copy(self, target: str, copy_id: str) -> Request:
        query = "comp=copy&copyid=" + quote(copy_id, safe="")
        return self._request("copy", "PUT", target, query, headers=[("x-ms-copy-action", "abort")], clean_up=True)

    def is_copy_of(self, head: Request, source: Request) -> bool:
        """By the source that the service notes on the copy."""
        (_, copied, size, _), (_, _, length, _) = head.response, source.response
        origin = self._origin
        path = encode_path(origin._base, origin._keys.key(source.context.path)).decode()
        found = unquote(urlsplit(copied.get("x-ms-copy-source", "")).path)
        return size == length and found == unquote(path)

    # -- tags

    def has_tags(self, head: Request) -> bool:
        return head.response[1].get("x-ms-tag-count", "0") != "0" and not self._settings.disable_tagging

    def get_tags(self, path: str) -> Request:
        return self._request("copy", "GET", path, "comp=tags")

    def tags(self, request: Request) -> dict[str, str]:
        found = xml_fields(request.take_body())
        names = [text for name, text in found if name.endswith("/Tag/Key")]
        return dict(zip(names, [text for name, text in found if name.endswith("/Tag/Value")], strict=True))

    # -- reading responses

    def meta(self, path: str, request: Request) -> ObjectMeta:
        return object_meta(path if self._keys.raw else path.removeprefix("/").removesuffix("/"), request,
                           "x-ms-version-id")  # fmt: skip

    def attributes(self, request: Request) -> Attributes:
        found: Attributes = {}
        for name, value in request.response[1].items():
            if name in _ATTRIBUTES:
                found[_ATTRIBUTES[name]] = value
            elif name.startswith(_META):
                found[name.removeprefix(_META)] = value
        return found

    def put_result(self, request: Request) -> PutResult:
        headers = request.response[1]
        return {"e_tag": headers.get("etag"), "version": headers.get("x-ms-version-id")}

    completed = put_result

    def age_s(self, head: Request) -> float | None:
        return age_s(head)

    def is_stored_as(self, head: Request, size: int, md5: str, checksum: str | None) -> bool:
        """By the MD5 that the service keeps of what came in one request."""
        _, headers, length, _ = head.response
        found = headers.get("content-md5")
        return size != 0 and length == size and found == base64.b64encode(bytes.fromhex(md5)).decode()

    def is_completed_as(self, head: Request, parts: Sequence[int]) -> bool:
        return False  # nothing in a HEAD tells

    def listing(self, request: Request, *, columns: bool = False) -> Listing:
        try:
            objects, prefixes, token = parse_blob_page(request.take_body(), self._keys.strip, columns)
        except ValueError as error:
            raise self._bad_page(request, error) from error
        if not self._keys.raw:
            prefixes = [prefix.removesuffix("/") for prefix in prefixes]
        return Listing(objects, prefixes, token)

    def _unreadable(self, request: Request, what: str, error: ValueError) -> GenericError:
        context: Context = request.context
        return GenericError(
            f"{context.operation} {context.path!r} in {self.store!r}: the answer lacks a readable {what} ({error})",
            operation=context.operation, store=repr(self.store), path=context.path, status=request.response[0],
            attempts=request.attempts,
        )  # fmt: skip


class BatchContext(Context):
    """Of a request that stands for many."""

    paths: list[str]

    def __new__(cls, context: Context, paths: list[str]) -> BatchContext:
        made = super().__new__(cls, *context)
        made.paths = paths
        return made


def _version(version: str | None) -> str:
    return "versionid=" + quote(version, safe="") if version is not None else ""


def _block_id(upload_id: str, number: int) -> str:
    """All ids of a blob must be of one length."""
    return base64.b64encode(f"{upload_id}-{number:06d}".encode()).decode()


def _customer_key(stem: str, key: str | None) -> list[tuple[str, str]]:
    if key is None:
        return []
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return [
        (stem + "algorithm", "AES256"),
        (stem + "key", key),
        (stem + "key-sha256", base64.b64encode(digest).decode()),
    ]
