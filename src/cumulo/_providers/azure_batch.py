"""Azure's batches: many deletes in one request (Blob Batch), each with an authorization of its own.

Source of the rules: Azure Storage REST reference, "Blob Batch" and "Authorize with Shared Key".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from secrets import token_hex
from typing import TYPE_CHECKING, Literal, NamedTuple

from cumulo._errors import xml_field
from cumulo.exceptions import GenericError

if TYPE_CHECKING:
    from cumulo._native import Request

MOST_IN_BATCH = 256
_SNAPSHOTS = "x-ms-delete-snapshots:include\n"


class Signer(NamedTuple):
    """Who sends a request, as of now."""

    kind: Literal["key", "sas", "bearer", "none"]
    account: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"<Signer {self.kind}>"


class Answer(NamedTuple):
    """What has become of one of a batch."""

    status: int
    code: str
    message: str


def batch_of(targets: Sequence[str], signer: Signer) -> tuple[str, bytes]:
    """The Content-Type and the body of a request that deletes all these, given as percent-encoded request paths."""
    boundary = f"batch_{token_hex(16)}"
    now = formatdate(usegmt=True)
    key = base64.b64decode(signer.secret) if signer.kind == "key" else b""
    parts: list[str] = []
    for number, target in enumerate(targets):
        query = "?" + signer.secret if signer.kind == "sas" else ""
        headers = [f"DELETE {target}{query} HTTP/1.1", "x-ms-delete-snapshots: include", f"x-ms-date: {now}"]
        if signer.kind == "key":
            text = f"DELETE\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{now}\n{_SNAPSHOTS}/{signer.account}{target}"
            digest = base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()
            headers.append(f"Authorization: SharedKey {signer.account}:{digest}")
        elif signer.kind == "bearer":
            headers.append(f"Authorization: Bearer {signer.secret}")
        parts.append(
            f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
            f"Content-ID: {number}\r\n\r\n" + "\r\n".join([*headers, "Content-Length: 0", "", ""])
        )
    body = "\r\n".join(parts) + f"\r\n--{boundary}--\r\n"
    return f"multipart/mixed; boundary={boundary}", body.encode()


def answers_of(request: Request, paths: Sequence[str]) -> Iterator[tuple[str, Answer]]:
    """What has become of each path. Raises if the server has not answered for every one."""
    body = request.take_body().to_bytes()
    found: dict[int, Answer] = {}
    boundary = re.search(r'boundary="?([^";]+)', request.response[1].get("content-type", ""))
    for part in body.split(b"--" + boundary.group(1).encode()) if boundary else []:
        status = re.search(rb"\r?\nHTTP/1\.\d (\d{3})", part)
        number = re.search(rb"(?im)^content-id: *(\d+)", part)
        if status is None:
            continue
        at = int(number.group(1)) if number else len(found)
        code = re.search(rb"(?im)^x-ms-error-code: *([^\r\n]*)", part)
        told = code.group(1).decode("utf-8", "replace") if code else xml_field(part, "Code") or ""
        found[at] = Answer(int(status.group(1)), told, xml_field(part, "Message") or "")
    if len(found) == 1 and found.get(0, Answer(0, "", "")).status >= 300:  # the batch as a whole was refused
        found = dict.fromkeys(range(len(paths)), found[0])
    if set(found) != set(range(len(paths))):
        store = repr(request.context.store)
        raise GenericError(
            f"delete of {len(paths)} paths in {store}: the server's answer speaks of {len(found)} of them",
            operation="delete", store=store, status=request.response[0], attempts=request.attempts,
        )  # fmt: skip
    for number, path in enumerate(paths):
        yield path, found[number]
