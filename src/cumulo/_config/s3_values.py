"""Parsers for the values that only S3's options have."""

from __future__ import annotations

import base64
import re
from typing import Literal
from urllib.parse import urlsplit

from cumulo._records import record
from cumulo.exceptions import NotSupportedError

from .errors import ConfigurationError
from .values import parse_bool, parse_header_name, parse_header_text, parse_text

__all__ = [
    "CopyIfNotExists",
    "check_customer_key",
    "is_host",
    "parse_bucket",
    "parse_copy_if_not_exists",
    "parse_region",
    "parse_request_payer",
    "parse_secret",
    "parse_url",
]


@record(frozen=True)
class CopyIfNotExists:
    """How a copy that must not overwrite is made.

    Attributes:
        kind: `"multipart"`: as a multipart upload completed with `If-None-Match: *`; `"header"`: as a plain copy
            with one more header.
        header: that header's name, in lower case; None with `"multipart"`.
        value: its value.
        status: the status that then says that the destination exists.
    """

    kind: Literal["multipart", "header"]
    header: str | None = None
    value: str | None = None
    status: int = 412

    def __str__(self) -> str:
        """As the option is written."""
        if self.kind == "multipart":
            return self.kind
        if self.status == CopyIfNotExists.status:
            return f"header: {self.header}: {self.value}"
        return f"header-with-status: {self.header}: {self.value}: {self.status}"


def parse_bucket(value: object, label: str) -> str:
    """A bucket's name. It becomes part of URLs and of host names, so what could end either of them is refused."""
    if not isinstance(value, str):
        raise TypeError(f"{label} must be a str, not {type(value).__name__}")
    if value.startswith("arn:"):
        raise NotSupportedError(f"{label}: ARNs are not supported; use the bucket's name or the access point's alias")
    if re.search(r"[\x00-\x20\x7f-\x9f/\\?#@]", value):
        raise ConfigurationError(
            f"{label}: {value!r} is not a bucket's name: it must not contain '/', '\\', '?', '#', '@', "
            "spaces or control characters"
        )
    if value in {"", ".", ".."} or len(value) > 255:
        raise ConfigurationError(f"{label}: {value[:60]!r} is not a bucket's name")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{label}: {value!r} is not valid Unicode") from None
    return value


def parse_region(value: object, label: str) -> str:
    """A region's name. It becomes part of host names."""
    region = parse_text(value, label).strip()
    if not re.fullmatch(r"[0-9A-Za-z](?:[0-9A-Za-z._-]{0,62})", region) or ".." in region:
        raise ConfigurationError(f"{label}: {region[:60]!r} is not a region's name, which is such as 'us-east-1'")
    return region


def parse_secret(value: object, label: str) -> str:
    """A secret or a token. White space around it, such as the line end of the file it was in, is not part of it."""
    secret = parse_text(value.strip() if isinstance(value, str) else value, label)
    try:
        secret.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{label} is not valid Unicode") from None  # whose text would show some of it
    return secret


def parse_url(value: object, label: str) -> str:
    """An http or https URL without user, query and fragment. Errors don't repeat it: it could hold a password."""
    url = parse_text(value, label).strip()
    example = "it must be a URL such as 'https://s3.example.com' or 'http://localhost:9000'"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{label} can't be understood; {example}") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"{label} has no scheme http:// or https://; {example}")
    if not host:
        raise ConfigurationError(f"{label} has no host; {example}")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{label} must not contain a user or password; {example}")
    if not is_host(host):
        raise ConfigurationError(f"{label} has a host name that can't be one; {example}")
    if any(segment in {".", ".."} for segment in parts.path.split("/")):
        raise ConfigurationError(f"{label} must not contain '.' or '..' as a path segment; {example}")
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{label} must not contain a query or fragment; {example}")
    return url


def is_host(host: str) -> bool:
    """Whether this is an IP address (without brackets and zone) or may be a host's name."""
    if ":" in host:
        import ipaddress  # takes long, and most have a name

        try:
            return "%" not in host and bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    return bool(re.fullmatch(r"[0-9A-Za-z_](?:[0-9A-Za-z._-]*[0-9A-Za-z_.])?", host)) and ".." not in host


def parse_request_payer(value: object, label: str) -> bool:
    """A bool, or `"requester"`."""
    if isinstance(value, str) and value.strip().lower() == "requester":
        return True
    return parse_bool(value, label)


def parse_copy_if_not_exists(value: object, label: str) -> CopyIfNotExists:
    """`multipart`, `header: name: value` or `header-with-status: name: value: status`."""
    kind, _, rest = parse_text(value, label).partition(":")
    kind = kind.strip().lower()
    if kind == "multipart" and not rest:
        return CopyIfNotExists("multipart")
    status = "412"
    if kind == "header-with-status":
        rest, colon, status = rest.rpartition(":")
    elif kind == "header":
        colon = ":"
    else:
        colon = ""
    name, separator, text = rest.partition(":")
    if not colon or not separator or not re.fullmatch(r"\s*[1-5][0-9]{2}\s*", status):
        raise ConfigurationError(
            f"{label} must be 'multipart', 'header: <name>: <value>' or 'header-with-status: <name>: <value>: <status>'"
        )
    header = parse_header_name(name.strip(), label)
    return CopyIfNotExists("header", header, parse_header_text(text, label).decode(), int(status))


def check_customer_key(key: str | None) -> None:
    """Refuse an SSE-C key that is not 256 bits in base64. The error does not repeat it."""
    if key is None:
        raise ConfigurationError("server_side_encryption='sse-c' needs sse_customer_key_base64")
    try:
        length = len(base64.b64decode(key, validate=True))
    except ValueError:
        raise ConfigurationError("sse_customer_key_base64 is not valid base64") from None
    if length != 32:
        raise ConfigurationError(f"sse_customer_key_base64 must hold a key of 32 bytes, not {length}")
