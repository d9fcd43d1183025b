"""Where an HTTP store's requests go: URLs, the store's own and those of redirects, taken apart and fit for requests."""

from __future__ import annotations

import base64
import re
from typing import Literal, cast
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit

from cumulo._records import field, record

from .errors import ConfigurationError

__all__ = ["HTTPTarget", "http_base", "http_target"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
# RFC 3986 3.3 and 3.4, and "%", which begins what is encoded already.
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = _PATH + "?"


@record(frozen=True)
class HTTPTarget:
    """An absolute URL, as requests need it.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: a host name, or an IP address without brackets.
        port: always set.
        base: the path, percent-encoded.
        query: empty, or from its question mark on, percent-encoded.
        authorization: the header of that name for the URL's user and password (RFC 7617), if there are any.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    base: bytes
    query: bytes = field(default=b"", repr=False)
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def tls(self) -> bool:
        """Whether connections use TLS."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """As requests name the host: with brackets, and with the port unless it is the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def plain_url(self) -> str:
        """The URL without what may be secret: user, password and query."""
        return f"{self.scheme}://{self.host_header}{self.base.decode()}"

    @property
    def url(self) -> str:
        """The URL without user and password."""
        return self.plain_url + self.query.decode()


def http_base(url: object) -> HTTPTarget:
    """A store's URL: its path ends in a slash.

    Raises:
        ValueError: not an absolute http or https URL. The message repeats no user, password or query.
    """
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    target = _target(url, "url")
    if urlsplit(url).fragment:
        raise ConfigurationError("url: a fragment (#...) never reaches a server")
    path = target.base if target.base.endswith(b"/") else target.base + b"/"
    return HTTPTarget(target.scheme, target.host, target.port, path, target.query, target.authorization)


def http_target(location: str, of: str) -> HTTPTarget:
    """Where the Location of a response to `of` leads (RFC 9110 10.2.2). User and password there are left out.

    Raises:
        ValueError: it leads to no http or https URL.
    """
    target = _target(urljoin(of, location), "the redirect's Location")
    return HTTPTarget(target.scheme, target.host, target.port, target.base, target.query)


def _target(url: str, label: str) -> HTTPTarget:
    text = url.strip()
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ConfigurationError(f"{label} must not contain control characters or line ends")
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise ConfigurationError(f"{label} is not a URL, which is such as 'https://example.com/data'") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigurationError(f"{label}: only http and https are spoken, not {parts.scheme[:10]!r}")
    host = _ascii(host, label)
    if not re.fullmatch(r"[0-9A-Za-z._:-]+", host) or port == 0:
        raise ConfigurationError(f"{label} names no host, as in 'https://example.com/data'")
    scheme = cast("Literal['http', 'https']", parts.scheme)
    query = b"?" + _encoded(parts.query, _QUERY) if parts.query else b""
    path = _encoded(parts.path, _PATH) or b"/"
    return HTTPTarget(scheme, host, port or _DEFAULT_PORTS[scheme], path, query, _basic(parts))


def _ascii(host: str, label: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise ConfigurationError(f"{label} names a host that can't be one") from None


def _encoded(text: str, safe: str) -> bytes:
    """What is encoded stays as it is; what a request can't hold is encoded."""
    whole = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(whole, safe=safe, errors="surrogateescape").encode()


def _basic(parts: SplitResult) -> bytes | None:
    if parts.username is None:
        return None
    pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return b"Basic " + base64.b64encode(pair)
