"""Names for any of several stores. Of their own, since they import all of them."""

from __future__ import annotations

from typing import TypeAlias

from .azure import AzureStore
from .gcs import GCSStore
from .http import HTTPStore
from .local import LocalStore
from .memory import MemoryStore
from .s3 import S3Store

__all__ = ["ObjectStore", "SignCapableStore"]

ObjectStore: TypeAlias = AzureStore | GCSStore | HTTPStore | S3Store | LocalStore | MemoryStore
"""Any store, for annotations and `isinstance`."""

SignCapableStore: TypeAlias = AzureStore | GCSStore | S3Store
"""A store that can `sign` URLs."""
