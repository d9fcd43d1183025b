"""The stores."""

from cumulo._config import BackoffConfig, ClientConfig, RetryConfig, S3Config

from ._base import ObjectStoreMethods
from .local import LocalStore
from .memory import MemoryStore
from .s3 import S3Store

__all__ = [
    "BackoffConfig",
    "ClientConfig",
    "LocalStore",
    "MemoryStore",
    "ObjectStoreMethods",
    "RetryConfig",
    "S3Config",
    "S3Store",
]
