"""What cumulo raises.

    BaseError
    ├── GenericError                    anything without a class of its own
    │   ├── RequestTimeoutError         also TimeoutError
    │   ├── ConnectionFailedError       also ConnectionError
    │   ├── ServerError                 5xx
    │   │   └── ThrottledError          429, SlowDown
    │   ├── RangeNotSatisfiableError    416; also ValueError
    │   ├── ChecksumError               the body does not match its checksum
    │   ├── ObjectChangedError          the object was replaced while it was read
    │   ├── SourceChangedError          the file was changed while it was uploaded
    │   ├── LocalFileError              the file that an object goes to can't be written; also OSError
    │   └── ForkedError                 the call was made before a fork, in the parent
    ├── NotFoundError                   also FileNotFoundError
    ├── AlreadyExistsError              also FileExistsError
    ├── PreconditionError               an if_match, if_unmodified_since or update condition does not hold
    ├── NotModifiedError                an if_none_match or if_modified_since condition does not hold
    ├── PermissionDeniedError           also PermissionError
    ├── UnauthenticatedError            also PermissionError
    ├── MissingExtraError               a package that this needs is not installed; also ImportError
    ├── InvalidPathError                also ValueError
    ├── NotSupportedError               also NotImplementedError
    ├── UnknownConfigurationKeyError    also ValueError
    └── JoinError                       never raised; here because obstore has it

Each carries what is known of the failed call, see `BaseError`. Wrong arguments are plain `ValueError` or `TypeError`,
raised before any request.
"""

from __future__ import annotations

import builtins
import os
from typing import Any

__all__ = [
    "AlreadyExistsError",
    "BaseError",
    "ChecksumError",
    "ConnectionFailedError",
    "ForkedError",
    "GenericError",
    "InvalidPathError",
    "JoinError",
    "LocalFileError",
    "MissingExtraError",
    "NotFoundError",
    "NotModifiedError",
    "NotSupportedError",
    "ObjectChangedError",
    "PermissionDeniedError",
    "PreconditionError",
    "RangeNotSatisfiableError",
    "RequestTimeoutError",
    "ServerError",
    "SourceChangedError",
    "ThrottledError",
    "UnauthenticatedError",
    "UnknownConfigurationKeyError",
]


class BaseError(Exception):
    """The base of all errors of this package.

    Attributes:
        operation: the verb that failed, such as `"get"`.
        store: the store, as its `repr` gives it (never with secrets).
        path: the object's path.
        status: the HTTP status of the last response, or None if there was none.
        code: the provider's error code, such as `"NoSuchKey"`.
        request_id: the provider's id of the last request, for its support.
        attempts: how many requests were sent.
        body: the start of the error response's body (64 KiB at most).
    """

    operation: str | None = None
    store: str | None = None
    path: str | None = None
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    attempts: int = 0
    body: bytes = b""

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message)
        self.__dict__.update(details)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), str(self), dict(self.__dict__))


def _rebuilt(kind: type[BaseError], message: str, details: dict[str, Any]) -> BaseError:
    return kind(message, **details)


class GenericError(BaseError):
    """A failure without a class of its own."""


class RequestTimeoutError(GenericError, builtins.TimeoutError):
    """No progress for `read_timeout`, no connection within `connect_timeout`, the call's `timeout` is over, or the
    server has waited too long for the request (408, `RequestTimeout`).
    """


class ConnectionFailedError(GenericError, builtins.ConnectionError):
    """The server can't be reached, isn't who it should be, or went away and stayed away; or this process may open no
    more connections.
    """


class ServerError(GenericError):
    """The server answered 5xx, also after retries."""


class ThrottledError(ServerError):
    """The server asked to slow down, also after retries."""


class RangeNotSatisfiableError(GenericError, ValueError):
    """The range starts behind the object's end."""


class ChecksumError(GenericError):
    """The content does not match the checksum the server sent with it: where one request brings it, twice in a row."""


class ObjectChangedError(GenericError):
    """The object was replaced between two requests for parts of it."""


class SourceChangedError(GenericError):
    """The file that is uploaded was cut, extended or written to meanwhile.

    An upload in parts is aborted. Where one request carried the file, an object may be there, of the file's content at
    different times.
    """


class LocalFileError(GenericError, OSError):
    """The local file that an object was to go to can't be made or written: a full disk, a read-only directory, a
    directory in its place.

    Attributes:
        errno: what the system said, such as `errno.ENOSPC`; `strerror` is its text.
        filename: the file, as the call named it.
    """

    def __init__(
        self, message: str = "", *, errno: int | None = None, filename: str | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.errno = errno
        self.strerror = os.strerror(errno) if errno else None
        self.filename = filename

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), str(self), {**self.__dict__, "errno": self.errno, "filename": self.filename})


class ForkedError(GenericError):
    """The call was under way in the parent process when this one was forked."""


class NotFoundError(BaseError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class AlreadyExistsError(BaseError, FileExistsError):
    """The object exists, and the call was not to overwrite it."""


class PreconditionError(BaseError):
    """A condition of the call does not hold."""


class NotModifiedError(BaseError):
    """The object has not changed as the call's condition asked."""


class PermissionDeniedError(BaseError, PermissionError):
    """The credentials are known but don't allow this."""


class UnauthenticatedError(BaseError, PermissionError):
    """There are no credentials, or they are wrong or expired."""


class MissingExtraError(BaseError, ImportError):
    """What was asked for is done with a package that is not installed; the message names the extra that brings it."""


class InvalidPathError(BaseError, ValueError):
    """A path the store can't hold."""


class NotSupportedError(BaseError, NotImplementedError):
    """The store can't do this."""


class UnknownConfigurationKeyError(BaseError, ValueError):
    """A configuration key the store does not know."""


class JoinError(BaseError):
    """Never raised. Here because obstore has it."""
