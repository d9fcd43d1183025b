"""From a user's path to an object's key and back.

One leading and one trailing slash of a path are ignored, as in obstore; everything else is stored as it is written
(`a//b`, `./x`, `x/..`, newlines). With `raw_keys` nothing is touched at all.
"""

from __future__ import annotations

from cumulo._records import record

from .exceptions import InvalidPathError


@record(frozen=True)
class Keys:
    """The rule of one store: its prefix (without slashes at the ends, or raw) and whether keys are raw."""

    prefix: str = ""
    raw: bool = False

    @staticmethod
    def of(prefix: str | None, *, raw: bool) -> Keys:
        """From what a store's constructor is given."""
        if prefix is None:
            return Keys("", raw)
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        try:
            prefix.encode()
        except UnicodeEncodeError as error:
            raise InvalidPathError(f"the prefix {prefix!r} can't be encoded as UTF-8") from error
        return Keys(prefix if raw else _trimmed(prefix), raw)

    def key(self, path: str) -> str:
        """The key of an object. An empty path is the object that the store's prefix names.

        Raises:
            InvalidPathError: the path is empty, and so is the prefix.
        """
        _check_type(path)
        plain = path if self.raw else _trimmed(path)
        if plain:
            return self._join(plain)
        if not self.prefix:
            raise _empty(path)
        return self.prefix

    def written_key(self, path: str) -> str:
        """The key of what is written, moved or deleted: never what the prefix itself names.

        Raises:
            InvalidPathError: the path is empty, which is a mistake more often than that object's name.
        """
        key = self.key(path)
        if not (path if self.raw else _trimmed(path)):
            raise _empty(path)
        return key

    def list_prefix(self, prefix: str | None, *, substring: bool = False) -> str:
        """What a listing's keys begin with: whole segments; with raw keys, or `substring`, anything."""
        if prefix is not None:
            _check_type(prefix)
        if self.raw:
            return self.prefix + (prefix or "")
        if substring:
            return self.strip + (prefix or "").removeprefix("/")
        plain = _trimmed(prefix or "")
        whole = "/".join(part for part in (self.prefix, plain) if part)
        return whole + "/" if whole else ""

    def offset(self, offset: str) -> str:
        """The key behind which a listing starts."""
        _check_type(offset)
        return self._join(offset if self.raw else offset.removeprefix("/"))

    def as_listed(self) -> Keys:
        """The rule for paths that a listing has given: they stand for the keys they were cut from, whole."""
        return _ListedKeys(self.strip, raw=True)

    @property
    def strip(self) -> str:
        """What is cut from keys to get paths."""
        return self.prefix if self.raw or not self.prefix else self.prefix + "/"

    def _join(self, plain: str) -> str:
        if not self.prefix:
            return plain
        return self.prefix + plain if self.raw else f"{self.prefix}/{plain}"


class _ListedKeys(Keys):
    """What was cut from the keys is the prefix; the path of an object that has nothing else is empty."""

    def key(self, path: str) -> str:
        return self.prefix + path


class URLKeys(Keys):
    """The rule of a store below a URL. Servers resolve `.` and `..`, and so out of that URL: these are refused."""

    def key(self, path: str) -> str:
        """The path below the URL; an empty one is what the URL itself names."""
        _check_type(path)
        key = _trimmed(path)
        if "." in key and not {".", ".."}.isdisjoint(key.split("/")):
            raise InvalidPathError(f"{path!r}: a path can't have segments '.' or '..' in a URL", path=path)
        return key


def _empty(path: str) -> InvalidPathError:
    return InvalidPathError("the path of an object can't be empty", path=path)


def _trimmed(path: str) -> str:
    path = path.removeprefix("/")
    return path.removesuffix("/")


def _check_type(path: object) -> None:
    if not isinstance(path, str):
        raise TypeError(f"a path must be a str, not {type(path).__name__}")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InvalidPathError(f"the path {path!r} can't be encoded as UTF-8", path=path) from error
