"""list_versions, and verbs that name a version, on stores that keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cumulo._drivers.effects import END, Plan

from .list import check_token

if TYPE_CHECKING:
    from cumulo._providers.base import VersionProvider


class VersionPages:
    """The pages of a listing of versions. `next_page` gives the next, or `END`."""

    def __init__(self, provider: VersionProvider, prefix: str) -> None:
        self._provider = provider
        self._prefix = prefix
        self._token: Any = None
        self._seen: set[Any] = set()
        self._ended = False

    def next_page(self) -> Plan[Any]:
        if self._ended:
            return END
        request = self._provider.list_versions(self._prefix, self._token)
        yield request
        page = self._provider.versions(request)
        check_token(page, self._seen, request)
        self._token = page.token
        self._ended = page.token is None
        return page
