"""What a credential provider says of its store, in attributes: options in `config`, and `prefix`. Given ones go first.

A third one, `refresh_threshold`, is the refresher's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from cumulo._given import given_as

if TYPE_CHECKING:
    from cumulo._config.options import Table


def config_with(
    provider: object, table: Table, config: Mapping[str, Any] | None, *given: Mapping[str, Any]
) -> Mapping[str, Any]:
    """`config`, and what the provider's has beside it and what else is `given`."""
    config = given_as("config", config)
    said: object = getattr(provider, "config", None)
    if said is None:
        return config
    if not isinstance(said, Mapping):
        raise TypeError(f"credential_provider.config must be a dict of options, not {type(said).__name__}")
    known: set[str | None] = set()
    for source in (config, *given):
        known.update(table.name_of(key) for key, value in source.items() if value is not None)
    more = cast("Mapping[str, Any]", said)
    return {**{key: value for key, value in more.items() if table.name_of(key) not in known - {None}}, **config}


def prefix_with(provider: object, prefix: str | None) -> str | None:
    """The prefix given, or the provider's."""
    said: object = getattr(provider, "prefix", None)
    if prefix is not None or said is None:
        return prefix
    if not isinstance(said, str):
        raise TypeError(f"credential_provider.prefix must be a str, not {type(said).__name__}")
    return said
