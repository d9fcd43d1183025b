"""URLs signed by version 4 of AWS's signature, which Google's is in other words. Pure: keys and the time are given.

Sources of the rules: Amazon S3 API reference, "Authenticating Requests: Using Query Parameters (AWS Signature
Version 4)"; Cloud Storage, "V4 signing process with your own program".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

_UNRESERVED = "-_.~"


class Dialect(NamedTuple):
    """What the two differ in."""

    stem: str
    algorithm: str
    terminator: str


AWS = Dialect("X-Amz-", "AWS4-HMAC-SHA256", "aws4_request")
GOOGLE = Dialect("X-Goog-", "GOOG4-RSA-SHA256", "goog4_request")


class Signature(NamedTuple):
    """Who signs, for what, and how: `sign` turns the text to be signed into hexadecimal digits."""

    dialect: Dialect
    who: str
    scope: str
    """Date, region, service and terminator."""
    stamp: str
    """The moment, as the URLs have it."""
    sign: Callable[[bytes], str]


def aws_signature(access_key_id: str, secret: str, region: str, service: str, now_s: float) -> Signature:
    """By an AWS secret key."""
    stamp, date = _moment(now_s)
    key = _aws_key(secret, date, region, service)

    def digits(text: bytes) -> str:
        return hmac.digest(key, text, "sha256").hex()

    return Signature(AWS, access_key_id, f"{date}/{region}/{service}/{AWS.terminator}", stamp, digits)


@lru_cache(maxsize=16)
def _aws_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of a day: URLs are signed by the thousand."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, AWS.terminator):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def google_signature(email: str, sign: Callable[[bytes], bytes], now_s: float) -> Signature:
    """By a service account; `sign` is RSA with SHA-256, wherever its key is."""
    stamp, date = _moment(now_s)

    def digits(text: bytes) -> str:
        return sign(text).hex()

    return Signature(GOOGLE, email, f"{date}/auto/storage/{GOOGLE.terminator}", stamp, digits)


def signed_urls(
    signature: Signature, method: str, origin: str, paths: Iterable[str], expires_s: int, extra: Mapping[str, str]
) -> list[str]:
    """The URLs.

    Args:
        signature: who signs.
        method: what may be done with them.
        origin: scheme and host, as clients will send it: `https://host[:port]`.
        paths: percent-encoded, with their leading slashes.
        expires_s: how long they are good.
        extra: more parameters, which are signed too.
    """
    query, before, behind = _around(*signature[:4], origin.partition("//")[2], expires_s, tuple(extra.items()))
    name = f"{signature.dialect.stem}Signature"
    found: list[str] = []
    for path in paths:
        digest = hashlib.sha256(f"{method}\n{path}\n{behind}".encode()).hexdigest()
        found.append(f"{origin}{path}?{query}&{name}={signature.sign((before + digest).encode())}")
    return found


@lru_cache(maxsize=16)
def _around(
    dialect: Dialect, who: str, scope: str, stamp: str, host: str, expires_s: int, extra: tuple[tuple[str, str], ...]
) -> tuple[str, str, str]:
    """What is the same for all URLs of a second: the query, and what is signed before and behind each path."""
    stem, algorithm, _ = dialect
    parameters = {
        f"{stem}Algorithm": algorithm,
        f"{stem}Credential": f"{who}/{scope}",
        f"{stem}Date": stamp,
        f"{stem}Expires": str(expires_s),
        f"{stem}SignedHeaders": "host",
        **dict(extra),
    }
    query = "&".join(f"{name}={quote(parameters[name], safe=_UNRESERVED)}" for name in sorted(parameters))
    return query, f"{algorithm}\n{stamp}\n{scope}\n", f"{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"


def _moment(now_s: float) -> tuple[str, str]:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    return stamp, stamp[:8]
