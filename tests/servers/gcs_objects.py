"""What the stand-in for Cloud Storage keeps: buckets of generations, and uploads under way. Rules: its reference."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from dataclasses import dataclass, field

import google_crc32c

MIN_PART_BYTES = 5 << 20


class GCSError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message or code


def crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


@dataclass
class Generation:
    """One version of an object."""

    number: int
    data: bytes
    headers: dict[str, str]
    composed: bool = False
    """Made of parts: it has no MD5."""
    written: float = field(default_factory=time.time)

    @property
    def etag(self) -> str:
        return f'"-{self.number:x}="' if self.composed else f'"{md5(self.data).hex()}"'

    @property
    def hashes(self) -> list[str]:
        found = ["crc32c=" + crc32c(self.data)]
        return found if self.composed else [*found, "md5=" + base64.b64encode(md5(self.data)).decode()]


@dataclass
class Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class Bucket:
    """Objects by key, each its generations with the live one last."""

    def __init__(self, *, versioned: bool = False, requester_pays: bool = False) -> None:
        self.versioned, self.requester_pays = versioned, requester_pays
        self.live: dict[str, Generation] = {}
        self.past: dict[tuple[str, int], Generation] = {}
        self.uploads: dict[str, Upload] = {}
        self.rewrites: dict[str, int] = {}
        self.lock = threading.RLock()
        self._last = int(time.time() * 1e6)

    def get(self, key: str, number: str | None = None) -> Generation:
        with self.lock:
            found = self.live.get(key)
            if number is not None and (found is None or str(found.number) != number):
                found = self.past.get((key, int(number))) if number.isdigit() else None
        if found is None:
            raise GCSError(404, "NoSuchKey", "The specified key does not exist.")
        return found

    def put(self, key: str, data: bytes, headers: dict[str, str], *, wanted: str | None, composed: bool = False):
        with self.lock:
            there = self.live.get(key)
            if wanted is not None and wanted != str(there.number if there else 0):
                raise GCSError(412, "PreconditionFailed", "At least one of the pre-conditions did not hold.")
            self._bury(key)
            self._last += 1
            self.live[key] = Generation(self._last, data, headers, composed)
            return self.live[key]

    def delete(self, key: str, number: str | None = None) -> None:
        with self.lock:
            found = self.get(key, number)
            if number is None:
                self._bury(key)
            elif self.past.pop((key, found.number), None) is None:
                del self.live[key]

    def _bury(self, key: str) -> None:
        found = self.live.pop(key, None)
        if found is not None and self.versioned:
            self.past[key, found.number] = found

    def start(self, key: str, headers: dict[str, str]) -> str:
        with self.lock:
            self._last += 1
            name = f"upload/{self._last}+="
            self.uploads[name] = Upload(key, headers)
            return name

    def upload(self, name: str) -> Upload:
        if name not in self.uploads:
            raise GCSError(404, "NoSuchUpload")
        return self.uploads[name]

    def complete(self, name: str, parts: list[tuple[int, str]]) -> Generation:
        with self.lock:
            upload = self.upload(name)
            chosen = []
            for number, etag in parts:
                data = upload.parts.get(number)
                if data is None or etag.strip('"') != md5(data).hex():
                    raise GCSError(400, "InvalidPart")
                chosen.append(data)
            if any(len(data) < MIN_PART_BYTES for data in chosen[:-1]):
                raise GCSError(400, "EntityTooSmall")
            del self.uploads[name]
            return self.put(upload.key, b"".join(chosen), upload.headers, wanted=None, composed=True)
