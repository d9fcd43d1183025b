"""Parsers for single option values. Each takes the value and a label for its errors, and returns it typed.

They take the Python value as well as its text, since the same options come from keywords and from the environment.
What could hold a secret (text, URLs, headers, keys) is never repeated in an error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from .durations import parse_duration
from .errors import ConfigurationError

__all__ = [
    "Parser",
    "choice",
    "parse_bool",
    "parse_duration",
    "parse_header_name",
    "parse_header_text",
    "parse_headers",
    "parse_pem",
    "parse_text",
    "whole_number",
]

Parser: TypeAlias = Callable[[object, str], Any]

_TRUE = frozenset({"1", "true", "on", "yes", "y"})
_FALSE = frozenset({"0", "false", "off", "no", "n"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_PEM = re.compile(
    rb"-----BEGIN CERTIFICATE-----\s(.+?)-----END CERTIFICATE-----",
    re.DOTALL,
)
# The engine writes these itself, from what it sends; a second value would let a request be read in two ways.
_FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def parse_bool(value: object, label: str) -> bool:
    """A bool, or its text in any case: true, yes, on, y, 1; false, no, off, n, 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in {0, 1}:
        return bool(value)
    if not isinstance(value, str):
        raise TypeError(f"{label} must be a bool, not {type(value).__name__}")
    word = value.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ConfigurationError(f"{label}: {value[:20]!r} is not a boolean; use true or false")


def whole_number(least: int, most: int) -> Parser:
    """A parser for an int, or its text, between two bounds."""

    def parse(value: object, label: str) -> int:
        if isinstance(value, str):
            text = value.strip()
            if not re.fullmatch(r"[+-]?[0-9]{1,19}", text):
                raise ConfigurationError(f"{label}: {value[:20]!r} is not a whole number")
            value = int(text)
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{label} must be an int, not {type(value).__name__}")
        if not least <= value <= most:
            raise ConfigurationError(f"{label} must be between {least} and {most}, got {value}")
        return value

    return parse


def choice(*names: str) -> Parser:
    """A parser for one of a few names. Case does not matter; the result is written as in `names`."""
    known = {name.lower(): name for name in names}

    def parse(value: object, label: str) -> str:
        text = parse_text(value, label).strip()
        if text.lower() not in known:
            raise ConfigurationError(f"{label}: {text[:40]!r} is not known; it is one of {', '.join(map(repr, names))}")
        return known[text.lower()]

    return parse


def parse_text(value: object, label: str) -> str:
    """A str, without control characters."""
    if not isinstance(value, str):
        raise TypeError(f"{label} must be a str, not {type(value).__name__}")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ConfigurationError(f"{label} must not contain control characters or line ends")
    return value


def parse_header_name(value: object, label: str) -> str:
    """A header's name, in lower case, that is not one the engine writes itself."""
    if not isinstance(value, str):
        raise TypeError(f"{label}: a header's name must be a str, not {type(value).__name__}")
    if not _TOKEN.fullmatch(value):
        raise ConfigurationError(f"{label}: {value[:40]!r} is not a valid header name")
    if value.lower() in _FRAMING:
        raise ConfigurationError(f"{label}: the header {value!r} can't be set, each request has its own")
    return value.lower()


def parse_header_text(value: object, label: str) -> bytes:
    """A header's value as bytes, without spaces around it."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{label} must be a str or bytes, not {type(value).__name__}")
    data = (value.encode() if isinstance(value, str) else value).strip(b" \t")
    if any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in data):
        raise ConfigurationError(f"{label}: a header's value must not contain control characters or line ends")
    return data


def parse_headers(value: object, label: str) -> tuple[tuple[str, bytes], ...]:
    """A mapping of header names to values; its text is a JSON object. Names come out in lower case."""
    if isinstance(value, str):
        import json

        try:
            value = json.loads(value)
        except ValueError:
            raise ConfigurationError(f"{label} must be a JSON object of header names and values") from None
    if not isinstance(value, Mapping):
        raise TypeError(f"{label} must be a dict of header names and values, not {type(value).__name__}")
    headers: dict[str, bytes] = {}
    for given, text in cast("Mapping[object, object]", value).items():
        name = parse_header_name(given, label)
        if name in headers:
            raise ConfigurationError(f"{label}: the header {name!r} is given twice")
        headers[name] = parse_header_text(text, f"{label}[{name!r}]")
    return tuple(headers.items())


def parse_pem(value: object, label: str) -> bytes:
    """One or more certificates in PEM form. What stands between them, such as comments, is left out."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{label} must be a str or bytes in PEM form, not {type(value).__name__}")
    data = value.encode() if isinstance(value, str) else value
    blocks = [match.group(1) for match in _PEM.finditer(data)]
    if not blocks:
        raise ConfigurationError(
            f"{label} holds no certificate: it must be the text of one or more certificates in PEM form "
            "(-----BEGIN CERTIFICATE-----), not a file name"
        )
    try:
        for block in blocks:
            base64.b64decode(b"".join(block.split()), validate=True)
    except ValueError:
        raise ConfigurationError(f"{label}: a certificate is not valid base64") from None
    return b"".join(match.group(0) + b"\n" for match in _PEM.finditer(data))
