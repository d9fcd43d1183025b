"""From the command's options to stores."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from cumulo.store import S3Store

_RETRIES = 7
"""Fewer than the library's own: someone waits for the message that the endpoint is wrong."""

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


@dataclass
class Connection:
    """How to reach S3 and as whom; one store a bucket."""

    endpoint_url: str | None = None
    anonymous: bool = False
    region: str | None = None
    profile: str | None = None
    _stores: dict[str, S3Store] = field(default_factory=dict[str, S3Store])

    def store(self, bucket: str) -> S3Store:
        """The bucket's store, with keys taken as they stand.

        Raises:
            ValueError: an option that can't be.
        """
        made = self._stores.get(bucket)
        if made is None:
            try:
                made = self._stores[bucket] = self._open(bucket)
            except ValueError as error:
                raise ValueError(str(error)) from error  # wrong usage, also where the library has a class of its own
        return made

    def _open(self, bucket: str) -> S3Store:
        given: dict[str, Any] = {"endpoint": self.endpoint_url, "region": self.region, "profile": self.profile}
        options = {name: value for name, value in given.items() if value}
        if self.anonymous:
            options["skip_signature"] = True
        # Who writes http:// into an endpoint means it.
        plain = self._endpoint().lower().startswith("http://")
        return S3Store(
            bucket,
            raw_keys=True,
            client_options={"allow_http": True} if plain else None,
            retry_config={"max_retries": _RETRIES},
            **options,
        )

    def _endpoint(self) -> str:
        found = (os.environ.get(name) for name in _ENDPOINT_VARIABLES)
        return self.endpoint_url or next((url for url in found if url), "")

    def sent(self) -> int:
        """Bytes sent so far."""
        return self._count("bytes_sent")

    def received(self) -> int:
        """Bytes received so far."""
        return self._count("bytes_received")

    def _count(self, name: str) -> int:
        return sum(store.stats().get(name, 0) for store in self._stores.values())
