"""Which proxy, if any, a connection goes through.

A proxy named in the client's options settles it, with the hosts that the options exclude. Without one, the variables
that curl and most tools know do: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, where a lower-case name
comes before its upper-case twin.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cumulo._records import field, record
from cumulo.exceptions import NotSupportedError

from .errors import ConfigurationError

if TYPE_CHECKING:
    import ipaddress

    from .client import ClientSettings

__all__ = ["Proxy", "is_excluded", "parse_proxy_url", "proxy_for"]


@record(frozen=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host: its host name or IP address, the latter without brackets.
        port: its port.
        tls: whether the connection to the proxy itself is TLS.
        user: the user name for Basic authentication, or None.
        password: the password that goes with it.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def proxy_for(
    scheme: str, host: str, port: int, settings: ClientSettings | None = None, env: Mapping[str, str] | None = None
) -> Proxy | None:
    """The proxy for connections to an origin, or None for a direct connection.

    Args:
        scheme: `"http"` or `"https"`.
        host: the origin's host name or IP address.
        port: the origin's port.
        settings: the client's; a `proxy_url` in them (also an empty one: no proxy) makes the environment irrelevant.
        env: the environment, by default the process's.

    Raises:
        ValueError: the proxy's URL makes no sense.
        NotImplementedError: it is not an HTTP proxy.
    """
    if settings is not None and settings.proxy_url is not None:
        if not settings.proxy_url or is_excluded(host, port, settings.proxy_excludes or ""):
            return None
        return parse_proxy_url(settings.proxy_url, "proxy_url")
    env = os.environ if env is None else env
    variable = _proxy_variable(scheme, env)
    if variable is None or is_excluded(host, port, env.get("no_proxy") or env.get("NO_PROXY") or ""):
        return None
    return parse_proxy_url(env[variable], f"the environment variable {variable}")


def _proxy_variable(scheme: str, env: Mapping[str, str]) -> str | None:
    name = f"{scheme}_proxy"
    names = [name, name.upper(), "all_proxy", "ALL_PROXY"]
    if scheme == "http" and "REQUEST_METHOD" in env:
        # In a CGI program HTTP_PROXY is the request's own `Proxy` header: anyone could set it (CVE-2016-5385).
        names.remove("HTTP_PROXY")
    return next((name for name in names if env.get(name)), None)


def parse_proxy_url(url: str, label: str) -> Proxy:
    """Take a proxy's URL apart. Without a scheme it is an HTTP proxy, as for curl. Errors don't repeat the URL."""
    text = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _unusable(label) from None
    if parts.scheme not in {"http", "https"}:
        raise NotSupportedError(f"{label}: only http and https proxies are supported, not {parts.scheme[:10]!r}")
    if not host or not re.fullmatch(r"[0-9A-Za-z._:-]+", host) or port == 0 or parts.query or parts.fragment:
        raise _unusable(label)
    if parts.path not in {"", "/"}:
        raise _unusable(label)
    tls = parts.scheme == "https"
    user = None if parts.username is None else unquote(parts.username)
    password = None if user is None else unquote(parts.password or "")
    return Proxy(host, port or (443 if tls else 80), tls, user, password)


def _unusable(label: str) -> ConfigurationError:
    return ConfigurationError(f"{label} is not a proxy's URL, which is such as 'http://proxy.example.com:3128'")


def is_excluded(host: str, port: int, excludes: str) -> bool:
    """Whether a `NO_PROXY` list names this origin.

    Entries are separated by commas or spaces: `*` (every host), a name (that host and all below it, with or without
    a dot or `*.` in front), an IP address or a CIDR block; each may end in `:port`.
    """
    host = host.strip("[]").rstrip(".").lower()
    return any(_matches(entry.lower(), host, port) for entry in re.split(r"[,\s]+", excludes) if entry)


def _matches(entry: str, host: str, port: int) -> bool:
    import ipaddress  # takes long, and most have no such list

    if entry == "*":
        return True
    name, wanted = _split_port(entry)
    if wanted is not None and wanted != port:
        return False
    address = _address(host)
    if address is None:
        suffix = name.removeprefix("*").strip(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    if match := re.fullmatch(r"\[([^\]]*)\](?::([0-9]{1,5}))?", entry):
        return match[1], int(match[2]) if match[2] else None
    if match := re.fullmatch(r"([^:]*):([0-9]{1,5})", entry):
        return match[1], int(match[2])
    return entry, None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
