"""The example that obstore was announced with, on a twin of the public bucket: with either library the same."""

from __future__ import annotations

import asyncio
from typing import Any

import obstore
import obstore.store
import pytest

import cumulo
import cumulo.store
from tests.servers import S3Server, sentinel

LIBRARIES = pytest.mark.parametrize("library", [obstore, cumulo], ids=["obstore", "cumulo"])


@pytest.fixture
def twin(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The code below names no server: the environment does."""
    sentinel.fill(moto)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    return moto


@LIBRARIES
def test_a_scene_by_its_url(library: Any, twin: S3Server) -> None:
    url = f"s3://{sentinel.BUCKET}/{sentinel.SCENE}"
    store = library.store.from_url(url, region="us-west-2", skip_signature=True)
    items = store.list_with_delimiter()
    assert items["common_prefixes"] == []
    assert [meta["path"] for meta in items["objects"]] == sentinel.names()
    thumbnail = library.get(store, "thumbnail.jpg")
    assert thumbnail.meta["size"] == len(sentinel.THUMBNAIL)
    assert bytes(thumbnail.bytes()) == sentinel.THUMBNAIL


@LIBRARIES
def test_a_scene_in_its_bucket(library: Any, twin: S3Server) -> None:
    store = library.store.S3Store(sentinel.BUCKET, region="us-west-2", skip_signature=True)
    items = library.list_with_delimiter(store, sentinel.SCENE)
    assert len(items["objects"]) == len(sentinel.names())

    async def read() -> bytes:
        response = await library.get_async(store, f"{sentinel.SCENE}/thumbnail.jpg")
        return b"".join([bytes(chunk) async for chunk in response.stream()])

    assert asyncio.run(read()) == sentinel.THUMBNAIL
