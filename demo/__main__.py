"""Runs the demo: `python -m demo` in the checkout. The exit status is 1 if anything differs from what it should be."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cumulo.store import AzureStore, S3Store
from tests.servers import azurite

from . import imagery, steps, tiff
from .server import KEYS, create_bucket, forget_surroundings, s3_server
from .steps import Store

BUCKET = "demo"
MEGA = 1_000_000


class Report:
    """The table, and what differed."""

    def __init__(self) -> None:
        self.console = Console()
        self.differences: list[str] = []
        self._table = Table(title="what moved, and how fast", title_justify="left")
        self._table.add_column("step")
        for name in ("requests", "MB", "seconds", "MB/s", "requests/s"):
            self._table.add_column(name, justify="right")

    def row(self, step: str, requests: int | None, size: int, seconds: float) -> None:
        """One measured step."""
        rate = "" if requests is None else f"{requests / seconds:,.0f}"
        self._table.add_row(
            step, "" if requests is None else str(requests), f"{size / MEGA:.1f}", f"{seconds:.2f}",
            f"{size / MEGA / seconds:,.0f}", rate,
        )  # fmt: skip

    def check(self, what: str, same: bool) -> None:
        """Something that has to hold."""
        if not same:
            self.differences.append(what)

    def show(self) -> None:
        """Print it all."""
        self.console.print(self._table)
        for each in self.differences:
            self.console.print(f"DIFFERENT: {each}", style="bold red", markup=False)


class Measured:
    """One step of the demo, timed, with the requests that its store sent."""

    def __init__(self, report: Report, store: Store, where: str) -> None:
        self.where = where
        self._report = report
        self._store = store

    @contextlib.contextmanager
    def step(self, name: str, size: int) -> Iterator[None]:
        """Measure what is done inside."""
        before, started = self._store.stats()["requests"], time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self._report.row(f"{self.where}: {name}", self._store.stats()["requests"] - before, size, seconds)


def main() -> int:
    """The demo; its exit status."""
    forget_surroundings()
    report = Report()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cumulo-demo-") as name:
        directory = Path(name)
        made = make_images(report, directory / "made")
        on_s3(report, directory, made)
        on_azure(report, directory, made)
    report.show()
    verdict = "everything is what it was" if not report.differences else f"{len(report.differences)} things differ"
    report.console.print(f"{verdict}; {time.perf_counter() - started:.0f} seconds in all, the servers are stopped")
    return 1 if report.differences else 0


def on_s3(report: Report, directory: Path, made: dict[str, Path]) -> None:
    """The job on S3."""
    with s3_server(directory) as endpoint:
        create_bucket(endpoint, BUCKET)
        report.console.print(f"started a real S3 server (ministack) at {endpoint}")
        store = S3Store(
            BUCKET,
            endpoint=endpoint,
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )
        measured = Measured(report, store, "S3")
        move_files(report, measured, store, directory, made)
        started, size = time.perf_counter(), sum(path.stat().st_size for path in made.values())
        steps.download_by_command(endpoint, KEYS, BUCKET, directory / "command")
        report.row("S3: download, cumulo cp -r", None, size, time.perf_counter() - started)
        compare(report, made, directory / "command", "the command")
        read_tiles(report, measured, store, directory / "made", made)


def on_azure(report: Report, directory: Path, made: dict[str, Path]) -> None:
    """The same job on Azure: another store, the same calls."""
    with azurite.serve(directory) as server:
        report.console.print(f"started Microsoft's emulator of Azure Blob Storage (azurite) at {server.endpoint}")
        store = AzureStore(
            server.new_container(),
            account_name=server.account_name,
            account_key=server.account_key,
            endpoint=server.endpoint,
            client_options={"allow_http": True},
        )
        measured = Measured(report, store, "Azure")
        move_files(report, measured, store, directory, made)
        read_tiles(report, measured, store, directory / "made", made)


def compare(report: Report, made: dict[str, Path], directory: Path, way: str) -> None:
    """Each file against the one that was uploaded."""
    for name, path in made.items():
        report.check(f"{name} by {way}", steps.digest(directory / name) == steps.digest(path))
    report.console.print(f"compared {len(made)} SHA-256 checksums of downloads by {way}")


def make_images(report: Report, directory: Path) -> dict[str, Path]:
    """The images, by their keys."""
    started = time.perf_counter()
    made = {scene.name: imagery.make_cog(scene, directory, seed) for seed, scene in enumerate(imagery.SCENES)}
    size = sum(path.stat().st_size for path in made.values())
    seconds = time.perf_counter() - started
    report.console.print(f"made {len(made)} cloud-optimized GeoTIFFs, {size / MEGA:.0f} MB, in {seconds:.1f} s:")
    for scene in imagery.SCENES:
        megabytes = made[scene.name].stat().st_size / MEGA
        kind = f"{scene.pixels}x{scene.pixels}x{scene.bands} {scene.dtype}, {scene.profile}"
        report.console.print(f"  {scene.name:36} {megabytes:5.1f} MB  {kind}", highlight=False)
    return made


def move_files(report: Report, measured: Measured, store: Store, directory: Path, made: dict[str, Path]) -> None:
    """Up and down; the checksums are compared."""
    size, target = sum(path.stat().st_size for path in made.values()), directory / measured.where
    with measured.step("upload, asyncio", size):
        asyncio.run(steps.upload(store, directory / "made", made))
    with measured.step("download, asyncio", size):
        asyncio.run(steps.download(store, target, made))
    compare(report, made, target, f"the library from {measured.where}")


def read_tiles(report: Report, measured: Measured, store: Store, directory: Path, made: dict[str, Path]) -> None:
    """Headers, then every tile in three ways; the pixels are compared with rasterio's."""
    with measured.step("COG headers, asyncio", steps.HEADER_BYTES * len(made)):
        first = asyncio.run(steps.headers(store, made))
    parsed = {name: tiff.parse(content) for name, content in first.items()}
    places = {name: header.whole_tiles(width, height) for name, (header, width, height) in parsed.items()}
    spans = [(name, *parsed[name][0].span(*place)) for name, listed in places.items() for place in listed]
    size = sum(end - start for _, start, end in spans)
    with measured.step(f"{len(spans)} tiles, asyncio", size):
        read = asyncio.run(steps.tiles(store, spans))
    with measured.step(f"{len(spans)} tiles, get_ranges", size):
        together = asyncio.run(steps.tiles_together(store, spans))
    with measured.step(f"{len(spans)} tiles, futures", size):
        by_futures = steps.tiles_by_futures(store, spans)
    report.check("tiles by get_ranges", together == read)
    report.check("tiles by futures", by_futures == read)
    for name, listed in places.items():
        header = parsed[name][0]
        expected = imagery.tile_pixels(directory / name, header.tile_size, listed)
        for place, pixels in zip(listed, expected, strict=True):
            same = np.array_equal(header.decode(read[(name, *header.span(*place))]), pixels)
            report.check(f"tile {place} of {name}", same)
    report.console.print(f"compared the pixels of {len(spans)} tiles with what rasterio reads")


if __name__ == "__main__":
    sys.exit(main())
