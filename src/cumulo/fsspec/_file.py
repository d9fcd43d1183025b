"""`BufferedFile`: cumulo's readers and writers with what fsspec adds to a file: transactions, details, pickles."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

from cumulo import open_reader, open_writer

from ._untyped import AbstractBufferedFile

if TYPE_CHECKING:
    from types import TracebackType

    from cumulo import Attributes

    from ._store import FsspecStore

_READ_BUFFER_BYTES = 1024 * 1024
_WRITE_BUFFER_BYTES = 10 * 1024 * 1024


class BufferedFile(AbstractBufferedFile):
    """An object as a file of fsspec's. `cumulo.open_reader` and `cumulo.open_writer` give the same without fsspec.

    Args:
        fs: the file system.
        path: the object.
        mode: `"rb"`; or `"wb"`, and `"xb"` where there must be no such object yet.
        buffer_size: as `open_reader` and `open_writer` take it. Default: `block_size`, else 1 MiB and 10 MiB.
        attributes: what to store with the object.
        tags: the object's tags.
        block_size: the same as `buffer_size`, by fsspec's name.
        autocommit: False leaves it to `commit` and `discard` whether what was written is published.
        size: the object's size, where it is known: there is no request for it then.
        **kwargs: taken as other files of fsspec's do; nothing is done about it (`cache_type`, `cache_options`).
    """

    mode: str

    def __init__(
        self,
        fs: FsspecStore,
        path: str,
        mode: Literal["rb", "wb", "xb"] = "rb",
        *,
        buffer_size: int | None = None,
        attributes: Attributes | None = None,
        tags: dict[str, str] | None = None,
        block_size: int | str | None = None,
        autocommit: bool = True,
        size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if mode not in ("rb", "wb", "xb"):
            raise ValueError(f"mode must be 'rb', 'wb' or 'xb', not {mode!r}: objects can't be changed in place")
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self.kwargs = kwargs
        self._file: Any = None
        given = buffer_size or (block_size if isinstance(block_size, int) else None)
        store, key = fs.store_and_file(path)
        if mode == "rb":
            self.blocksize = given or _READ_BUFFER_BYTES
            self._file = open_reader(store, key, buffer_size=self.blocksize, size=size)
            self.size = self._file.size
            return
        if mode == "xb" and fs.exists(path):
            raise FileExistsError(path)
        self.blocksize = given or _WRITE_BUFFER_BYTES
        self._over = False
        self._file = open_writer(
            store, key, attributes=attributes, tags=tags, buffer_size=self.blocksize,
            mode="create" if mode == "xb" else "overwrite",
        )  # fmt: skip

    def _reader(self) -> Any:
        if self.mode != "rb":
            raise io.UnsupportedOperation("the file is open for writing")
        return self._file

    # -- reading

    def read(self, length: int | None = -1) -> bytes:
        """So many bytes; all there are for -1 and None."""
        return self._reader().read(-1 if length is None or length < 0 else length)

    def readinto(self, b: Any) -> int:
        """Fill a buffer."""
        return self._reader().readinto(b)

    readinto1 = readinto

    def readline(self, size: int | None = -1) -> bytes:
        """The next line."""
        return self._reader().readline(size)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The lines that are left."""
        return self._reader().readlines(hint)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """Up to the next `char`, and with it."""
        if char == b"\n" and blocks is None:
            return self.readline()
        return AbstractBufferedFile.readuntil(self, char, blocks)

    def __next__(self) -> bytes:
        return next(self._reader())

    def seek(self, loc: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._reader().seek(loc, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    @property
    def loc(self) -> int:
        """The position."""
        return self.tell()

    # -- writing

    def write(self, data: Any) -> int:
        """Write all of a buffer."""
        if self.mode == "rb":
            raise io.UnsupportedOperation("the file is open for reading")
        if self._over:
            raise ValueError("I/O operation on closed file")
        return self._file.write(data)

    def flush(self, force: bool = False) -> None:
        """Nothing: an object is there as a whole or not at all."""
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def commit(self) -> None:
        """Publish what was written with `autocommit=False`."""
        if self.mode != "rb":
            self._over = True
            self._file.close()

    def discard(self) -> None:
        """Publish nothing."""
        if self.mode != "rb":
            self._over = True
            self._file.discard()

    # -- the end

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        file = getattr(self, "_file", None)
        return file is None or bool(file.closed) or getattr(self, "_over", False)

    def close(self) -> None:
        """Publish, unless that is left to `commit`."""
        if self._file is None:
            return
        if self.mode == "rb":
            self._file.close()
            return
        self._over = True
        if self.autocommit:
            self._file.close()

    def _dealloc_warn(self, source: object) -> None:
        if self.mode != "rb":
            self._file._dealloc_warn(source)

    def __del__(self) -> None:
        self._file = None  # a writer that nobody closed publishes nothing, and says so

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.mode != "rb":
            raise TypeError("a file that is being written can't be pickled")
        return _reopened, (self.fs, self.path, self.blocksize, self.tell())


def _reopened(fs: FsspecStore, path: str, block_size: int, at: int) -> BufferedFile:
    file = BufferedFile(fs, path, block_size=block_size)
    file.seek(at)
    return file


class TextFile(io.TextIOWrapper):
    """Text over a file that can be discarded. Leaving its `with` block by an error publishes nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        discard = getattr(self.buffer, "discard", None)
        if kind is not None and discard is not None:
            discard()
        else:
            super().__exit__(kind, error, traceback)


class PackedFile:
    """A file that is compressed while it is written: closed and discarded together with the one it goes to."""

    def __init__(self, packer: Any, file: BufferedFile) -> None:
        self._packer = packer
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packer, name)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    def close(self) -> None:
        """Write the rest, and publish."""
        if not self._file.closed:
            self._packer.close()
            self._file.close()

    def discard(self) -> None:
        """Publish nothing."""
        self._file.discard()

    def __enter__(self) -> PackedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
