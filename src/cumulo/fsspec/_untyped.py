"""What is taken of fsspec, which has no types: here once, as `Any`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def _of(module: str, name: str) -> Any:
    return getattr(import_module(f"fsspec.{module}"), name)


AsyncFileSystem: Any = _of("asyn", "AsyncFileSystem")
AbstractBufferedFile: Any = _of("spec", "AbstractBufferedFile")
NoOpCallback: Any = _of("callbacks", "NoOpCallback")
DEFAULT_CALLBACK: Any = _of("callbacks", "DEFAULT_CALLBACK")
compressions: Any = _of("compression", "compr")
get_compression: Any = _of("core", "get_compression")
get_loop: Any = _of("asyn", "get_loop")
make_path_posix: Any = _of("implementations.local", "make_path_posix")
register_implementation: Any = _of("registry", "register_implementation")
