"""What operations ask of a provider. Methods that return a `Request` only make it; the plan submits it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cumulo._digests import sha256
from cumulo._records import field, record

if TYPE_CHECKING:
    from cumulo._native import Columns, Request
    from cumulo._operations.get import Wanted
    from cumulo._types import Attributes, ObjectMeta, PutResult
    from cumulo.exceptions import BaseError

    from .s3_bulk import S3Bulk


Rows: TypeAlias = "list[ObjectMeta] | Columns"


@record
class Listing:
    """One page of a listing."""

    objects: Rows
    common_prefixes: list[str]
    token: Any


@record
class PutPlan:
    """What goes with an object's content."""

    attributes: Attributes = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    create: bool = False
    if_match: str | None = None
    if_version: str | None = None

    @property
    def conditional(self) -> bool:
        """Whether what is there decides if this may be written."""
        return self.create or self.if_match is not None or self.if_version is not None


FilePart: TypeAlias = "tuple[Any, int, int]"
"""(file, offset, length)"""


class Objects(Protocol):
    """Requests for whole objects and parts of them: all that stores without uploads in parts have."""

    @property
    def bulk(self) -> S3Bulk | None:
        """What can carry out large transfers in the engine's place."""
        ...

    @property
    def bulk_delete_keys(self) -> int:
        """How many keys one request deletes; 0 when each key is a request of its own."""
        ...

    @property
    def redirected(self) -> bool:
        """Whether requests go to where a redirect has led: a place that may be valid for a while only."""
        ...

    checksum_algorithm: str | None
    """Which checksum goes with what is uploaded, if any."""

    accept_ranges: str
    """What a response without an Accept-Ranges header is taken to say there: "bytes" or "none"."""

    def get(self, path: str, wanted: Wanted) -> Request: ...
    def get_part(
        self, path: str, version: str | None, etag: str, span: tuple[int, int], *, digest: str | None, sink: str
    ) -> Request:
        """Bytes `span` of an object that must still have this ETag; `digest` names the checksum to keep of them."""
        ...

    def get_span(self, path: str, start: int, end: int) -> Request: ...
    def head(self, path: str, wanted: Wanted) -> Request: ...
    def meta(self, path: str, request: Request) -> ObjectMeta: ...
    def attributes(self, request: Request) -> Attributes: ...
    def probe(self, path: str) -> Request:
        """A HEAD for `age_s`, `is_stored_as`, `is_copy_of` and `is_completed_as`."""
        ...

    def age_s(self, head: Request) -> float | None:
        """How long ago the object was written, by the server's own clock; None where it does not say."""
        ...

    def is_stored_as(self, head: Request, size: int, md5: str, checksum: str | None) -> bool:
        """Whether the object is proven to hold this content. Content of no bytes proves nothing."""
        ...

    def put(
        self, path: str, plan: PutPlan, *, body: Any = None, file: FilePart | None = None, checksum: str | None = None
    ) -> Request: ...
    def put_result(self, request: Request) -> PutResult: ...
    def delete(self, path: str, version: str | None = None) -> Request: ...
    def can_bulk_delete(self, path: str) -> bool: ...
    def bulk_delete(self, paths: Sequence[str]) -> Request: ...
    def bulk_deleted(self, request: Request) -> tuple[Sequence[str], Sequence[BaseError]]:
        """What the server was too busy for, for single deletes; and an error for each that could not be deleted."""
        ...


