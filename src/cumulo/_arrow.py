"""Listings as arro3's tables: the extension has made the rows (`Columns`), here they only get the type that users know.

arro3 is imported when it is first asked for: it is an extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._native import ListError
from .exceptions import GenericError, MissingExtraError

if TYPE_CHECKING:
    from arro3.core import RecordBatch, Table

    from ._native import Columns


def check() -> None:
    """Raises `MissingExtraError` where there is no arro3."""
    try:
        import arro3.core  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise MissingExtraError("return_arrow needs arro3-core: pip install 'cumulo[arrow]'") from error


def record_batch(columns: Columns) -> RecordBatch:
    """The rows' own memory as a record batch."""
    from arro3.core import RecordBatch

    try:
        return RecordBatch.from_arrow(columns)
    except ListError as error:
        raise GenericError(f"list: {error}", operation="list") from error


def table(columns: Columns) -> Table:
    """The rows' own memory as a table of one batch."""
    from arro3.core import Table

    return Table.from_batches([record_batch(columns)])
