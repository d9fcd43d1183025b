"""Every Python block of the documentation runs and prints what it says, but for a counted few."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cumulo.store import S3Store
from tests.servers import S3Server, sentinel

from .snippets import PAGES, blocks, name

BUCKET = "my-bucket"
SERVERS = {"public-data.md": "moto"}
"""Pages that need another server: one with a bucket that anybody may read."""
NOT_RUN = 2
"""How many blocks are only shown. Each says why in its page."""


@pytest.fixture
def surroundings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """An empty directory, and an environment that leads `S3Store("my-bucket")` to an empty bucket of a real server."""
    monkeypatch.chdir(tmp_path)
    for variable in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BUCKET", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    server: S3Server = request.getfixturevalue(SERVERS.get(request.node.callspec.params["page"].name, "ministack"))
    if server.name == "moto":
        sentinel.fill(server)
    variables = {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if BUCKET not in [bucket["Name"] for bucket in server.boto3.list_buckets()["Buckets"]]:
        server.boto3.create_bucket(Bucket=BUCKET)
    store = S3Store(BUCKET, raw_keys=True)
    store.delete([meta["path"] for meta in store.list().collect()])
    yield monkeypatch
    store.delete([meta["path"] for meta in store.list().collect()])


@pytest.mark.parametrize("page", [pytest.param(page, id=name(page)) for page in PAGES if blocks(page)])
def test_the_blocks_of_a_page_run(page: Path, surroundings: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.not_run is None:
            printed = block.run(namespace)
            if block.output:
                assert printed == block.output, f"{name(page)}:{block.line}"


def test_blocks_that_are_not_run_are_counted_and_are_python() -> None:
    shown = [block for page in PAGES for block in blocks(page) if block.not_run is not None]
    for block in shown:
        ast.parse(block.code)
    assert len(shown) == NOT_RUN
