"""A program that ends in the midst of calls, or calls when its main thread has ended: nothing is lost, nothing said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.support import CHILD_S, ROOT
from tests.faults import FaultServer, Faulty, Object, Stall, Upload

from .support import MIB, PATH, list_page


def _run(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.s3.exit_programs", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CHILD_S, check=False)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("call", ["put_many", "futures", "async"])
@pytest.mark.parametrize("program", ["in_exit_handler", "in_thread"])
@pytest.mark.parametrize("before", ["used", "not used"])
def test_puts_after_the_main_thread_has_ended(fault_server: FaultServer, before: str, program: str, call: str) -> None:
    upload = Upload()
    fault_server.script(PATH, upload)
    assert _run(program, fault_server.url, call, before) == (0, "")
    assert upload.object.data == bytes(MIB)


@pytest.mark.parametrize("program", ["with_an_iterator", "with_an_async_iterator"])
def test_a_loop_that_ends_in_the_midst_of_an_upload(fault_server: FaultServer, program: str) -> None:
    fault_server.script(PATH, Upload())
    assert _run(program, fault_server.url) == (0, "")


def test_a_loop_that_ends_in_the_midst_of_a_download(fault_server: FaultServer, tmp_path: Path) -> None:
    """And of an upload: neither leaves anything behind."""
    upload = Upload()
    fault_server.script(PATH, upload)
    fault_server.script(PATH + "?partNumber=2", Faulty(upload, Stall()))
    fault_server.script("/bucket/from", Object(bytes(4 * MIB)), method="HEAD")
    fault_server.script("/bucket/from", Faulty(Object(bytes(4 * MIB)), Stall(MIB)), method="GET")
    fault_server.script(
        "/bucket?list-type", lambda _: list_page() if fault_server.stalled == 2 else list_page("wait"), method="GET"
    )
    assert _run("with_a_download", fault_server.url, str(tmp_path / "file")) == (0, "")
    assert os.listdir(tmp_path) == []
    assert (len(upload.aborted), upload.parts, upload.completed) == (1, {}, [])
