"""The commands on stores other than S3: each against its server, and copies from one to another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cumulo.store import GCSStore
from tests.contract.conftest import gcs_store
from tests.faults import FaultServer, Object, Response
from tests.http.support import web_store
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GCSServer

from .support import Bucket, files

Run = Callable[..., Any]
MIB = 1 << 20
KINDS = ("gcs", "azurite", "webdav")


@pytest.fixture
def places(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The URL of an empty place at a server, with all that its store needs in the environment."""

    def place(kind: str) -> str:
        server = request.getfixturevalue(kind)
        if kind == "bucket":
            return server.url
        if kind == "webdav":
            return f"{server}/{uuid4()}"
        return _gcs_url(server, monkeypatch) if kind == "gcs" else _azure_url(server, monkeypatch)

    return place


def _gcs_url(server: GCSServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GOOGLE_BASE_URL", server.url)
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    return f"gs://{server.new_bucket()}"


def _azure_url(server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", server.endpoint)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", server.account_name)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", server.account_key)
    return f"azure://{server.new_container()}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_up_listed_down_and_away(
    kind: str, places: Callable[[str], str], tree: Path, tmp_path: Path, run: Run
) -> None:
    url = places(kind)
    up = run("cp", "-r", tree, f"{url}/p")
    assert (up.exit_code, up.stderr[:14]) == (0, "copied 6 files")
    assert run("ls", f"{url}/p").stdout.splitlines() == ["a.txt", "empty", "image.tif", "sub/"]
    assert len(run("ls", "-r", f"{url}/p/").stdout.splitlines()) == 6
    assert run("ls", "-l", f"{url}/p/a.txt").stdout.split()[2:] == ["5", "a.txt"]
    assert run("cat", f"{url}/p/a.txt").stdout_bytes == b"hello"
    assert run("cat", "--range", "1-2", f"{url}/p/a.txt").stdout_bytes == b"el"
    assert "size: 5\n" in run("head", f"{url}/p/a.txt").stdout
    assert run("cp", f"{url}/p/a.txt", f"{url}/b.txt").exit_code == 0
    assert run("cp", "-r", f"{url}/p", tmp_path / "out").exit_code == 0
    assert files(tmp_path / "out") == files(tree)
    removed = run("rm", "-r", f"{url}/p")
    assert (removed.exit_code, removed.stderr) == (0, "removed 6 files\n")
    assert run("rm", f"{url}/b.txt").exit_code == 0
    assert run("rm", f"{url}/b.txt").exit_code == 1  # it is gone: unlike S3, these say so


@pytest.mark.parametrize("kind", KINDS)
def test_stdin_and_stdout(kind: str, places: Callable[[str], str], run: Run) -> None:
    url, content = places(kind), os.urandom(6 * MIB)
    assert run("cp", "-", f"{url}/large", stdin=content).exit_code == 0
    assert run("cp", f"{url}/large", "-").stdout_bytes == content


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there(kind: str, places: Callable[[str], str], tmp_path: Path, run: Run) -> None:
    url = places(kind)
    for arguments in (("cp", f"{url}/none", tmp_path / "x"), ("ls", f"{url}/none"), ("head", f"{url}/none")):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), arguments
        assert result.stderr, arguments


@pytest.mark.parametrize(
    ("source", "target"),
    [("bucket", "gcs"), ("gcs", "azurite"), ("azurite", "webdav"), ("webdav", "bucket"), ("azurite", "bucket")],
)
def test_copies_between_providers(
    source: str, target: str, places: Callable[[str], str], tree: Path, tmp_path: Path, run: Run
) -> None:
    (tree / "large").write_bytes(os.urandom(11 * MIB))
    (tree / "image.png").write_bytes(b"\x89PNG")
    here, there = places(source), places(target)
    assert run("cp", "-r", tree, f"{here}/p").exit_code == 0
    copied = run("cp", "-r", f"{here}/p", f"{there}/q/r")
    assert (copied.exit_code, copied.stderr[:14]) == (0, "copied 8 files")
    assert run("cp", f"{here}/p/image.png", f"{there}/one").exit_code == 0
    assert run("cp", "--content-type", "text/x-mine", f"{here}/p/a.txt", f"{there}/other").exit_code == 0
    assert run("cp", "-r", f"{there}/q/r", tmp_path / "out").exit_code == 0
    assert files(tmp_path / "out") == files(tree)
    if target != "webdav" and source != "webdav":  # this server of files goes by the names
        assert "content-type: image/png\n" in run("head", f"{there}/one").stdout
    if target != "webdav":
        assert "content-type: text/x-mine\n" in run("head", f"{there}/other").stdout


def test_options_on_the_command_line(gcs: GCSServer, bucket: Bucket, run: Run) -> None:
    store: GCSStore = gcs_store(gcs, bucket=(name := gcs.new_bucket()))
    store.put("k", b"content")
    own = ("-o", f"google_base_url={gcs.url}", "-o", "GOOGLE_SKIP_SIGNATURE=true", "-o", "timeout=60s")
    assert run("cp", *own, f"gs://{name}/k", f"{bucket.url}/k").exit_code == 0
    assert bucket.get("k") == b"content"
    assert run("cat", "--endpoint-url", gcs.url, "--anonymous", f"gs://{name}/k").stdout_bytes == b"content"
    both = run("cp", "--endpoint-url", gcs.url, f"gs://{name}/k", f"{bucket.url}/k")
    assert (both.exit_code, "for one of the two" in both.stderr) == (2, True)
    wrong = run("ls", "-o", "bearer_tokn=x", f"gs://{name}")
    assert (wrong.exit_code, "bearer_token" in wrong.stderr) == (2, True)


# -- web servers


def test_a_signed_url_and_headers(fault_server: FaultServer, tmp_path: Path, run: Run) -> None:
    fault_server.script("/data/a%20b", Object(b"content"))
    url = f"{fault_server.url}/data/a%20b?X-Signature=s3cr3t"
    assert run("cp", "--header", "Authorization: Bearer t0k3n", url, f"{tmp_path}/").exit_code == 0
    assert (tmp_path / "a b").read_bytes() == b"content"
    assert all(request.query == {"X-Signature": "s3cr3t"} for request in fault_server.requests)
    assert {request.header("authorization") for request in fault_server.requests} == {"Bearer t0k3n"}


def test_no_secret_is_shown(fault_server: FaultServer, tmp_path: Path, run: Run) -> None:
    fault_server.script("/data/key", Response.error(403))
    url = fault_server.url.replace("http://", "http://me:pa55@") + "/data/key?X-Signature=s3cr3t"
    result = run("cp", "--verbose", url, tmp_path / "x")
    assert result.exit_code == 1
    assert not any(secret in result.output for secret in ("pa55", "s3cr3t"))


@pytest.mark.parametrize(
    "arguments", [("ls", "{}/data/"), ("cp", "-r", "{}/data", "out"), ("rm", "-r", "{}/data")], ids=lambda each: each[0]
)
def test_a_web_server_that_lists_nothing_says_so(
    fault_server: FaultServer, arguments: tuple[str, ...], run: Run
) -> None:
    fault_server.script("/data/", Response.error(405))
    result = run(*(each.format(fault_server.url) for each in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "WebDAV" in result.stderr


def test_a_file_of_a_web_server_that_lists_nothing(fault_server: FaultServer, run: Run) -> None:
    fault_server.script("/data/key/", Response.error(405))
    fault_server.script("/data/key", Object(b"content"))
    assert run("ls", f"{fault_server.url}/data/key").stdout == "key\n"
    assert web_store(f"{fault_server.url}/data").head("key")["size"] == 7
