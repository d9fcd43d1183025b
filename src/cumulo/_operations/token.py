"""Tokens: what a transfer that was broken off has done, in a small file from which another process goes on.

A token is replaced in one step and carries a checksum of itself: what can't be read as it was written counts as none.
Blocking; any thread.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

_VERSION = 1


def save(path: str, state: Mapping[str, Any]) -> None:
    """Write a token. Raises `OSError`."""
    import json  # here: every download names this module, few have a token

    content = json.dumps(state, sort_keys=True)
    document = json.dumps({"cumulo": _VERSION, "crc32": zlib.crc32(content.encode()), "state": content})
    temporary = f"{path}-{os.urandom(4).hex()}"
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def load(path: str) -> dict[str, Any] | None:
    """What `save` wrote last; None when there is none, or none that can be trusted."""
    import json

    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        content = document["state"]
        if document["cumulo"] != _VERSION or document["crc32"] != zlib.crc32(content.encode()):
            return None
        state = json.loads(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return cast("dict[str, Any]", state) if isinstance(state, dict) else None


def warn(message: str, *arguments: object) -> None:
    """Say in the log what became of a token."""
    import logging  # takes long to import

    logging.getLogger("cumulo").warning(message, *arguments)


def remove(path: str) -> None:
    """There is nothing to go on with."""
    with suppress(OSError):
        os.unlink(path)
