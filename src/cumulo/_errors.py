"""Failed requests as exceptions: one table from what the engine reports to what users catch.

The native core calls `of_request` for every failed request; nothing else makes exceptions from responses.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from . import exceptions as e

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._config.http import HTTPTarget
    from ._drivers.effects import Plan
    from ._native import Bytes, Request
    from ._redirected import Redirected

ERROR_TEXT_LENGTH = 300


class Context(NamedTuple):
    """What a request is for. `create` makes 412 an `AlreadyExistsError`."""

    store: Any
    operation: str
    path: str
    create: bool = False
    target: HTTPTarget | None = None
    """Where the request goes, of stores that go to more places than one."""
    redo: Callable[[Redirected], Plan[Any]] | None = None
    """The same call once more, after a redirect; for a request that no plan waits for."""


_BY_ENGINE: dict[str, tuple[type[e.BaseError], str]] = {
    "connect": (e.ConnectionFailedError, "cannot connect to {host}; is the endpoint right and the server up?"),
    "dns": (
        e.ConnectionFailedError,
        "the host name of {host} does not resolve; check {named_by}, and this machine's network",
    ),
    "tls": (e.ConnectionFailedError, "no trusted TLS connection to {host}; see root_certificate and allow_http"),
    "proxy": (e.ConnectionFailedError, "the proxy refused the connection to {host}"),
    "connect_timeout": (e.RequestTimeoutError, "no connection to {host} within connect_timeout"),
    "stall_timeout": (e.RequestTimeoutError, "no byte moved for read_timeout"),
    "total_timeout": (
        e.RequestTimeoutError,
        "not done within timeout; it bounds the whole request, see client_options",
    ),
    "reset": (e.ConnectionFailedError, "the connection to {host} was closed before the response"),
    "truncated": (e.ConnectionFailedError, "the response ended before its announced length"),
    "protocol": (e.GenericError, "the answer of {host} is not valid HTTP/1.1"),
    "no_length": (e.GenericError, "the response has neither Content-Length nor chunked coding: its end can't be known"),
    "wrong_range": (e.GenericError, "the server answered with other bytes than those asked for"),
    "behind_end": (e.RangeNotSatisfiableError, "the range begins where the object has ended"),
    "too_large": (e.GenericError, "the response is larger than what was asked for"),
    "changed": (e.ObjectChangedError, "the object was replaced while it was read"),
    "checksum": (e.ChecksumError, "the body does not match the checksum sent with it, twice in a row"),
    "credentials": (e.UnauthenticatedError, "no credentials"),
    "body_read": (e.GenericError, "the upload's source could not be read, or is shorter than when the upload began"),
    "resources": (e.ConnectionFailedError, "out of file descriptors or memory (see `ulimit -n`)"),
    "shutdown": (e.GenericError, "the interpreter is exiting"),
    "forked": (e.ForkedError, "the request belongs to the parent process, from before the fork"),
    "cancelled": (e.GenericError, "cancelled"),
    "internal": (e.GenericError, "internal error"),
}

_SEE_PROXY = "check proxy_url, or HTTPS_PROXY and its like in the environment"
_OF_PROXY: dict[str, str] = {
    "connect": "cannot connect to the proxy {proxy} on the way to {host}; " + _SEE_PROXY,
    "dns": "the host name of the proxy {proxy} does not resolve; " + _SEE_PROXY,
    "connect_timeout": "no connection to {host} by the proxy {proxy} within connect_timeout",
}

_BY_STATUS: dict[int, type[e.BaseError]] = {
    301: e.GenericError,
    304: e.NotModifiedError,
    401: e.UnauthenticatedError,
    403: e.PermissionDeniedError,
    404: e.NotFoundError,
    408: e.RequestTimeoutError,
    410: e.NotFoundError,
    412: e.PreconditionError,
    416: e.RangeNotSatisfiableError,
    429: e.ThrottledError,
    501: e.NotSupportedError,
}

# What HTTP (RFC 9110) and WebDAV (RFC 4918) add, where there is no code that says more.
_HTTP_BY_STATUS: dict[int, type[e.BaseError]] = {
    405: e.NotSupportedError,
    407: e.PermissionDeniedError,
    423: e.PermissionDeniedError,
    428: e.PreconditionError,
}

_BY_CODE: dict[str, type[e.BaseError]] = {
    "AuthenticationRequired": e.UnauthenticatedError,
    "AccessDenied": e.PermissionDeniedError,
    "ExpiredToken": e.UnauthenticatedError,
    "InternalError": e.ServerError,
    "InvalidAccessKeyId": e.UnauthenticatedError,
    "InvalidToken": e.UnauthenticatedError,
    "NoSuchBucket": e.NotFoundError,
    "NoSuchKey": e.NotFoundError,
    "NoSuchUpload": e.NotFoundError,
    "NoSuchVersion": e.NotFoundError,
    "NotImplemented": e.NotSupportedError,
    "PreconditionFailed": e.PreconditionError,
    "RequestTimeout": e.RequestTimeoutError,
    "RequestTimeTooSkewed": e.UnauthenticatedError,
    "ServiceUnavailable": e.ServerError,
    "SignatureDoesNotMatch": e.UnauthenticatedError,
    "SlowDown": e.ThrottledError,
    "Throttling": e.ThrottledError,
}

# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and common-rest-api-error-codes
_AZURE_BY_CODE: dict[str, type[e.BaseError]] = {
    "AccountIsDisabled": e.PermissionDeniedError,
    "AuthenticationFailed": e.UnauthenticatedError,
    "BlobAlreadyExists": e.AlreadyExistsError,
    "BlobNotFound": e.NotFoundError,
    "ContainerNotFound": e.NotFoundError,
    "Crc64Mismatch": e.ChecksumError,
    "FeatureNotYetSupportedForHierarchicalNamespaceAccounts": e.NotSupportedError,
    "InternalError": e.ServerError,
    "InvalidAuthenticationInfo": e.UnauthenticatedError,
    "InvalidRange": e.RangeNotSatisfiableError,
    "Md5Mismatch": e.ChecksumError,
    "NoAuthenticationInformation": e.UnauthenticatedError,
    "OperationTimedOut": e.ServerError,
    "ServerBusy": e.ThrottledError,
}

_S3_HINTS: dict[str, str] = {
    "AccessDenied": "the credentials may not do this, or there is no such object and they may not list",
    "ExpiredToken": "get new credentials",
    "InvalidToken": "check the session token and the endpoint",
    "NoSuchBucket": "check the bucket's name and the endpoint",
    "RequestTimeTooSkewed": "set this machine's clock",
    "SignatureDoesNotMatch": "check the secret access key and the region",
    "InvalidAccessKeyId": "check the access key id and the endpoint",
    "PermanentRedirect": "check the region and the endpoint: the bucket is at another",
    "AuthorizationHeaderMalformed": "check the region and the access key id",
}

# https://cloud.google.com/storage/docs/xml-api/reference-status, and the reasons of the JSON API: deletes and copies
_NEEDS_ROLE = "the account needs a role such as 'Storage Object Viewer' or 'Storage Object User'"
_NOT_KNOWN = "check the token, and until when it is good"
_GCS_HINTS: dict[str, str] = {
    "AccessDenied": _NEEDS_ROLE,
    "forbidden": _NEEDS_ROLE,
    "AuthenticationRequired": _NOT_KNOWN,
    "authError": _NOT_KNOWN,
    "NoSuchBucket": "check the bucket's name",
    "UserProjectMissing": "the bucket's requesters pay: give user_project, the project to bill",
}

_AZURE_HINTS: dict[str, str] = {
    "AuthenticationFailed": "check the account key or SAS, until when it is good, and this machine's clock",
    "AuthorizationPermissionMismatch": (
        "the SAS does not allow this, or a role such as 'Storage Blob Data Reader' or 'Contributor' is missing"
    ),
    "BlobUsesCustomerSpecifiedEncryption": "give the encryption_key it was written with",
    "ContainerNotFound": "check the container's name and the account",
    "NoAuthenticationInformation": "the container is not public: give credentials",
    "PublicAccessNotPermitted": "the account is not public: give credentials",
    "SnapshotsPresent": "delete the blob's snapshots first",
}

# A store below a URL signs nothing. What has these codes is an object store, whose URLs are public or signed.
_HTTP_HINTS: dict[str, str] = {
    "AccessDenied": "not everybody may do this; if the URL is signed, check for which method, and until when",
    "AuthenticationFailed": "if the URL is signed, check for which method and path, and until when",
    "ExpiredToken": "the URL's signature is no longer good: get a new URL",
    "NoSuchBucket": "check the URL",
    "PermanentRedirect": "the URL has to name the host of the bucket's own region",
    "SignatureDoesNotMatch": "a signed URL is good for its own method, path and headers only",
}

_HINTS = {"s3": _S3_HINTS, "gcs": _GCS_HINTS, "azure": _AZURE_HINTS, "http": _HTTP_HINTS}

_MAY_MISS = frozenset(("copy", "get", "get_range", "get_ranges", "head", "rename"))
"""What has to find an object: S3 refuses it likewise where there is none, to those who may not list."""
_UNSIGNED = "requests are not signed (skip_signature), and not everybody may do this"
_UNSIGNED_CODES = frozenset(("AccessDenied", "AuthenticationRequired", "authError", "forbidden"))

# What a host's name comes from.
_NAMED_BY = {
    "s3": "the endpoint and region",
    "gcs": "base_url, where it is given",
    "azure": "account_name and the endpoint",
    "http": "the URL",
}

_FILE_HINTS: dict[int, str] = {
    errno.ENOSPC: "; make room on that disk, or name a file on another",
    errno.EDQUOT: "; make room in that quota, or name a file elsewhere",
    errno.EFBIG: "; the file system or a limit (`ulimit -f`) allows no file of that size",
    errno.EROFS: "; name a file on a disk that can be written",
    errno.ENOENT: "; make the folder first",
    errno.EISDIR: "; name a file in it",
    errno.EAGAIN: "; another download to it is under way",
    errno.EINVAL: "; what is there is no regular file",
    errno.EACCES: "; check the permissions of the folder",
}


def xml_field(body: bytes | Bytes, name: str) -> str | None:
    """The text of the first element of that name in an S3 error document."""
    from html import unescape  # here, since most programs never need it

    found = re.search(rb"<%b>([^<]*)</" % name.encode(), body)
    return unescape(found.group(1).decode("utf-8", "replace")).strip() if found else None


def json_error(body: bytes) -> tuple[str, str] | None:
    """(code, message) of an error document of Google's JSON APIs; None when this is none."""
    if not body.lstrip().startswith(b"{"):
        return None
    import json

    try:
        found: Any = json.loads(body)["error"]
        reasons: Any = found.get("errors") or [{}]
        return str(reasons[0].get("reason", "")), str(found.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _uncoded(headers: dict[str, str], body: bytes) -> bytes:
    """An error document is for reading, whatever coding was accepted for content."""
    if headers.get("content-encoding") != "gzip":
        return body
    import zlib

    try:
        return zlib.decompressobj(31).decompress(body, 1 << 16)
    except zlib.error:
        return body


def of_request(request: Request) -> e.BaseError:
    """The exception for a request that failed."""
    context: Context = request.context
    if request.error == "status":
        return _of_status(request, context)
    if request.error == "file":
        name = str(getattr(request.file, "name", request.file))
        return of_file(context, request.os_error, name, request.attempts)
    kind_of_error = request.error or "internal"
    kind, text = _BY_ENGINE[kind_of_error]
    message = _by_proxy(kind_of_error, context) or text.format(
        host=_host(context), named_by=_NAMED_BY[_speaks(context)]
    )
    if request.error == "credentials":
        reason = context.store._credentials_failure()
        message = f"no credentials: {reason}" if reason else message
    elif request.error == "changed":
        message = _what_changed(request)
    elif request.error == "wrong_range":
        message = f"{message}{_which_range(request)}"
    elif request.crt_error and request.error not in ("total_timeout", "stall_timeout"):
        message = f"{message}{_plain_or_tls(request, context)} ({request.crt_error})"
    error = kind(_told(context, message, request.attempts), **_details(context, request))
    if request.error == "changed" and request.failure[0][0] == 412:
        error.status = 412
    if request.error == "credentials":
        error.__cause__ = context.store._credentials_cause()
    return error


_native.set_error_factory(of_request)


def of_file(context: Context, reason: int, filename: str, attempts: int = 0) -> e.LocalFileError:
    """The exception for a target file that the system refused."""
    message = f"can't write {filename!r}: {os.strerror(reason)}{_FILE_HINTS.get(reason, '')}"
    details = {"operation": context.operation, "store": repr(context.store), "path": context.path}
    return e.LocalFileError(
        _told(context, message, attempts), errno=reason, filename=filename, attempts=attempts, **details
    )


def _of_status(request: Request, context: Context) -> e.BaseError:
    (status, headers, _, _), body = request.failure
    body = _uncoded(headers, body)
    code, text = json_error(body) or (xml_field(body, "Code"), xml_field(body, "Message"))
    code = code or headers.get("x-ms-error-code")
    kind = _kind(status, code, context)
    details = _details(context, request)
    details.update(status=status, code=code, body=body, request_id=_request_id(headers, body))
    told = _told(context, _status_message(context, status, code, text, headers, body), request.attempts)
    if status in (301, 302, 303, 307, 308) and "location" in headers and _is_http(context):
        from ._redirected import Redirected

        return Redirected(told, location=headers["location"], request=request, **details)
    return kind(told, **details)


def _speaks(context: Context) -> str:
    """Which provider's codes and words the store's answers have."""
    return getattr(context.store, "_speaks", "s3")


def _is_http(context: Context) -> bool:
    return _speaks(context) == "http"


def of_document(request: Request, context: Context, code: str, message: str, status: int | None = None) -> e.BaseError:
    """The exception for an error that came in the body of a 200, perhaps with a status of its own."""
    answered, headers, _, _ = request.response
    status = status or answered
    details = {**_details(context, request), "status": status, "code": code, "request_id": _request_id(headers, b"")}
    told = ": ".join(
        part for part in (code[:ERROR_TEXT_LENGTH], message[:ERROR_TEXT_LENGTH], _hint(code, context)) if part
    )
    return _kind(status, code, context)(_told(context, told, request.attempts), **details)


def _kind(status: int, code: str | None, context: Context) -> type[e.BaseError]:
    if context.create and (status == 412 or code in ("PreconditionFailed", "ConditionalRequestConflict")):
        return e.AlreadyExistsError
    by_code = _AZURE_BY_CODE if _speaks(context) == "azure" else _BY_CODE
    if code in by_code:
        return by_code[code]
    if status in _HTTP_BY_STATUS and _is_http(context):
        return _HTTP_BY_STATUS[status]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return e.ServerError if status >= 500 else e.GenericError


def _hint(code: str | None, context: Context) -> str | None:
    speaks = _speaks(context)
    settings = getattr(context.store, "_settings", None)
    if code in _UNSIGNED_CODES and getattr(settings, "skip_signature", False):
        return _UNSIGNED
    if code == "AccessDenied" and speaks == "s3" and context.operation not in _MAY_MISS:
        return "the credentials may not do this"
    return _HINTS[speaks].get(code or "")


def _is_silent(context: Context, status: int, code: str | None) -> bool:
    """Whether the answer has no reason because it is one to a HEAD, which has no body."""
    return code is None and status in (400, 403) and context.operation == "head" and _speaks(context) in ("s3", "gcs")


def _status_message(
    context: Context, status: int, code: str | None, text: str | None, headers: dict[str, str], body: bytes
) -> str:
    if text is None and body and headers.get("content-type", "").startswith("text/html"):
        title = xml_field(body, "title")
        text = f"a web page {repr(title) if title else 'without a title'}: is it of the store, or of a proxy?"
    elif text is None and body:
        text = " ".join(body[:ERROR_TEXT_LENGTH].decode("utf-8", "replace").split())
    parts = [f"HTTP {status}"]
    if code:
        parts.append(code[:ERROR_TEXT_LENGTH])
    if text:
        parts.append(text[:ERROR_TEXT_LENGTH])
    region = headers.get("x-amz-bucket-region") or xml_field(body, "Region")
    if region and status in (301, 307, 400) and region != _region(context):
        parts.append(f"the bucket is in region {region!r}")
    elif location := headers.get("location"):
        parts.append(f"redirected to {location.partition('?')[0]}, which is not followed")
    hint = _hint(code, context)
    if hint is None and _is_silent(context, status, code):
        hint = "the answer to a HEAD gives no reason; that to a get does"
    if hint:
        parts.append(hint)
    return ": ".join(parts)


def _told(context: Context, message: str, attempts: int) -> str:
    tries = f" (after {attempts} attempts)" if attempts > 1 else ""
    return f"{context.operation} {context.path!r} in {context.store!r}: {message}{tries}"


def _details(context: Context, request: Request) -> dict[str, Any]:
    return {
        "operation": context.operation,
        "store": repr(context.store),
        "path": context.path,
        "attempts": request.attempts,
    }


def _request_id(headers: dict[str, str], body: bytes) -> str | None:
    named = (headers.get(name) for name in ("x-amz-request-id", "x-ms-request-id", "x-guploader-uploadid"))
    return next(filter(None, named), None) or xml_field(body, "RequestId")


def _region(context: Context) -> str | None:
    """The region that the request was sent to, which an answer names as well when something else is wrong."""
    return getattr(getattr(context.store, "_endpoint", None), "region", None)


def _host(context: Context) -> str:
    if context.target is not None:
        return f"{context.target.host}:{context.target.port}"
    return str(getattr(context.store, "_host", "the server"))


def _plain_or_tls(request: Request, context: Context) -> str:
    """What to look at where a connection is closed before anything is said on it."""
    crt_error = str(request.crt_error)
    if request.error == "tls" and crt_error.startswith("AWS_IO_SOCKET_CLOSED"):
        return "; it closed the connection in place of a handshake: is it a port without TLS?"
    place = context.target or getattr(context.store, "_endpoint", None)
    if request.error == "reset" and getattr(place, "scheme", "https") == "http":
        return "; if it is a port with TLS, its URL begins with https://"
    return ""


def _by_proxy(error: str, context: Context) -> str | None:
    """What to look at where it is a proxy that is connected to, and can't be."""
    text = _OF_PROXY.get(error)
    place = context.target or getattr(context.store, "_endpoint", None)
    settings = getattr(context.store, "_client_settings", None)
    if text is None or place is None or settings is None:
        return None
    from ._config import proxy_for

    proxy = proxy_for(place.scheme, place.host, place.port, settings)
    return text.format(proxy=f"{proxy.host}:{proxy.port}", host=_host(context)) if proxy is not None else None


def _which_range(request: Request) -> str:
    status, headers, _, _ = request.failure[0]
    span = headers.get("content-range", "none")[:ERROR_TEXT_LENGTH]
    return f" (HTTP {status}, Content-Range: {span}); does the server, or a proxy before it, know ranges?"


def _what_changed(request: Request) -> str:
    was, now = request.response, request.failure[0]
    before, after = was[1].get("etag"), now[1].get("etag")
    if before is not None and (now[0] == 412 or after not in (None, before)):  # who refuses need not say what there is
        return f"the object was replaced while it was read: its ETag was {before}, now {after or 'another'}"
    return f"the object was replaced while it was read: its size was {_size(was)}, and is {_size(now)} now"


def _size(response: tuple[int, dict[str, str], int | None, tuple[int, int, int] | None]) -> str:
    _, _, length, found = response
    size = found[2] if found is not None else length
    return "unknown" if size is None else f"{size} bytes"
