"""Sessions of S3 Express directory buckets: keys for five minutes, made with the caller's own.

Source: Amazon S3 API reference, CreateSession. Requests to a directory bucket are signed with the session's keys and
carry its token in `x-amz-s3session-token`, but for copies (CopyObject, UploadPartCopy): those are signed with the
caller's. How new objects are encrypted is said when the session is made; requests can't say otherwise.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cumulo._errors import Context
from cumulo._native import Client, Request, xml_fields
from cumulo.exceptions import GenericError

from .s3 import encryption_headers

_FIELDS = {
    "access_key_id": "AccessKeyId",
    "secret_access_key": "SecretAccessKey",
    "token": "SessionToken",
}


class SessionProvider:
    """A credential provider: each call makes a session. The refreshing thread calls it before the last one expires."""

    refresh_threshold = timedelta(seconds=60)

    def __init__(self, store: Any, client: Client) -> None:
        self._store = store
        self._client = client

    def __call__(self) -> dict[str, Any]:
        """Make a session."""
        base = self._client.base
        path = base if base == b"/" else base.removesuffix(b"/")
        context = Context(self._store, "create session", "")
        headers = [("x-amz-create-session-mode", "ReadWrite"), *encryption_headers(self._store._settings)]
        request = Request(self._client, "GET", path + b"?session=", headers, context=context)
        request.perform()
        found = {name.rpartition("/")[2]: text for name, text in xml_fields(request.take_body())}
        try:
            keys: dict[str, Any] = {ours: found[theirs] for ours, theirs in _FIELDS.items()}
            keys["expires_at"] = datetime.fromisoformat(found["Expiration"].replace("Z", "+00:00"))
        except (KeyError, ValueError) as error:
            raise GenericError(f"create session in {self._store!r}: the answer lacks {error}") from error
        return keys