class Provider(Objects, Protocol):
    """One store's requests."""

    def as_listed(self) -> Provider: ...

    conditional_uploads: bool
    """Whether an upload in parts may depend on a condition."""
    lists_from_offset: bool
    """Whether the server leaves out all that is not behind a listing's offset."""
    lists_in_order: bool
    """Whether listings are in the order of UTF-8 and may begin anywhere: they can be split then."""

    min_part_bytes: int
    max_part_bytes: int
    max_parts: int
    max_put_bytes: int

    def is_copy_of(self, head: Request, source: Request) -> bool:
        """Whether the object is proven to have the content of another."""
        ...

    def create_upload(self, path: str, plan: PutPlan) -> Request | str:
        """The request that creates an upload; or its id, where there is nothing to create and so none to abort."""
        ...

    def upload_id(self, request: Request) -> str: ...
    def put_part(
        self, path: str, upload_id: str, number: int, *, body: Any = None, file: FilePart | None = None,
        checksum: str | None = None,
    ) -> Request: ...  # fmt: skip
    def part_of(self, request: Request, number: int) -> Any:
        """What `complete_upload` needs to know of an uploaded part."""
        ...

    def complete_upload(self, path: str, upload_id: str, parts: Sequence[Any], plan: PutPlan) -> Request: ...
    def completed(self, request: Request) -> PutResult: ...
    def is_completed_as(self, head: Request, parts: Sequence[Any]) -> bool:
        """Whether the object that a HEAD found is the one these parts make."""
        ...

    aborts_uploads: bool
    """Whether an upload is something that can be aborted."""

    def abort_upload(self, path: str, upload_id: str) -> Request: ...

    def upload_mark(self, plan: PutPlan) -> str:
        """Differs when uploads would be created differently: attributes, tags, encryption, checksums. No secrets."""
        ...

    def list_parts(self, path: str, upload_id: str, marker: str | None) -> Request:
        """The parts of an upload that the server has, those behind `marker`."""
        ...

    def parts_listed(self, request: Request, upload_id: str) -> tuple[dict[int, tuple[str | None, int]], str | None]:
        """ETag (where parts have one) and size in bytes by number, and the marker of the next page."""
        ...

    def part_facts(self, part: Any) -> tuple[str | None, str | None]:
        """ETag and checksum of what `part_of` made, where it has them."""
        ...

    def part_again(self, number: int, etag: str | None, checksum: str | None, length: int) -> Any:
        """What `part_of` made, from its facts."""
        ...

    def list(
        self, prefix: str, *, token: str | None, offset: str | None, delimiter: bool, page_size: int | None = None
    ) -> Request:
        """A page of at most `page_size` objects, or as many as the server likes."""
        ...

    def listing(self, request: Request, *, columns: bool = False) -> Listing:
        """The page that was answered; with `Columns` in place of dicts where these are wanted."""
        ...

    def has_tags(self, head: Request) -> bool: ...
    def get_tags(self, path: str) -> Request: ...
    def tags(self, request: Request) -> dict[str, str]: ...

    def copying_from(self, origin: Provider) -> Provider | None:
        """This provider with another's paths as the sources of its copies; None where the server can't copy from there
        as who we are.
        """
        ...


class VersionProvider(Provider, Protocol):
    """A provider that keeps versions."""

    def list_versions(self, prefix: str, token: Any) -> Request: ...
    def versions(self, request: Request) -> Listing:
        """The page that was answered, of `ObjectVersion`s; its token is the next page's, of whatever type."""
        ...


class CopyProvider(Provider, Protocol):
    """A provider whose copies are done when it answers, or made of parts."""

    def copy(self, source: str, target: str) -> Request: ...
    def copy_if_absent(self, source: str, target: str, header: tuple[str, str]) -> Request: ...
    def check_copied(self, request: Request) -> Request | None:
        """Raises if there is no copy. What goes on with it, when it is not done yet."""
        ...

    def copy_part(
        self, source: str, target: str, upload_id: str, number: int, span: tuple[int, int], etag: str | None
    ) -> Request:
        """Bytes `span` of the source as a part; of a source with this ETag only, where one is given."""
        ...


def mark_of(headers: Iterable[tuple[str, str]], algorithm: str | None) -> str:
    """A digest for `Provider.upload_mark`."""
    return sha256(repr((sorted(headers), algorithm)).encode())


def joined(headers: Iterable[tuple[str, str]], *more: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers one after the other."""
    result = list(headers)
    for group in more:
        result.extend(group)
    return result
