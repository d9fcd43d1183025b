"""Every store keeps all of obspec's protocols: checked by pyright and mypy, never run."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import obspec

from cumulo.store import AzureStore, GCSStore, HTTPStore, LocalStore, MemoryStore, ObjectStoreMethods, S3Store


class Everything(
    obspec.Copy,
    obspec.CopyAsync,
    obspec.Delete,
    obspec.DeleteAsync,
    obspec.Get,
    obspec.GetAsync,
    obspec.GetRange,
    obspec.GetRangeAsync,
    obspec.GetRanges,
    obspec.GetRangesAsync,
    obspec.Head,
    obspec.HeadAsync,
    obspec.List,
    obspec.ListAsync,
    obspec.ListWithDelimiter,
    obspec.ListWithDelimiterAsync,
    obspec.Put,
    obspec.PutAsync,
    obspec.Rename,
    obspec.RenameAsync,
    Protocol,
):
    """All of obspec's protocols of stores."""


Store: TypeAlias = AzureStore | GCSStore | HTTPStore | LocalStore | MemoryStore | S3Store


def kept_by_each(store: Store) -> Everything:
    """The union is assignable if each of its stores is."""
    return store


def kept_by_their_base(store: ObjectStoreMethods) -> Everything:
    """What functions that take any store are given."""
    return store


def results(store: ObjectStoreMethods) -> tuple[obspec.GetResult, obspec.GetResultAsync]:
    """A `get` result is read in both ways."""
    result = store.get("path")
    return result, result
