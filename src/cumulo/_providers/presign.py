"""URLs signed by version 4 of AWS's signature, which Google's is in other words. Pure: keys and the time are given.

Sources of the rules: Amazon S3 API reference, "Authenticating Requests: Using Query Parameters (AWS Signature
Version 4)"; Cloud Storage, "V4 signing process with your own program".
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
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
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, AWS.terminator):
        key = hmac.digest(key, part.encode(), hashlib.sha256)

    def digits(text: bytes) -> str:
        return hmac.digest(key, text, hashlib.sha256).hex()

    return Signature(AWS, access_key_id, f"{date}/{region}/{service}/{AWS.terminator}", stamp, digits)


def google_signature(email: str, sign: Callable[[bytes], bytes], now_s: float) -> Signature:
    """By a service account; `sign` is RSA with SHA-256, wherever its key is."""
    stamp, date = _moment(now_s)

    def digits(text: bytes) -> str:
        return sign(text).hex()

    return Signature(GOOGLE, email, f"{date}/auto/storage/{GOOGLE.terminator}", stamp, digits)


def signed_url(
    signature: Signature, method: str, origin: str, path: str, expires_s: int, extra: Mapping[str, str]
) -> str:
    """The URL.

    Args:
        signature: who signs.
        method: what may be done with it.
        origin: scheme and host, as clients will send it: `https://host[:port]`.
        path: percent-encoded, with its leading slash.
        expires_s: how long it is good.
        extra: more parameters, which are signed too.
    """
    dialect = signature.dialect
    parameters = {
        f"{dialect.stem}Algorithm": dialect.algorithm,
        f"{dialect.stem}Credential": f"{signature.who}/{signature.scope}",
        f"{dialect.stem}Date": signature.stamp,
        f"{dialect.stem}Expires": str(expires_s),
        f"{dialect.stem}SignedHeaders": "host",
        **extra,
    }
    query = "&".join(f"{name}={value}" for name, value in sorted(map(_encoded, parameters.items())))
    host = origin.partition("//")[2]
    canonical = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{dialect.algorithm}\n{signature.stamp}\n{signature.scope}\n{digest}"
    return f"{origin}{path}?{query}&{dialect.stem}Signature={signature.sign(text.encode())}"


def _moment(now_s: float) -> tuple[str, str]:
    now = time.gmtime(now_s)
    return time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)


def _encoded(pair: tuple[str, str]) -> tuple[str, str]:
    return quote(pair[0], safe=_UNRESERVED), quote(pair[1], safe=_UNRESERVED)
