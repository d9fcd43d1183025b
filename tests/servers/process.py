"""Server processes: started in a group of their own, watched until ready, killed as a group.

Their output goes to a log file, whose tail is in the error when one doesn't come up. See
supervise.py for what happens when the test run dies instead of ending.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

SUPERVISOR = Path(__file__).with_name("supervise.py")
START_S = 60.0
POLL_S = 0.02
KILL_S = 10.0
TAIL_LINES = 30
PORTS = range(10_000, 32_000)


class ServerError(RuntimeError):
    """A server didn't come up; the message ends with its log's tail."""


class ServerProcess:
    """One running command with its group and log."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.log = Path(command[0]).name, log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, SUPERVISOR, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=log.parent,
                env={**clean_environment(), **environment},
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_S) -> None:
        """Poll until ready; ServerError when it exits or takes too long."""
        until = time.monotonic() + seconds
        while not ready():
            code = self._process.poll()
            if code is not None:
                raise ServerError(f"{self.name} exited with status {code}:\n{self.tail()}")
            if time.monotonic() > until:
                raise ServerError(f"{self.name} isn't ready after {seconds:.0f} s:\n{self.tail()}")
            time.sleep(POLL_S)

    def tail(self) -> str:
        """The last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:]) or "(its log is empty)"

    def kill(self) -> None:
        """End it and everything it started: the supervisor kills both groups and itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
        # The supervisor is gone before this when the command had ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A command running in the background; its log's folder is its working directory."""
    process = ServerProcess(command, log, environment or {})
    try:
        yield process
    finally:
        process.kill()


def executable(name: str) -> Path:
    """A command that came with a package: beside this Python, else on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ServerError(f"{name} is not installed; `pip install --group test` in the checkout brings it")
    return Path(found)


def clean_environment() -> dict[str, str]:
    """Ours, without what would change a server's behaviour (proxies, AWS settings)."""
    dropped = ("aws_", "http_proxy", "https_proxy", "all_proxy", "no_proxy")
    return {name: value for name, value in os.environ.items() if not name.lower().startswith(dropped)}


def free_ports(count: int) -> list[int]:
    """Ports that were free on loopback a moment ago, all different.

    Below those that systems give to connections and to whoever asks for any port: until the server listens on it,
    nobody else is given it. Chosen at random, as other test runs of this machine choose theirs.
    """
    return list(itertools.islice(filter(_is_free, random.Random().sample(PORTS, len(PORTS))), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether HTTP is answered there, whatever the status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
