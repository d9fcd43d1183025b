"""A file's content, read when it is asked for: of the version that was opened, whatever replaces it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cumulo import _native
from cumulo._drivers.effects import END, Plan
from cumulo.exceptions import ObjectChangedError

from ._local_root import Refused

if TYPE_CHECKING:
    from cumulo._native import Bytes
    from cumulo._operations.target import FileTarget

_STEP_BYTES = 16 << 20


class FileBody:
    """The bytes `start` to `end` of an open file, which it closes at the end or when it is dropped."""

    def __init__(self, descriptor: int, start: int, end: int, call: Callable[..., Any]) -> None:
        self.descriptor = descriptor
        self._at = start
        self._end = end
        self._call = call

    def __del__(self) -> None:
        self.close()

    def detach(self) -> int:
        """The descriptor, for another to use and close."""
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor

    def close(self) -> None:
        """Close the file."""
        descriptor = self.detach()
        if descriptor >= 0:
            os.close(descriptor)

    def collect(self) -> Plan[Bytes]:
        return (yield self._call(self._collect))

    def _collect(self) -> Bytes:
        length = self._end - self._at
        try:
            content: Bytes = _native.read_file(self.descriptor, self._at, length)
        finally:
            self.close()
        self._check(len(content), length)
        return content

    def copy_to(self, target: FileTarget) -> Plan[None]:
        """The same into a file, inside the kernel where it can."""
        yield self._call(self._copy_to, target)

    def _copy_to(self, target: FileTarget) -> None:
        length = self._end - self._at
        try:
            copied = target.copy_from(self.descriptor, self._at, length)
        finally:
            self.close()
        self._check(copied, length)

    def next_chunk(self, chunk_bytes: int) -> Plan[Any]:
        length = min(chunk_bytes, self._end - self._at)
        if length <= 0:
            self.close()
            return END
        chunk = yield self._call(self._read, self._at, length)
        self._at += length
        return chunk

    def _read(self, at: int, length: int) -> bytes:
        pieces: list[bytes] = []
        left = length
        while left > 0:
            piece = os.pread(self.descriptor, min(left, _STEP_BYTES), at + length - left)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        self._check(length - left, length)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @staticmethod
    def _check(got: int, length: int) -> None:
        if got < length:
            message = f"the file became shorter while it was read: {got} bytes of {length} were left"
            raise Refused(message, ObjectChangedError)
