"""What S3's REST API and Google Cloud Storage's XML API have in common: one dialect, with other names for some headers.

Paths are percent-encoded exactly once; header values are checked before they get here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cumulo._errors import Context, of_document
from cumulo._native import Client, ListError, Request, encode_path, parse_list_page, xml_fields
from cumulo._records import record
from cumulo.exceptions import BaseError, GenericError

from .base import Listing, PutPlan, mark_of
from .headers import age_s, object_meta

if TYPE_CHECKING:
    from typing_extensions import Self

    from cumulo._keys import Keys
    from cumulo._types import Attributes, ObjectMeta, PutResult

MIB = 1024 * 1024
ATTRIBUTES = {
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
}
"""Headers that are attributes of an object, and what they are called there."""
_XML_REFERENCES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"), ("\n", "&#10;"), ("\t", "&#9;"))


@record(frozen=True)
class Part:
    """An uploaded part."""

    number: int
    etag: str
    checksum: str | None


class XmlProvider:
    """The requests that are alike. `_plain_get` goes with every read of an object, `_payer` with what else is asked."""

    min_part_bytes = 5 * MIB
    max_part_bytes = 5 * 1024 * MIB
    max_parts = 10_000
    accept_ranges = "bytes"
    redirected = False
    lists_from_offset = True
    lists_in_order = True
    conditional_uploads = True
    aborts_uploads = True

    checksum_algorithm: str | None
    version_header: str
    class_header: str
    """The storage class's."""
    meta_prefix: str
    """What stands before the names of a user's own attributes."""

    def __init__(self, store: Any, client: Client, keys: Keys, default_type: str | None) -> None:
        self._store = store
        self._client = client
        self._keys = keys
        self._default_type = default_type
        self._base = client.base
        self._plain_get: list[tuple[str, str]] = []
        self._payer: list[tuple[str, str]] = []

    def _attribute_headers(self, plan: PutPlan) -> list[tuple[str, str]]:
        headers: list[tuple[str, str]] = []
        names = {name.lower() for name in plan.attributes}
        if self._default_type and "content-type" not in names:
            headers.append(("Content-Type", self._default_type))
        for name, value in plan.attributes.items():
            plain = name.lower()
            if plain == "storage-class":
                plain = self.class_header
            elif plain not in ATTRIBUTES:
                plain = self.meta_prefix + plain
            headers.append((plain, value))
        return headers

    def as_listed(self) -> Self:
        """The same, for paths as a listing gives them: slashes at their ends belong to the keys."""
        view = copy(self)
        view._keys = self._keys.as_listed()
        return view

    # -- making requests

    def _path(self, path: str, query: str = "") -> bytes:
        encoded = encode_path(self._base, self._keys.key(path))
        return encoded + b"?" + query.encode() if query else encoded

    def _request(self, operation: str, method: str, path: str, query: str = "", *, create: bool = False,
                 client: Client | None = None, **options: Any) -> Request:  # fmt: skip
        context = Context(self._store, operation, path, create)
        return Request(client or self._client, method, self._path(path, query), context=context, **options)

    def get_span(self, path: str, start: int, end: int) -> Request:
        return self._request("get_range", "GET", path, headers=self._plain_get, range=("bounded", start, end),
                             sink="buffer")  # fmt: skip

    def abort_upload(self, path: str, upload_id: str) -> Request:
        return self._request(
            "put", "DELETE", path, f"uploadId={quote(upload_id, safe='')}", headers=self._payer, clean_up=True
        )

    def list_parts(self, path: str, upload_id: str, marker: str | None) -> Request:
        query = f"part-number-marker={quote(marker, safe='')}&" if marker is not None else ""
        headers = list(dict.fromkeys([*self._plain_get, *self._payer]))
        return self._request("put", "GET", path, f"{query}uploadId={quote(upload_id, safe='')}", headers=headers)

    def list(
        self, prefix: str, *, token: str | None, offset: str | None, delimiter: bool, page_size: int | None = None
    ) -> Request:
        query = ["list-type=2", "encoding-type=url"]
        if page_size is not None:
            query.append(f"max-keys={page_size}")
        if token is not None:
            query.append("continuation-token=" + quote(token, safe=""))
        if delimiter:
            query.append("delimiter=%2F")
        if prefix:
            query.append("prefix=" + quote(prefix, safe=""))
        if offset is not None and token is None and self.lists_from_offset:
            query.append("start-after=" + quote(offset, safe=""))
        return self._bucket_request("list", "GET", prefix, "&".join(sorted(query)), headers=self._payer)

    def _bucket_request(self, operation: str, method: str, about: str, query: str, **options: Any) -> Request:
        path = self._base if self._base == b"/" else self._base.removesuffix(b"/")
        context = Context(self._store, operation, about)
        return Request(self._client, method, path + b"?" + query.encode(), context=context, **options)

    # -- reading responses

    def meta(self, path: str, request: Request) -> ObjectMeta:
        plain = path if self._keys.raw else path.removeprefix("/").removesuffix("/")
        return object_meta(plain, request, self.version_header)

    def attributes(self, request: Request) -> Attributes:
        found: Attributes = {}
        for name, value in request.response[1].items():
            if name in ATTRIBUTES:
                found[ATTRIBUTES[name]] = value
            elif name == self.class_header:
                found["Storage-Class"] = value
            elif name.startswith(self.meta_prefix):
                found[name.removeprefix(self.meta_prefix)] = value
        return found

    def put_result(self, request: Request) -> PutResult:
        headers = request.response[1]
        return {"e_tag": headers.get("etag"), "version": headers.get(self.version_header)}

    def upload_id(self, request: Request) -> str:
        upload_id = dict(self._fields(request)).get("InitiateMultipartUploadResult/UploadId")
        if not upload_id:
            raise self._bad_answer(request, "an upload id")
        return upload_id

    def _object_headers(self, plan: PutPlan) -> list[tuple[str, str]]:
        raise NotImplementedError

    def upload_mark(self, plan: PutPlan) -> str:
        return mark_of(self._object_headers(plan), self.checksum_algorithm)

    def parts_listed(self, request: Request, upload_id: str) -> tuple[dict[int, tuple[str | None, int]], str | None]:
        # Without the root's name: servers differ in that.
        fields = [(name.partition("/")[2], text) for name, text in self._fields(request)]
        columns = [
            [text for name, text in fields if name == f"Part/{field}"] for field in ("PartNumber", "ETag", "Size")
        ]
        try:
            parts = {int(n): (etag, int(size)) for n, etag, size in zip(*columns, strict=True)}
        except ValueError as error:
            raise self._bad_answer(request, f"readable parts ({error})") from error
        more = dict(fields).get("IsTruncated", "false").lower() == "true" and bool(parts)
        return {**parts}, str(max(parts)) if more else None

    def part_facts(self, part: Part) -> tuple[str | None, str | None]:
        return part.etag, part.checksum

    def part_again(self, number: int, etag: str | None, checksum: str | None, length: int) -> Part:
        return Part(number, etag or "", checksum)

    def completed(self, request: Request) -> PutResult:
        etag = dict(self._fields(request)).get("CompleteMultipartUploadResult/ETag")
        if not etag:
            raise self._bad_answer(request, "an ETag")
        return {"e_tag": etag, "version": request.response[1].get(self.version_header)}

    def age_s(self, head: Request) -> float | None:
        return age_s(head)

    def _fields(self, request: Request, limit_bytes: int = 1 << 20) -> list[tuple[str, str]]:
        """The fields of a small document. An error, or what is no XML, in a 200 is raised."""
        body = request.take_body()
        try:
            fields = xml_fields(body, limit_bytes)
        except ValueError as error:
            raise self._bad_answer(request, f"a readable body ({error})") from error
        found = dict(fields)
        if "Error/Code" in found:
            raise of_document(request, request.context, found["Error/Code"], found.get("Error/Message", ""))
        return fields

    def listing(self, request: Request, *, columns: bool = False) -> Listing:
        body = request.take_body()
        try:
            objects, prefixes, token, truncated, _, _ = parse_list_page(body, self._keys.strip, True, columns)
        except ValueError as error:
            raise self._bad_page(request, error) from error
        if not self._keys.raw:
            prefixes = [prefix.removesuffix("/") for prefix in prefixes]
        return Listing(objects, prefixes, token if truncated else None)

    def _bad_page(self, request: Request, error: ValueError) -> BaseError:
        if isinstance(error, ListError) and error.code:
            return of_document(request, request.context, error.code, error.message or "")
        return self._bad_answer(request, f"a readable page ({error})")

    def _bad_answer(self, request: Request, what: str) -> GenericError:
        context: Context = request.context
        return GenericError(
            f"{context.operation} {context.path!r} in {self._store!r}: the server's answer lacks {what}",
            operation=context.operation, store=repr(self._store), path=context.path, status=request.response[0],
            attempts=request.attempts,
        )  # fmt: skip


def xml_text(text: str) -> str:
    """Text as it stands in a document."""
    # White space that an XML parser would normalize goes as references.
    for char, reference in _XML_REFERENCES:
        text = text.replace(char, reference)
    return text


def complete_xml(parts: Sequence[Part], algorithm: str | None) -> str:
    """The body of CompleteMultipartUpload; `algorithm` names the checksum of the parts, if it is to be in it."""
    rows: list[str] = []
    for part in parts:
        extra = f"<Checksum{algorithm}>{part.checksum}</Checksum{algorithm}>" if algorithm and part.checksum else ""
        rows.append(f"<Part><PartNumber>{part.number}</PartNumber><ETag>{xml_text(part.etag)}</ETag>{extra}</Part>")
    return f"<CompleteMultipartUpload>{''.join(rows)}</CompleteMultipartUpload>"
