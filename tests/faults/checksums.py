"""Checksums as S3 sends them, in pure Python: an oracle independent of the code under test.

CRC32C and CRC64NVME go byte by byte (a few MB a second): keep checksummed objects small.
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    entries: list[int] = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


def _reflected_crc(data: bytes, polynomial: int, width: int) -> int:
    table = _table(polynomial)
    mask = (1 << width) - 1
    crc = mask
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ mask


def crc32c(data: bytes) -> int:
    """CRC32C (Castagnoli)."""
    return _reflected_crc(data, 0x82F63B78, 32)


def crc64nvme(data: bytes) -> int:
    """CRC64NVME."""
    return _reflected_crc(data, 0x9A6C9329AC4BC9B5, 64)


_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: crc32c(data).to_bytes(4, "big"),
    "crc64nvme": lambda data: crc64nvme(data).to_bytes(8, "big"),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
}


def checksum_header(algorithm: str, data: bytes) -> tuple[str, str]:
    """The header that carries this checksum, and its base64 value."""
    name = "Content-MD5" if algorithm == "md5" else f"x-amz-checksum-{algorithm}"
    return name, b64encode(_DIGESTS[algorithm](data)).decode()
