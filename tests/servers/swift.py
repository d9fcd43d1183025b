"""OpenStack Swift's s3api: the strictest judge of signatures, payload hashes and odd keys; slow.

One proxy and one account, container and object server, without configuration outside their folder,
without root and without memcached (swift_side/ has a stand-in). Small data only: requests go
through four Python processes.
"""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path

from .process import accepts, answers, executable, free_ports, running
from .s3server import Feature, S3Server

KEY, SECRET = "test:tester", "testing"
LACKS: frozenset[Feature] = frozenset(
    {
        "copy_if_absent",
        "put_if_match",
        "object_attributes",
        "tags_header",
        "tags_subresource",
        "checksums_returned",
        "many_keys",
        "bulk_delete_fast",
    }
)
BACKENDS = ("account", "container", "object")
# A folder of its own, as these run inside Swift: on its path, our swift.py would hide the package.
HELPERS = Path(__file__).parent / "swift_side"
FILTERS = ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "copy", "slo", "dlo", "symlink")
PIPELINE = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth "
    "copy slo dlo versioned_writes symlink proxy-server"
)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[S3Server]:
    """Run its four processes; `directory` takes everything they write."""
    ports: dict[str, int] = dict(zip((*BACKENDS, "proxy"), free_ports(4), strict=True))
    _write_configuration(directory, ports)
    rings = [sys.executable, HELPERS / "build_rings.py", directory, *(str(ports[name]) for name in BACKENDS)]
    environment = {"PYTHONPATH": str(HELPERS), "PYTHONWARNINGS": "ignore"}
    with contextlib.ExitStack() as stack:
        builder = stack.enter_context(running(rings, directory / "rings.log", environment))
        builder.wait_until((directory / "rings.done").exists)
        started = {}
        for name in ports:
            command = [executable(f"swift-{name}-server"), directory / f"{name}.conf"]
            started[name] = stack.enter_context(running(command, directory / f"{name}.log", environment))
        for name in BACKENDS:
            started[name].wait_until(lambda port=ports[name]: accepts(port))
        endpoint = f"http://127.0.0.1:{ports['proxy']}"
        started["proxy"].wait_until(lambda: answers(f"{endpoint}/healthcheck"))
        yield S3Server("swift", endpoint, KEY, SECRET, lacks=LACKS)


def _write_configuration(directory: Path, ports: dict[str, int]) -> None:
    (directory / "devices" / "disk").mkdir(parents=True)
    hashes = ini("swift-hash", swift_hash_path_prefix="t", swift_hash_path_suffix="t")
    policy = ini("storage-policy:0", name="default", default="yes")
    (directory / "swift.conf").write_text(hashes + policy)
    for name in BACKENDS:
        common = _common(directory, ports[name]) | {"devices": str(directory / "devices"), "mount_check": "false"}
        pipeline = ini("pipeline:main", pipeline=f"{name}-server")
        app = ini(f"app:{name}-server", use=f"egg:swift#{name}")
        (directory / f"{name}.conf").write_text(ini("DEFAULT", **common) + pipeline + app)
    (directory / "proxy.conf").write_text(_proxy(_common(directory, ports["proxy"])))


def _common(directory: Path, port: int) -> dict[str, str]:
    """What every server's DEFAULT section has; `workers` 0 keeps each in one process."""
    return {
        "bind_ip": "127.0.0.1",
        "bind_port": str(port),
        "workers": "0",
        "user": getpass.getuser(),
        "swift_dir": str(directory),
        "log_level": "WARNING",
        # Otherwise it writes to /dev/log, or to UDP where that is missing.
        "log_name": "swift",
    }


def _proxy(common: dict[str, str]) -> str:
    sections = [
        ini("DEFAULT", **common),
        ini("pipeline:main", pipeline=PIPELINE),
        ini("app:proxy-server", use="egg:swift#proxy", account_autocreate="true"),
        ini("filter:cache", **{"paste.filter_factory": "dict_cache:filter_factory"}),
        ini("filter:s3api", use="egg:swift#s3api", location="us-east-1"),
        ini("filter:tempauth", use="egg:swift#tempauth", user_test_tester=f"{SECRET} .admin"),
        ini("filter:versioned_writes", use="egg:swift#versioned_writes", allow_object_versioning="true"),
        *(ini(f"filter:{name}", use=f"egg:swift#{name}") for name in FILTERS),
    ]
    return "".join(sections)


def ini(section: str, **values: str) -> str:
    """One section of a configuration file."""
    return f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
