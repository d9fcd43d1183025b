"""From the command's options to stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cumulo.store import HTTPStore, from_url

if TYPE_CHECKING:
    from cumulo.store._native_store import NativeStore

    from .urls import Location

_RETRIES = 7
"""Fewer than the library's own: someone waits for the message that the endpoint is wrong."""

_ENDPOINT = {"s3": "endpoint", "gcs": "base_url", "azure": "endpoint"}
_FAMILY = {"s3": "aws_", "gcs": "google_", "azure": "azure_"}


@dataclass
class Connection:
    """How to reach the stores and as whom; one store a bucket, container or web server."""

    endpoint_url: str | None = None
    anonymous: bool = False
    region: str | None = None
    profile: str | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Sequence[tuple[str, str]] = ()
    _stores: dict[str, NativeStore] = field(default_factory=dict[str, "NativeStore"])

    def check(self, *places: Location) -> None:
        """Refuse options that can't be before anything is done.

        Raises:
            ValueError: the reason, for the user.
        """
        kinds = {place.kind for place in places if place.kind in _ENDPOINT}
        if self.endpoint_url and len(kinds) > 1:
            raise ValueError("--endpoint-url is for one of the two: give the other's as an option, such as "
                             "-o azure_endpoint=URL, -o google_base_url=URL or -o aws_endpoint=URL")  # fmt: skip
        for place in places:
            if place.remote:
                self.store(place)

    def store(self, place: Location) -> NativeStore:
        """The store that a location is in, with keys taken as they stand.

        Raises:
            ValueError: an option that can't be.
        """
        made = self._stores.get(place.root)
        if made is None:
            try:
                made = self._stores[place.root] = self._open(place)
            except ValueError as error:
                raise ValueError(str(error)) from error  # wrong usage, also where the library has a class of its own
        return made

    def _open(self, place: Location) -> NativeStore:
        options = self._options(place.kind)
        retry: Any = {"max_retries": _RETRIES}
        if place.kind == "http":  # whoever the host belongs to: what is signed is asked for as it stands
            plain = place.root.lower().startswith("http://")
            client: Any = {"allow_http": plain, **options, "default_headers": dict(self.headers)}
            return HTTPStore(place.root, client_options=client, retry_config=retry)
        made: Any = from_url(
            place.root,
            prefix="",
            raw_keys=True,
            client_options={"allow_http": True},  # who writes http:// into an endpoint means it
            retry_config=retry,
            **options,
        )
        return made

    def _options(self, kind: str) -> dict[str, Any]:
        """Those of this kind of store: an option that begins with another's name is not for it."""
        others = tuple(name for other, name in _FAMILY.items() if other != kind)
        options: dict[str, Any] = {
            name: value for name, value in self.options.items() if not name.lower().startswith(others)
        }
        if self.endpoint_url and kind in _ENDPOINT:
            options[_ENDPOINT[kind]] = self.endpoint_url
        if kind == "s3":
            options |= {name: value for name in ("region", "profile") if (value := getattr(self, name))}
        if self.anonymous and kind != "http":
            options["skip_signature"] = True
        return options

    def sent(self) -> int:
        """Bytes sent so far."""
        return self._count("bytes_sent")

    def received(self) -> int:
        """Bytes received so far."""
        return self._count("bytes_received")

    def _count(self, name: str) -> int:
        return sum(store.stats().get(name, 0) for store in self._stores.values())
