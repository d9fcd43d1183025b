"""`flag`: what is yes or no, as callers give it."""

from __future__ import annotations

__all__ = ["flag", "maybe_flag"]


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
