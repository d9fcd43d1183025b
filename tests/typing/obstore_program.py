"""What a program annotates that was written with obstore's documented types: checked by pyright, never run."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cumulo as obs
from cumulo import Bytes, GetResult, ListResult, ListStream, ObjectMeta
from cumulo.store import (
    AzureConfig,
    AzureStore,
    ClientConfig,
    GCSConfig,
    GCSStore,
    HTTPStore,
    LocalStore,
    ObjectStore,
    RetryConfig,
    S3Config,
    S3Store,
    from_url,
)


def made(url: str) -> tuple[ObjectStore, str]:
    store: ObjectStore = from_url(url, region="us-east-1")
    match store:
        case S3Store() | GCSStore() | AzureStore():
            return store, store.prefix or ""
        case HTTPStore():
            return store, store.url
        case LocalStore():
            return store, str(store.prefix)
        case _:
            return store, ""


def options(
    s3: S3Store, gcs: GCSStore, azure: AzureStore
) -> tuple[S3Config, GCSConfig, AzureConfig, ClientConfig | None, RetryConfig | None]:
    return s3.config, gcs.config, azure.config, s3.client_options, s3.retry_config


def copied(s3: S3Store) -> S3Store:
    return S3Store(config=s3.config, prefix=s3.prefix, client_options=s3.client_options, retry_config=s3.retry_config)


def results(store: ObjectStore) -> tuple[Bytes, Sequence[Bytes], Sequence[str]]:
    found: GetResult = obs.get(store, "a", options={"range": {"suffix": 3}})
    listed: ListStream[Sequence[ObjectMeta]] = obs.list(store, "dir", chunk_size=10)
    level: ListResult[Sequence[ObjectMeta]] = obs.list_with_delimiter(store)
    paths = [meta["path"] for page in listed for meta in page]
    return found.bytes(), store.get_ranges("a", starts=[0], lengths=[1]), [*paths, *level["common_prefixes"]]


def files(store: ObjectStore) -> tuple[str, bool, bool]:
    """What takes a binary file takes these; `closed` is `io`'s and obstore's."""
    reader, writer = obs.open_reader(store, "a"), obs.open_writer(store, "b")
    with io.TextIOWrapper(reader) as text, io.TextIOWrapper(writer) as target:
        target.write(text.read())
    closed: bool = reader.closed
    return "", closed, writer.closed()
