"""The process's transfer budget: one set of event loops, connections and buffers for all stores together.

The budget gates what is fetched ahead, what an upload holds, and how many connections there are. What a caller has
asked for always gets its memory, and what Python holds is counted but never waited for, so nothing can deadlock on it.
"""

from __future__ import annotations

from cumulo import _native

__all__ = ["configure", "enable_logging", "stats"]


def configure(*, threads: int | None = None, connections: int | None = None, memory_bytes: int | None = None) -> None:
    """Set the process's budget; what is left out stays as it is.

    Args:
        threads: event loops, each a thread; no more than `connections`. Default: the processors this process may use,
            at most 4. Before the first transfer only.
        connections: the most connections of the process, open or being opened; those of `bulk_client="crt"` are
            apart. Default: half the limit of open files, at most 1,024. Before the first transfer only. (A store's
            `max_connections` client option bounds those to one endpoint.)
        memory_bytes: buffers that are fetched ahead of their consumer, parts of uploads from iterators beyond one an
            upload, and buffers kept for reuse. Default: 1 GiB.

    Raises:
        ValueError: not a positive integer, or larger than anything it could count; then nothing is set.
        RuntimeError: too late for `threads` or `connections`.
    """
    _native.configure(threads=threads, connections=connections, memory_bytes=memory_bytes)


def stats() -> dict[str, int]:
    """What the process holds now.

    Returns:
        `threads` and `connections`; `requests` under way; `buffer_bytes` in use, by Python too; `idle_buffer_bytes`
        kept for reuse (given back after five idle seconds); `memory_bytes`, the budget. Of the requests under way,
        `in_flight` are with a server and `paced` wait for their turn at one that has asked to slow down; `windows` is
        how many limits there are because of that (see `S3Store.stats`).
    """
    return _native.runtime_stats()


def enable_logging(level: int = 20) -> None:
    """Send the engine's events to the `cumulo` logger: retries and failures (INFO), lost connections (WARNING), more
    (DEBUG). `level` 0 ends it. Lines name methods, hosts and keys; never queries, header values or secrets.

    Until this is called, logging costs nothing. A forked child starts with it off.
    """
    import logging  # here: it takes as long to import as the rest of the package

    _native.enable_logging(level, logging.getLogger("cumulo"))
