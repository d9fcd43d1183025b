"""A directory bucket, as the Amazon S3 API reference has it, for the fault server to play: no server of the suite has
them.

It refuses what AWS's would: a signature that is not botocore's, a session's keys for a copy, the caller's for anything
else, a session that is over, tags, `start-after`. Its ETags are no digests.
"""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.auth import S3ExpressAuth, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.faults import Object, Request, Response, Upload

BUCKET = "data--use1-az4--x-s3"
BASE = ("BASE", "base-secret")
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/us-east-1/s3express/aws4_request, "
    r"SignedHeaders=(\S+), Signature=([0-9a-f]{64})"
)


def session(key: str, lifetime_s: float = 300) -> Response:
    """The answer to CreateSession."""
    expires = (datetime.now(timezone.utc) + timedelta(seconds=lifetime_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Response.xml(
        f"<CreateSessionResult><Credentials><SessionToken>token-{key}</SessionToken>"
        f"<SecretAccessKey>secret-{key}</SecretAccessKey><AccessKeyId>{key}</AccessKeyId>"
        f"<Expiration>{expires}</Expiration></Credentials></CreateSessionResult>"
    )


def signed_by(request: Request) -> str | None:
    """Whose keys botocore would have made this signature with: `"BASE"` or a session's; None when it is not right."""
    found = _AUTHORIZATION.fullmatch(request.header("authorization") or "")
    if found is None:
        return None
    who, _, names, signature = found.groups()
    is_session = who != BASE[0]
    credentials = Credentials(who, f"secret-{who}" if is_session else BASE[1], f"token-{who}" if is_session else None)
    signed = {name: request.header(name) or "" for name in names.split(";")}
    asked: Any = AWSRequest(request.method, f"http://{signed['host']}{request.target}", signed, request.body)
    asked.context["timestamp"] = signed["x-amz-date"]
    auth: Any = (
        S3ExpressAuth(credentials, "s3express", "us-east-1", identity_cache=None)
        if is_session
        else S3SigV4Auth(credentials, "s3express", "us-east-1")
    )
    right = auth.signature(auth.string_to_sign(asked, auth.canonical_request(asked)), asked) == signature
    unsigned = {name.lower() for name, _ in request.headers if name.lower().startswith("x-amz-")} - signed.keys()
    content = signed["x-amz-content-sha256"] in ("UNSIGNED-PAYLOAD", hashlib.sha256(request.body).hexdigest())
    return who if right and content and not unsigned else None


class _Object(Object):
    @property
    def current_etag(self) -> str:
        return f'"{hashlib.sha256(self.data or b"").hexdigest()[:20]}"'


class _Key(Upload):
    def _complete(self, upload: str) -> Response:
        numbers = sorted(self.parts[upload])
        if numbers != list(range(1, len(numbers) + 1)):
            return Response.error(400, "InvalidPart")
        super()._complete(upload)
        return Response.xml(
            f"<CompleteMultipartUploadResult><ETag>{self.object.current_etag}</ETag></CompleteMultipartUploadResult>"
        )


@dataclass
class DirectoryBucket:
    """A step for every path of the bucket. Counts the sessions it gives: `KEY1`, `KEY2` ..."""

    lifetime_s: float = 300
    sessions: int = 0
    over: set[str] = field(default_factory=set[str])
    """Sessions that are refused as expired."""
    large: dict[str, int] = field(default_factory=dict[str, int])
    """Keys of objects that nobody reads, and their sizes."""
    keys: dict[str, _Key] = field(default_factory=dict[str, _Key])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def key(self, name: str) -> _Key:
        """What is at a key."""
        return self.keys.setdefault(name, _Key(_Object(b"" if name in self.large else None)))

    def __call__(self, request: Request) -> Response:
        """Answer as S3 would."""
        who = signed_by(request)
        if who is None:
            return Response.error(403, "SignatureDoesNotMatch")
        if "session" in request.query:
            return self._create_session(request, who)
        return self._refused(request, who) or self._answer(request)

    def _refused(self, request: Request, who: str) -> Response | None:
        if (who == BASE[0]) != (request.header("x-amz-copy-source") is not None):
            return Response.error(403, "AccessDenied", f"{who} may not do this")
        token = request.header("x-amz-s3session-token")
        if token != (None if who == BASE[0] else f"token-{who}") or request.header("x-amz-security-token"):
            return Response.error(400, "InvalidToken")
        if who in self.over:
            return Response.error(400, "ExpiredToken")
        if request.header("x-amz-tagging") or "tagging" in request.query or "start-after" in request.query:
            return Response.error(501, "NotImplemented")
        return None

    def _create_session(self, request: Request, who: str) -> Response:
        if who != BASE[0] or request.header("x-amz-create-session-mode") != "ReadWrite":
            return Response.error(403, "AccessDenied")
        with self._lock:
            self.sessions += 1
        return session(f"KEY{self.sessions}", self.lifetime_s)

    def _answer(self, request: Request) -> Response:
        name = request.path.removeprefix(f"/{BUCKET}/")
        source = (request.header("x-amz-copy-source") or "").removeprefix(f"/{BUCKET}/")
        if source:
            return self._copy(request, source, name)
        if name in self.large and request.method == "HEAD":
            headers = self.key(name)(request).headers
            return Response(headers=(*headers, ("Content-Length", str(self.large[name]))), framing="none")
        return self.key(name)(request)

    def _copy(self, request: Request, source: str, name: str) -> Response:
        upload = request.query.get("uploadId")
        if upload is not None:
            self.key(name).parts[upload][int(request.query["partNumber"])] = b"-"
            return Response.xml("<CopyPartResult><ETag>&quot;part&quot;</ETag></CopyPartResult>")
        if source in self.large:
            return Response.error(400, "InvalidRequest")
        self.key(name).object.replace(self.key(source).object.data)
        etag = self.key(name).object.current_etag
        return Response.xml(f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>")
