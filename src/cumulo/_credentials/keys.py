"""`Keys`, made from what the sources answer, and the errors of that: neither ever shows a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple, cast


class CredentialsError(Exception):
    """Why there are no keys, fit for a user's eyes: no part of a secret, no part of an unexpected answer."""


class Keys(NamedTuple):
    """What a request is signed with. `expires_ms` is Unix time, 0 for never."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expires_ms: int = 0

    def __repr__(self) -> str:
        return f"<Keys, expire {text_of_ms(self.expires_ms)}>"

    def redact(self, text: str) -> str:
        """The text without these secrets."""
        for secret in (self.secret_access_key, self.session_token):
            if secret and len(secret) > 1:  # "-" stands for none
                text = text.replace(secret, "<secret>")
        return text


def text_of_ms(expires_ms: int) -> str:
    """A moment as people write it; "never" for 0."""
    if not expires_ms:
        return "never"
    return datetime.fromtimestamp(expires_ms / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def make_keys(
    where: str, access_key_id: object, secret: object, token: object = None, expires: datetime | None = None
) -> Keys:
    """Checked keys; `where` they are from begins the message when something is wrong with them."""
    for name, value in (("access key id", access_key_id), ("secret access key", secret)):
        if not isinstance(value, str) or not value:
            raise CredentialsError(f"{where}: the {name} is missing")
    if token is not None and not isinstance(token, str):
        raise CredentialsError(f"{where}: the session token is no string")
    for name, value in (("access key id", access_key_id), ("secret access key", secret), ("session token", token)):
        if isinstance(value, str) and not value.isprintable():
            raise CredentialsError(f"{where}: the {name} contains control characters, such as a line end")
    expires_ms = int(expires.timestamp() * 1000) if expires is not None else 0
    return Keys(cast(str, access_key_id), cast(str, secret), token or None, expires_ms)


def keys_of_provider(where: str, answer: object) -> Keys:
    """What a user's provider returned: a dict of obstore's `S3Credential` shape."""
    if not isinstance(answer, Mapping):
        raise CredentialsError(f"{where} returned {type(answer).__name__} instead of a dict")
    answer = cast("Mapping[str, object]", answer)
    missing = [name for name in ("access_key_id", "secret_access_key", "expires_at") if name not in answer]
    if missing:
        raise CredentialsError(f"{where} returned a dict without {', '.join(map(repr, missing))}")
    expires = _checked_expiry(where, answer["expires_at"])
    return make_keys(where, answer["access_key_id"], answer["secret_access_key"], answer.get("token"), expires)


def make_token(where: str, token: object, expires: datetime | None) -> Keys:
    """A checked token, for stores that send it as it is."""
    if not isinstance(token, str) or not token:
        raise CredentialsError(f"{where}: the token is missing")
    return make_keys(where, "-", "-", token, expires)


def token_of_provider(where: str, answer: object) -> Keys:
    """What a user's provider returned: a dict of `token` and `expires_at`, as obstore's `GCSCredential`."""
    if not isinstance(answer, Mapping):
        raise CredentialsError(f"{where} returned {type(answer).__name__} instead of a dict")
    answer = cast("Mapping[str, object]", answer)
    missing = [name for name in ("token", "expires_at") if name not in answer]
    if missing:
        raise CredentialsError(f"{where} returned a dict without {', '.join(map(repr, missing))}")
    return make_token(where, answer["token"], _checked_expiry(where, answer["expires_at"]))


def _checked_expiry(where: str, expires: object) -> datetime | None:
    if expires is not None and not isinstance(expires, datetime):
        raise CredentialsError(f"{where} returned an expires_at that is neither a datetime nor None")
    if expires is not None and expires.tzinfo is None:
        raise CredentialsError(f"{where} returned an expires_at without a time zone")
    return expires


def keys_of_json(where: str, text: bytes, *, session: str = "Token", needs_expiry: bool = False) -> Keys:
    """What containers, instance metadata and credential processes answer: `AccessKeyId`, ..., `Expiration`."""
    document = json_object(where, text)
    if document.get("Code", "Success") != "Success":
        raise CredentialsError(f"{where}: {_short(document['Code'])}: {_short(document.get('Message', ''))}")
    expires = document.get("Expiration")
    if needs_expiry and not expires:
        raise CredentialsError(f"{where}: the answer has no Expiration")
    moment = parse_time(where, expires) if expires else None
    return make_keys(where, document.get("AccessKeyId"), document.get("SecretAccessKey"), document.get(session), moment)


def json_object(where: str, text: bytes) -> dict[str, Any]:
    """A JSON object; the message says nothing of what is there instead."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CredentialsError(f"{where}: the answer is no JSON object")
    return cast("dict[str, Any]", document)


def parse_time(where: str, text: object) -> datetime:
    """An ISO 8601 moment, UTC unless it says otherwise."""
    try:
        # Python 3.10 knows neither "Z" nor fractions of other than 3 or 6 digits; "UTC" is what the AWS CLI v1 wrote.
        plain = str(text).strip().replace("UTC", "Z").replace("Z", "+00:00")
        head, dot, tail = plain.partition(".")
        zone = tail.lstrip("0123456789") if dot else ""
        moment = datetime.fromisoformat(head + zone)
    except ValueError:
        raise CredentialsError(f"{where}: the expiration is no ISO 8601 time") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


def _short(value: object) -> str:
    return " ".join(str(value).split())[:200]
