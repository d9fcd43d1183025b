"""Stores as file systems of fsspec: `FsspecStore`, and `register` to have them under the protocols' names.

Needs fsspec: `pip install 'cumulo[fsspec]'`. No listing is kept: a call is requests, now.
"""

from __future__ import annotations

try:
    from ._untyped import register_implementation as _register
except ModuleNotFoundError as error:
    from cumulo.exceptions import MissingExtraError as _MissingExtraError

    raise _MissingExtraError("this needs fsspec: pip install 'cumulo[fsspec]'") from error

from collections.abc import Iterable
from typing import Any

from ._file import BufferedFile
from ._paths import SUPPORTED_PROTOCOLS, SUPPORTED_PROTOCOLS_T
from ._store import FsspecStore

__all__ = ["SUPPORTED_PROTOCOLS", "SUPPORTED_PROTOCOLS_T", "BufferedFile", "FsspecStore", "register"]

_NAME = "FsspecStore_"
_classes: dict[str, Any] = {}


def register(protocol: str | Iterable[str] | None = None, *, asynchronous: bool = False) -> None:
    """Let fsspec, and what is built on it, use cumulo for URLs of these protocols.

    Args:
        protocol: one or more of `SUPPORTED_PROTOCOLS`. Default: all but `"file"` and `"memory"`.
        asynchronous: make file systems for use on the caller's own event loop.
    """
    if protocol is None:
        protocol = SUPPORTED_PROTOCOLS - {"file", "memory"}
    for name in [protocol] if isinstance(protocol, str) else protocol:
        made = _class_of(name)
        made.asynchronous = asynchronous
        _register(name, made, clobber=True)


def _class_of(protocol: str) -> Any:
    """The class of one protocol: the same for each call, and one that pickles find by its name."""
    if protocol not in _classes:
        made = {"protocol": protocol, "__module__": __name__}
        _classes[protocol] = type(_NAME + protocol, (FsspecStore,), made)
    return _classes[protocol]


def __getattr__(name: str) -> Any:
    protocol = name.removeprefix(_NAME)
    if name.startswith(_NAME) and protocol in SUPPORTED_PROTOCOLS:
        return _class_of(protocol)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
