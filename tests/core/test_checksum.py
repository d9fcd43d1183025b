"""`checksum`: of memory and of parts of files, which may change under it."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from cumulo._native import checksum

DATA = os.urandom(3_000_001)


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "SHA256"])
@pytest.mark.parametrize(("start", "end"), [(0, len(DATA)), (17, 2_000_000), (len(DATA), len(DATA))])
def test_a_file_as_memory(tmp_path: Path, algorithm: str, start: int, end: int) -> None:
    (tmp_path / "f").write_bytes(DATA)
    with (tmp_path / "f").open("rb") as file:
        made = checksum(algorithm, None, (file, start, end - start))
        assert file.tell() == 0
    assert made == checksum(algorithm, DATA[start:end], None)
    if algorithm == "SHA256":
        assert base64.b64decode(made) == hashlib.sha256(DATA[start:end]).digest()


def test_known_values() -> None:
    """The check values of the catalogue of parametrised CRC algorithms, of "123456789"."""
    values = {name: base64.b64decode(checksum(name, b"123456789", None)).hex() for name in ("CRC64NVME", "CRC32C")}
    assert values == {"CRC64NVME": "ae8b14860a799888", "CRC32C": "e3069283"}


@pytest.mark.parametrize("left", [0, 1, 1 << 20, len(DATA) - 1])
def test_a_file_that_ends_before(tmp_path: Path, left: int) -> None:
    (tmp_path / "f").write_bytes(DATA[:left])
    with (tmp_path / "f").open("rb") as file, pytest.raises(EOFError, match="too early"):
        checksum("CRC64NVME", None, (file, 0, len(DATA)))


def test_what_can_not_be_read(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        checksum("CRC64NVME", None, (file, 0, 1))
    with pytest.raises(ValueError, match="unknown checksum"):
        checksum("MD4", b"", None)
