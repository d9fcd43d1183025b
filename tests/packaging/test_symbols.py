"""The extension shows the dynamic linker one symbol: what it links in can't be mistaken for anybody else's."""

import shutil
import subprocess
import sys

import pytest

import cumulo._native


def _exported(path: str) -> set[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    options = ["-gU"] if sys.platform == "darwin" else ["-D", "--defined-only"]
    listing = subprocess.run([nm, *options, path], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].removeprefix("_" if sys.platform == "darwin" else "") for line in listing.splitlines()}


def test_only_the_init_function_is_exported() -> None:
    assert _exported(cumulo._native.__file__) == {"PyInit__native"}


def test_nothing_but_system_libraries_is_needed() -> None:
    """The wheel brings its own TLS and crypto: a machine's OpenSSL is never asked for."""
    readelf = shutil.which("readelf")
    if readelf is None or sys.platform != "linux":
        pytest.skip("readelf is not installed")
    dynamic = subprocess.run(
        [readelf, "-d", cumulo._native.__file__], check=True, capture_output=True, text=True
    ).stdout
    needed = {line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line}
    names = {name.split(".so")[0] for name in needed}
    assert names <= {"libc", "libm", "libpthread", "libdl", "librt", "libc.musl-x86_64", "libc.musl-aarch64"} | {
        name for name in names if name.startswith("ld-linux")
    }
