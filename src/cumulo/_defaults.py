"""The defaults that signatures show, apart from what uses them: to import the verbs is not to import the stores."""

from __future__ import annotations

from typing import Final

COALESCE: Final = 1024 * 1024
"""Bytes between ranges that still share a request."""
LIST_CHUNK: Final = 50
"""Objects in a chunk of a listing."""
PUT_CHUNK: Final = 5 * 1024 * 1024
"""Bytes of an upload's part."""
PUT_CONCURRENCY: Final = 12
"""Parts of an upload under way at a time."""
MANY_CONCURRENCY: Final = 64
"""Objects of `get_many` and `put_many` under way at a time."""
READ_BUFFER = 1024 * 1024
WRITE_BUFFER = 10 * 1024 * 1024
DELETE_CONCURRENCY: Final = 10
"""Requests of `delete_prefix` under way at a time."""
