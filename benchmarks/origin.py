"""The origin of every benchmark: one nginx on free loopback ports, in a temporary directory that is removed at the end.

Its sockets are made here, and nginx takes them over, as a new version of it does from the one before: so that it sends
by CUBIC, whatever the system's default is. BBR takes a path whose round trip is some microseconds for a slow one, and
sends at a pace: that would be what is measured on loopback, and would take a third of the worker's CPU.

``with running(workers=1) as origin`` yields an `Origin`: where it listens and where its files are. It is plain data, so
that the measuring processes get it as JSON. ``python -m benchmarks.origin`` starts one by hand and prints it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from . import content, nginx

INSTALL_NGINX = (
    "nginx is needed as the benchmark origin and was not found: install it (Debian, Ubuntu: apt install nginx)"
)
_SHARED_MEMORY = Path("/dev/shm")
_START_TIMEOUT_S = 10.0
_CONGESTION_CONTROL = b"cubic"


class OriginError(RuntimeError):
    """The origin can't be started, and why."""


@dataclass(frozen=True)
class Origin:
    """A running origin, as the measuring processes see it."""

    url: str
    limited_url: str
    tls_url: str | None
    certificate: str
    files: str
    put_log: str
    workers: int
    pid: int
    cpu: int | None
    version: str
    congestion_control: str

    def path(self, key: str) -> Path:
        """The local file behind an object of the `content.BUCKET` bucket."""
        return Path(self.files) / content.BUCKET / key


@contextmanager
def running(workers: int = 1, cpu: int | None = None) -> Iterator[Origin]:
    """Start nginx, wait until it answers, and stop it at the end."""
    program = _find_nginx()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cumulo-bench-", dir=_roomiest())))
        for part in ("files", "temporary"):
            (directory / part).mkdir()
        content.write_files(directory / "files")
        has_certificate = _make_certificate(directory)
        listening = [stack.enter_context(_listening()) for _ in range(3 if has_certificate else 2)]
        port, limited_port, tls_port = [*(each.getsockname()[1] for each in listening), None][:3]
        settings = nginx.Settings(directory, port, limited_port, tls_port, workers, cpu)
        configuration = directory / "nginx.conf"
        configuration.write_text(nginx.configuration(settings))
        descriptors = [each.fileno() for each in listening]
        process = subprocess.Popen(
            [program, "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            env={**os.environ, "NGINX": "".join(f"{each};" for each in descriptors)},
        )
        try:
            _wait_until_answering(process, port, directory / "error.log")
            yield _describe(settings, program, process.pid, _congestion_control(listening[0]))
        finally:
            _stop(process)


def _describe(settings: nginx.Settings, program: str, pid: int, congestion_control: str) -> Origin:
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    return Origin(
        url=f"http://127.0.0.1:{settings.port}",
        limited_url=f"http://127.0.0.1:{settings.limited_port}",
        tls_url=f"https://127.0.0.1:{settings.tls_port}" if settings.tls_port else None,
        certificate=str(settings.certificate),
        files=str(settings.directory / "files"),
        put_log=str(settings.put_log),
        workers=settings.workers,
        pid=pid,
        cpu=settings.cpu,
        version=version.strip().rpartition(" ")[2],
        congestion_control=congestion_control,
    )


def _find_nginx() -> str:
    # Debian puts it in sbin, which is not on every user's PATH.
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if program is None:
        raise OriginError(INSTALL_NGINX)
    return program


def _roomiest() -> str | None:
    """Shared memory, if it has room for the files and for what nginx spools: no disk is measured then."""
    needed = content.TOTAL_SIZE + 3 * content.GIB
    if _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > needed:
        return str(_SHARED_MEMORY)
    return None


def _make_certificate(directory: Path) -> bool:
    """A self-signed certificate for the TLS port; without the openssl command there is no such port."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _listening() -> socket.socket:
    """A socket on a free port, whose connections send by CUBIC where that may be chosen."""
    listening = socket.socket()
    if hasattr(socket, "TCP_CONGESTION"):
        with suppress(OSError):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION_CONTROL)
    listening.bind(("127.0.0.1", 0))
    listening.listen(nginx.BACKLOG)
    return listening


def _congestion_control(listening: socket.socket) -> str:
    if not hasattr(socket, "TCP_CONGESTION"):
        return "the system's"
    name = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.partition(b"\0")[0].decode()


def _wait_until_answering(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise OriginError(
                f"nginx ended with status {process.returncode}: {log.read_text() if log.exists() else ''}"
            )
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as asking:
                asking.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
                if asking.recv(1):
                    return
        except OSError:
            time.sleep(0.02)
    _stop(process)
    raise OriginError(f"nginx did not answer within {_START_TIMEOUT_S:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Run an origin by hand until interrupted."""
    with running() as origin:
        print(json.dumps(asdict(origin), indent=2), flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
