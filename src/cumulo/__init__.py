"""Object storage for Python: S3, Google Cloud Storage, Azure, HTTP, local disk and memory behind one interface."""

# The build reads the version from this line; it stands nowhere else.
__version__ = "0.1.0"

from ._lazy import attach as _attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import exceptions as exceptions
    from . import futures as futures
    from . import runtime as runtime
    from . import store as store
    from . import transfer as transfer
    from ._files import ReadableFile, WritableFile
    from ._files_async import AsyncReadableFile, AsyncWritableFile
    from ._functions import (
        copy,
        copy_async,
        delete,
        delete_async,
        get,
        get_async,
        get_range,
        get_range_async,
        get_ranges,
        get_ranges_async,
        head,
        head_async,
        list,
        list_with_delimiter,
        list_with_delimiter_async,
        open_reader,
        open_reader_async,
        open_writer,
        open_writer_async,
        put,
        put_async,
        rename,
        rename_async,
        sign,
        sign_async,
    )
    from ._native import Bytes
    from ._operations.list import ListStream
    from ._operations.sign import HTTP_METHOD
    from ._result import BytesStream, GetResult
    from ._types import (
        Attribute,
        Attributes,
        GetOptions,
        ListChunkType,
        ListResult,
        ObjectMeta,
        OffsetRange,
        PutMode,
        PutResult,
        SuffixRange,
        UpdateVersion,
    )
    from .store._every import SignCapableStore
    from .store._urls import parse_scheme

# obstore's names. What goes beyond them is in `cumulo.futures`, `cumulo.runtime`, `cumulo.transfer` and on the stores.
__all__ = [
    "HTTP_METHOD",
    "AsyncReadableFile",
    "AsyncWritableFile",
    "Attribute",
    "Attributes",
    "Bytes",
    "BytesStream",
    "GetOptions",
    "GetResult",
    "ListChunkType",
    "ListResult",
    "ListStream",
    "ObjectMeta",
    "OffsetRange",
    "PutMode",
    "PutResult",
    "ReadableFile",
    "SignCapableStore",
    "SuffixRange",
    "UpdateVersion",
    "WritableFile",
    "__version__",
    "copy",
    "copy_async",
    "delete",
    "delete_async",
    "exceptions",
    "get",
    "get_async",
    "get_range",
    "get_range_async",
    "get_ranges",
    "get_ranges_async",
    "head",
    "head_async",
    "list",
    "list_with_delimiter",
    "list_with_delimiter_async",
    "open_reader",
    "open_reader_async",
    "open_writer",
    "open_writer_async",
    "parse_scheme",
    "put",
    "put_async",
    "rename",
    "rename_async",
    "sign",
    "sign_async",
    "store",
]

_TYPES = (
    "Attribute",
    "Attributes",
    "GetOptions",
    "ListChunkType",
    "ListResult",
    "ObjectMeta",
    "OffsetRange",
    "PutMode",
    "PutResult",
    "SuffixRange",
    "UpdateVersion",
)
_HOMES = {
    **dict.fromkeys(__all__, "cumulo._functions"),
    **dict.fromkeys(_TYPES, "cumulo._types"),
    "HTTP_METHOD": "cumulo._operations.sign",
    "AsyncReadableFile": "cumulo._files_async",
    "AsyncWritableFile": "cumulo._files_async",
    "Bytes": "cumulo._native",
    "BytesStream": "cumulo._result",
    "GetResult": "cumulo._result",
    "ListStream": "cumulo._operations.list",
    "exceptions": "cumulo.exceptions",
    "futures": "cumulo.futures",
    "ReadableFile": "cumulo._files",
    "SignCapableStore": "cumulo.store._every",
    "WritableFile": "cumulo._files",
    "parse_scheme": "cumulo.store._urls",
    "runtime": "cumulo.runtime",
    "store": "cumulo.store",
    "transfer": "cumulo.transfer",
}

__getattr__, __dir__ = _attach(globals(), _HOMES)
