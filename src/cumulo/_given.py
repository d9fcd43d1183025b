"""`flag` and `given_as`: what is yes or no, and options, as callers give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["flag", "given_as", "maybe_flag"]


def flag(name: str, value: object) -> bool:
    """A bool, Python's or numpy's. Anything else is refused: as a condition `"false"` would be a yes.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, bool):
        return value
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"):
        return bool(value)
    raise TypeError(f"{name} must be True or False, not {value!r}")


def maybe_flag(name: str, value: object) -> bool | None:
    """The same, or None."""
    return None if value is None else flag(name, value)


def given_as(what: str, value: object) -> Mapping[str, Any]:
    """Options as a caller gives them; none for None. Raises `TypeError` for what is no dict."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a dict, not {type(value).__name__}")
    return cast("Mapping[str, Any]", value)
