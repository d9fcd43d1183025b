"""`ObjectStoreMethods`: every verb of every store, in its three ways.

A store class supplies plans (`_plan_<verb>`, generators that know no I/O); the methods here run them on the calling
thread, on the running event loop, or, through `store.futures`, in the background.
"""

from __future__ import annotations

from ._futures import StoreFutures
from ._lists import Lists
from ._reads import Reads
from ._writes import Writes


class ObjectStoreMethods(Reads, Writes, Lists):
    """The verbs. Errors are those of `cumulo.exceptions`; wrong arguments are `ValueError` or `TypeError`."""

    @property
    def futures(self) -> StoreFutures:
        """The same verbs as `concurrent.futures.Future`s."""
        return StoreFutures(self)

    def stats(self) -> dict[str, int]:
        """Counters of this store's requests in this process; empty where there are none."""
        return {}
