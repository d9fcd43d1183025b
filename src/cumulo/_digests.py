"""Digests that stores take now and then. `hashlib` loads OpenSSL: who needs none should not wait for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashlib import _Hash as Hash


def md5(content: Any = b"") -> Hash:
    """MD5, where a protocol asks for it; never to keep anything safe."""
    import hashlib

    return hashlib.md5(content, usedforsecurity=False)


def sha256(content: bytes) -> str:
    """SHA-256, in hex."""
    import hashlib

    return hashlib.sha256(content).hexdigest()
