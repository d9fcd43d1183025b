"""How names, sizes and errors are shown."""

from __future__ import annotations

import unicodedata

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_STEP = 1000
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}


def human(size: float) -> str:
    """A size in bytes with a unit: `1.5 MB`."""
    unit = 0
    while size >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        size /= _STEP
        unit += 1
    return f"{size:.0f} {_UNITS[0]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def shown(text: str) -> str:
    """Text for one line of output: control characters, which could drive a terminal, and undecodable bytes escaped."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSEEN else c for c in text)


def reason(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return shown(f"{error.strerror}: {error.filename}")
    return shown(str(error) or type(error).__name__)
