"""Amazon S3's REST API, and what speaks it. Source of the rules: the Amazon S3 API reference.

Requests go out with the key percent-encoded exactly once; header values are checked before they get here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cumulo._digests import md5
from cumulo._errors import Context, of_document
from cumulo._native import Client, Request, encode_path, parse_version_page
from cumulo._operations.get import Wanted

from .base import FilePart, Listing, Provider, PutPlan
from .s3_bulk import S3Bulk
from .xml_api import MIB, Part, XmlProvider, complete_xml, xml_text

if TYPE_CHECKING:
    from cumulo._config import S3Settings
    from cumulo._keys import Keys
    from cumulo.exceptions import BaseError

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_MOST_ERRORS_BYTES = 16 << 20
"""The longest answer to a bulk delete: an error for each of 1000 keys of up to 1024 bytes."""
_CHECKSUM_HEADERS = {"CRC64NVME": "x-amz-checksum-crc64nvme", "CRC32C": "x-amz-checksum-crc32c",
                     "SHA256": "x-amz-checksum-sha256"}  # fmt: skip


class S3Provider(XmlProvider):
    """The requests of one S3 store."""

    max_put_bytes = 5 * 1024 * MIB
    version_header = "x-amz-version-id"
    class_header = "x-amz-storage-class"
    meta_prefix = "x-amz-meta-"

    def __init__(self, store: Any, client: Client, keys: Keys, settings: S3Settings, default_type: str | None,
                 algorithm: str | None, *, copier: Client | None = None) -> None:  # fmt: skip
        """`copier`: what copies are asked for by, when it is another than `client`."""
        super().__init__(store, client, keys, default_type)
        self._settings = settings
        self._copier = copier
        self._origin = self
        """Whose objects copies are made of."""
        self.bulk_delete_keys = 0 if settings.disable_bulk_delete else 1000
        # A directory bucket's listings have no order, and begin at their beginning.
        self.lists_in_order = self.lists_from_offset = store._endpoint.service != "s3express"
        self.checksum_algorithm = algorithm
        self.bulk: S3Bulk | None = self._bulk(client)
        self._get_headers = self._customer_key("x-amz-server-side-encryption-customer-")
        if settings.request_payer:
            self._payer = [("x-amz-request-payer", "requester")]
        self._put_headers = [*self._encryption(), *self._payer]
        self._plain_get = [*self._get_headers, *self._payer]

    def _bulk(self, client: Client) -> S3Bulk:
        return S3Bulk(self, client, self._settings.bulk_client, copies=self._copier is None)

    # -- headers

    def _customer_key(self, stem: str) -> list[tuple[str, str]]:
        key = self._settings.sse_customer_key_base64
        if key is None:
            return []
        digest = md5(base64.b64decode(key)).digest()
        return [
            (stem + "algorithm", "AES256"),
            (stem + "key", key),
            (stem + "key-MD5", base64.b64encode(digest).decode()),
        ]

    def _encryption(self) -> list[tuple[str, str]]:
        return self._customer_key("x-amz-server-side-encryption-customer-") + encryption_headers(self._settings)

    def _object_headers(self, plan: PutPlan) -> list[tuple[str, str]]:
        headers = [*self._put_headers, *self._attribute_headers(plan)]
        if plan.tags and not self._settings.disable_tagging:
            pairs = (f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in plan.tags.items())
            headers.append(("x-amz-tagging", "&".join(pairs)))
        return headers

    @staticmethod
    def _conditions(plan: PutPlan) -> list[tuple[str, str]]:
        if plan.create:
            return [("If-None-Match", "*")]
        return [("If-Match", plan.if_match)] if plan.if_match else []

    # -- making requests

    def get(self, path: str, wanted: Wanted) -> Request:
        headers = [*self._plain_get, *wanted.headers]
        if wanted.range is None:
            headers.append(("x-amz-checksum-mode", "ENABLED"))
        return self._request("get", "GET", path, _version(wanted.version), headers=headers, range=wanted.range,
                             sink="stream", announce_headers=True, verify=wanted.range is None)  # fmt: skip

    def get_part(self, path: str, version: str | None, etag: str, span: tuple[int, int], *, digest: str | None = None,
                 sink: str = "buffer") -> Request:  # fmt: skip
        headers = [*self._plain_get, ("If-Match", etag)]
        return self._request("get", "GET", path, _version(version), headers=headers, range=("bounded", *span),
                             sink=sink, digest=digest)  # fmt: skip

    def head(self, path: str, wanted: Wanted) -> Request:
        headers = [*self._plain_get, *wanted.headers]
        return self._request("head", "HEAD", path, _version(wanted.version), headers=headers)

    def probe(self, path: str) -> Request:
        headers = [*self._plain_get, ("x-amz-checksum-mode", "ENABLED")]
        return self._request("head", "HEAD", path, headers=headers)

    def put(self, path: str, plan: PutPlan, *, body: Any = None, file: FilePart | None = None,
            checksum: str | None = None) -> Request:  # fmt: skip
        headers = [*self._object_headers(plan), *self._conditions(plan), *self._checksum_header(checksum)]
        create = plan.create
        return self._request("put", "PUT", path, headers=headers, body=body, file=file, create=create)

    def _checksum_header(self, checksum: str | None) -> list[tuple[str, str]]:
        algorithm = self.checksum_algorithm
        return [(_CHECKSUM_HEADERS[algorithm], checksum)] if algorithm is not None and checksum is not None else []

    def create_upload(self, path: str, plan: PutPlan) -> Request:
        headers = self._object_headers(plan)
        if self.checksum_algorithm is not None:
            headers.append(("x-amz-checksum-algorithm", self.checksum_algorithm))
            if self.checksum_algorithm == "CRC64NVME":
                headers.append(("x-amz-checksum-type", "FULL_OBJECT"))
        return self._request("put", "POST", path, "uploads=", headers=headers, names=True)

    def put_part(self, path: str, upload_id: str, number: int, *, body: Any = None, file: FilePart | None = None,
                 checksum: str | None = None) -> Request:  # fmt: skip
        headers = [*self._get_headers, *self._payer, *self._checksum_header(checksum)]
        query = f"partNumber={number}&uploadId={quote(upload_id, safe='')}"
        return self._request("put", "PUT", path, query, headers=headers, body=body, file=file)

    def complete_upload(self, path: str, upload_id: str, parts: Sequence[Part], plan: PutPlan) -> Request:
        body = complete_xml(parts, self.checksum_algorithm).encode()
        headers = [*self._get_headers, *self._payer, *self._conditions(plan), ("Content-Type", "application/xml")]
        query = f"uploadId={quote(upload_id, safe='')}"
        return self._request("put", "POST", path, query, headers=headers, body=body, error_in_200=True,
                             create=plan.create)  # fmt: skip

    def delete(self, path: str, version: str | None = None) -> Request:
        return self._request("delete", "DELETE", path, _version(version), headers=self._payer)

    def list_versions(self, prefix: str, token: tuple[str, str] | None) -> Request:
        query = ["encoding-type=url", "versions="]
        if prefix:
            query.append("prefix=" + quote(prefix, safe=""))
        if token is not None:
            query.append("key-marker=" + quote(token[0], safe="", errors="surrogateescape"))
            query += ["version-id-marker=" + quote(token[1], safe="")] if token[1] else []
        return self._bucket_request("list_versions", "GET", prefix, "&".join(sorted(query)), headers=self._payer)

    def versions(self, request: Request) -> Listing:
        try:
            objects, token = parse_version_page(request.take_body(), self._keys.strip, True)
        except ValueError as error:
            raise self._bad_page(request, error) from error
        return Listing(objects, [], token)

    def can_bulk_delete(self, path: str) -> bool:
        """XML 1.0 has no way to write most control characters: such keys are deleted one by one."""
        return not _NOT_XML.search(self._keys.key(path))

    def bulk_delete(self, paths: Sequence[str]) -> Request:
        body = _delete_xml([self._keys.key(path) for path in paths]).encode()
        digest = base64.b64encode(md5(body).digest()).decode()
        headers = [*self._payer, ("Content-Type", "application/xml"), ("Content-MD5", digest)]
        return self._bucket_request("delete", "POST", f"{len(paths)} paths", "delete=", headers=headers, body=body)

    def copying_from(self, origin: Provider) -> S3Provider | None:
        if not isinstance(origin, S3Provider) or not self._store.shares_account_with(origin._store):
            return None
        view = copy(self)
        view._origin, view.bulk = origin, view._bulk(self._client)
        return view

    def copy(self, source: str, target: str) -> Request:
        headers = [("x-amz-copy-source", self._copy_source(source)), *self._copy_headers(), *self._put_headers]
        return self._request("copy", "PUT", target, client=self._copier, headers=headers, error_in_200=True)

    def copy_as(self, source: str, target: str, plan: PutPlan, etag: str) -> tuple[Request, str]:
        """A copy, of a source with this ETag only, whose metadata and tags are given; and the source's URL."""
        headers = [
            ("x-amz-copy-source", self._copy_source(source)),
            ("x-amz-copy-source-if-match", etag),
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-tagging-directive", "REPLACE"),
            *self._copy_headers(),
            *self._object_headers(plan),
        ]
        endpoint = self._origin._store._endpoint
        url = f"{endpoint.scheme}://{endpoint.host_header}{self._origin._path(source).decode()}"
        return self._request("copy", "PUT", target, headers=headers), url

    def get_tags(self, path: str) -> Request:
        return self._request("copy", "GET", path, "tagging=", headers=self._payer)

    def has_tags(self, head: Request) -> bool:
        return head.response[1].get("x-amz-tagging-count", "0") != "0" and not self._settings.disable_tagging

    def tags(self, request: Request) -> dict[str, str]:
        found = self._fields(request)
        keys = [text for name, text in found if name.endswith("/Tag/Key")]
        values = [text for name, text in found if name.endswith("/Tag/Value")]
        return dict(zip(keys, values, strict=True))

    def copy_part(self, source: str, target: str, upload_id: str, number: int, span: tuple[int, int],
                  etag: str | None) -> Request:  # fmt: skip
        headers = [
            ("x-amz-copy-source", self._copy_source(source)),
            ("x-amz-copy-source-range", f"bytes={span[0]}-{span[1] - 1}"),
            *([("x-amz-copy-source-if-match", etag)] if etag else []),
            *self._copy_headers(),
            *self._get_headers,
            *self._payer,
        ]
        query = f"partNumber={number}&uploadId={quote(upload_id, safe='')}"
        return self._request("copy", "PUT", target, query, client=self._copier, headers=headers, error_in_200=True)

    def _copy_source(self, source: str) -> str:
        origin = self._origin
        return f"/{quote(origin._settings.bucket, safe='')}/" + encode_path(b"", origin._keys.key(source)).decode()

    def _copy_headers(self) -> list[tuple[str, str]]:
        return self._origin._customer_key("x-amz-copy-source-server-side-encryption-customer-")

    def copy_if_absent(self, source: str, target: str, header: tuple[str, str]) -> Request:
        """A copy with the provider's own header for "only if absent" (R2 and others)."""
        headers = [("x-amz-copy-source", self._copy_source(source)), *self._copy_headers(), *self._put_headers, header]
        return self._request("copy", "PUT", target, client=self._copier, headers=headers, error_in_200=True,
                             create=True)  # fmt: skip

    # -- reading responses

    def part_of(self, request: Request, number: int) -> Part:
        headers = request.response[1]
        etag = headers.get("etag")
        if etag is None:  # a part that was copied says it in its body
            etag = dict(self._fields(request)).get("CopyPartResult/ETag")
        if not etag:
            raise self._bad_answer(request, "an ETag")
        header = _CHECKSUM_HEADERS.get(self.checksum_algorithm or "")
        return Part(number, etag, headers.get(header) if header else None)

    def is_completed_as(self, head: Request, parts: Sequence[Part]) -> bool:
        found = head.response[1].get("etag", "").strip('"')
        digest = md5()
        for part in parts:
            try:
                digest.update(bytes.fromhex(part.etag.strip('"')))
            except ValueError:
                return False
        return found == f"{digest.hexdigest()}-{len(parts)}"

    def is_stored_as(self, head: Request, size: int, md5: str, checksum: str | None) -> bool:
        """By its checksum, or its ETag: that is the content's MD5 unless it is encrypted with KMS's or our keys."""
        _, headers, length, _ = head.response
        if size == 0 or length != size:
            return False
        header = _CHECKSUM_HEADERS.get(self.checksum_algorithm or "", "")
        return headers.get("etag", "").strip('"') == md5 or (checksum is not None and headers.get(header) == checksum)

    def is_copy_of(self, head: Request, source: Request) -> bool:
        """By ETag. A copy of what was uploaded in parts has another one."""
        (_, copied, size, _), (_, headers, length, _) = head.response, source.response
        return size == length and size != 0 and "etag" in headers and copied.get("etag") == headers["etag"]

    def check_copied(self, request: Request) -> None:
        """A copy is done when the server says so in the body: 200 comes before."""
        if "CopyObjectResult/ETag" not in dict(self._fields(request)):
            raise self._bad_answer(request, "an ETag")

    def bulk_deleted(self, request: Request) -> tuple[Sequence[str], Sequence[BaseError]]:
        fields = self._fields(request, limit_bytes=_MOST_ERRORS_BYTES)
        if not all(name.startswith("DeleteResult") for name, _ in fields):
            raise self._bad_answer(request, "what was deleted")
        found: list[dict[str, str]] = [{}]
        for name, text in fields:
            if not name.startswith("DeleteResult/Error/"):
                continue
            field = name.rpartition("/")[2]
            if field in found[-1]:  # the next error begins: this one is whole
                found.append({})
            found[-1][field] = text
        return (), [
            self._delete_error(each, request) for each in found if each.get("Code", "") not in ("", "NoSuchKey")
        ]

    def _delete_error(self, error: dict[str, str], request: Request) -> BaseError:
        path = error.get("Key", "").removeprefix(self._keys.strip)
        return of_document(request, Context(self._store, "delete", path), error["Code"], error.get("Message", ""))


def encryption_headers(settings: S3Settings) -> list[tuple[str, str]]:
    """How the server is to encrypt, with keys of its own."""
    headers: list[tuple[str, str]] = []
    if settings.server_side_encryption and settings.server_side_encryption != "sse-c":
        headers.append(("x-amz-server-side-encryption", settings.server_side_encryption))
    if settings.sse_kms_key_id:
        headers.append(("x-amz-server-side-encryption-aws-kms-key-id", settings.sse_kms_key_id))
    if settings.sse_bucket_key_enabled is not None:
        enabled = "true" if settings.sse_bucket_key_enabled else "false"
        headers.append(("x-amz-server-side-encryption-bucket-key-enabled", enabled))
    return headers


def _version(version: str | None) -> str:
    return "versionId=" + quote(version, safe="") if version is not None else ""


def _delete_xml(keys: Sequence[str]) -> str:
    rows = "".join(f"<Object><Key>{xml_text(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{rows}</Delete>"
