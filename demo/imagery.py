"""Deterministic synthetic imagery as cloud-optimized GeoTIFFs, and what rasterio says is in their tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_translate
from rio_cogeo.profiles import cog_profiles

TILE = 256


@dataclass(frozen=True)
class Scene:
    """What one image is like."""

    name: str
    pixels: int
    bands: int
    dtype: str
    profile: str


SCENES = (
    Scene("scenes/2024/red_edge.tif", 2816, 1, "uint16", "raw"),
    Scene("scenes/2024/rgb.tif", 3072, 3, "uint8", "deflate"),
    Scene("scenes/2025/rgb.tif", 2048, 3, "uint8", "raw"),
    Scene("scenes/2025/swir.tif", 2560, 2, "uint16", "deflate"),
    Scene("scenes/2025/heights (metres).tif", 2048, 1, "float32", "deflate"),
)


def make_cog(scene: Scene, directory: Path, seed: int) -> Path:
    """Write one image."""
    path = directory / scene.name
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "width": scene.pixels, "height": scene.pixels, "count": scene.bands, "dtype": scene.dtype,
        "crs": "EPSG:32633", "transform": from_origin(400_000, 5_800_000, 10, 10),
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as plain:
            plain.write(_pixels(scene, seed))
        with memory.open() as plain:
            how = {**cog_profiles.get(scene.profile), "blockxsize": TILE, "blockysize": TILE}
            cog_translate(plain, path, how, in_memory=True, quiet=True)
    return path


def _pixels(scene: Scene, seed: int) -> np.ndarray:
    """Hills with sensor noise: smooth enough to look like land, noisy enough not to compress to nothing."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : scene.pixels, 0 : scene.pixels].astype("float32") / scene.pixels
    size = (scene.bands, scene.pixels, scene.pixels)
    top = 250 if scene.dtype == "uint8" else 10_000
    hills = np.sin(9 * x + seed) * np.cos(7 * y - seed) * 0.35 + 0.5
    noise = random.random(size, dtype="float32") * 0.15
    return ((hills[None] + noise) * top).clip(0, top).astype(scene.dtype)


def tile_pixels(path: Path, size: int, tiles: list[tuple[int, int]]) -> list[np.ndarray]:
    """Tiles by (row, column) as rasterio reads them, in the order of the file: rows, columns, bands."""
    with rasterio.open(path) as image:
        read = [image.read(window=Window(column * size, row * size, size, size)) for row, column in tiles]
    return [np.moveaxis(each, 0, -1) for each in read]
