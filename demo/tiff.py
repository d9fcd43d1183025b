"""Just enough TIFF: where the tiles of a cloud-optimized GeoTIFF's full image are, from its first bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PREDICTOR, TILE_WIDTH, OFFSETS, COUNTS, SAMPLE_FORMAT = (
    256, 257, 258, 259, 277, 317, 322, 324, 325, 339,
)  # fmt: skip
TYPES = {3: "H", 4: "I", 16: "Q"}
KINDS = {1: "u", 2: "i", 3: "f"}
DEFLATE = 8


@dataclass(frozen=True)
class Header:
    """The full image's tiles."""

    tile_size: int
    columns: int
    rows: int
    dtype: np.dtype
    bands: int
    compression: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    def span(self, row: int, column: int) -> tuple[int, int]:
        """A tile's start in the file, and its end."""
        at = row * self.columns + column
        return self.offsets[at], self.offsets[at] + self.counts[at]

    def decode(self, content: bytes) -> np.ndarray:
        """A tile's pixels: rows, columns, bands."""
        plain = zlib.decompress(content) if self.compression == DEFLATE else content
        return np.frombuffer(plain, self.dtype).reshape(self.tile_size, self.tile_size, self.bands)

    def whole_tiles(self, width: int, height: int) -> list[tuple[int, int]]:
        """The tiles (row, column) that the image's edge does not cut."""
        return [(row, column) for row in range(height // self.tile_size) for column in range(width // self.tile_size)]


def parse(first: bytes) -> tuple[Header, int, int]:
    """The header, and the image's width and height.

    Raises:
        ValueError: no classic TIFF, or its tags are not all in `first`.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(first[:2]))
    if order is None or struct.unpack_from(order + "H", first, 2)[0] != 42:
        raise ValueError("not a classic TIFF")
    tags = _tags(first, order, struct.unpack_from(order + "I", first, 4)[0])
    if tags.get(PREDICTOR, (1,))[0] != 1:
        raise ValueError("tiles with a predictor are more than this demo decodes")
    size, width, height = tags[TILE_WIDTH][0], tags[WIDTH][0], tags[HEIGHT][0]
    dtype = np.dtype(f"{order}{KINDS[tags.get(SAMPLE_FORMAT, (1,))[0]]}{tags[BITS][0] // 8}")
    header = Header(
        size, -(-width // size), -(-height // size), dtype, tags[SAMPLES][0], tags[COMPRESSION][0],
        tags[OFFSETS], tags[COUNTS],
    )  # fmt: skip
    return header, width, height


def _tags(first: bytes, order: str, at: int) -> dict[int, tuple[int, ...]]:
    (count,) = struct.unpack_from(order + "H", first, at)
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", first, entry)
        if kind in TYPES:
            layout = f"{order}{values}{TYPES[kind]}"
            inline = struct.calcsize(layout) <= 4
            where = entry + 8 if inline else struct.unpack_from(order + "I", first, entry + 8)[0]
            found[tag] = struct.unpack_from(layout, first, where)
    return found
