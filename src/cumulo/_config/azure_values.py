"""Parsers for the values that only Azure's options have. What could be a secret is never repeated in an error."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from urllib.parse import quote

from .errors import ConfigurationError
from .s3_values import parse_secret
from .values import parse_text

__all__ = ["parse_account", "parse_account_key", "parse_container", "parse_encryption_key", "parse_sas", "sas_of_pairs"]


def parse_account(value: object, label: str) -> str:
    """An account's name. It becomes part of host names; emulators allow more in it than Azure does."""
    name = parse_text(value, label).strip()
    if not re.fullmatch(r"[0-9A-Za-z](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z])?", name):
        raise ConfigurationError(f"{label}: {name[:60]!r} is not the name of a storage account")
    return name


def parse_container(value: object, label: str) -> str:
    """A container's name, a OneLake workspace's included. It becomes part of URLs."""
    name = parse_text(value, label)
    if not name or name in {".", ".."} or len(name) > 255 or re.search(r"[\x80-\x9f/\\?#@]", name):
        raise ConfigurationError(f"{label}: {name[:60]!r} is not a container's name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{label}: {name!r} is not valid Unicode") from None
    return name


def parse_account_key(value: object, label: str) -> str:
    """An account's key: bytes in base64."""
    key = parse_secret(value, label)
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError:
        raw = b""
    if not raw:
        raise ConfigurationError(f"{label} is no account key: one is base64, as the portal shows it")
    return key


def parse_encryption_key(value: object, label: str) -> str:
    """A key of 256 bits in base64."""
    key = parse_secret(value, label)
    try:
        length = len(base64.b64decode(key, validate=True))
    except ValueError:
        raise ConfigurationError(f"{label} is not valid base64") from None
    if length != 32:
        raise ConfigurationError(f"{label} must hold a key of 32 bytes, not {length}")
    return key


def parse_sas(value: object, label: str) -> str:
    """A shared access signature as it stands in a query, percent-encoded, without the question mark."""
    sas = parse_secret(value, label).removeprefix("?").strip("&")
    pairs = sas.split("&")
    if not sas.isascii() or " " in sas or "#" in sas or any("=" not in pair for pair in pairs):
        raise ConfigurationError(
            f"{label} is no shared access signature: one is 'sv=...&sig=...', percent-encoded as the portal gives it"
        )
    return sas


def sas_of_pairs(pairs: Sequence[tuple[str, str]]) -> str:
    """The same of names and values that are not encoded."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
