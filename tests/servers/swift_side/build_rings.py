"""Builds Swift's three rings, one device each, in one process: its own tool would take nine.

Run as a script: DIRECTORY ACCOUNT_PORT CONTAINER_PORT OBJECT_PORT. Writes `rings.done` at the end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from swift.common.ring import RingBuilder

PART_POWER, REPLICAS, MIN_PART_HOURS = 4, 1, 0


def build(directory: Path, name: str, port: int) -> None:
    """One ring with one device at this port."""
    builder = RingBuilder(PART_POWER, REPLICAS, MIN_PART_HOURS)
    place = {"region": 1, "zone": 1, "device": "disk", "weight": 1.0, "meta": ""}
    address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, **place, **address})
    builder.rebalance()
    builder.get_ring().save(str(directory / f"{name}.ring.gz"))


def main() -> None:
    """All three."""
    directory = Path(sys.argv[1])
    for name, port in zip(("account", "container", "object"), sys.argv[2:], strict=True):
        build(directory, name, int(port))
    (directory / "rings.done").touch()
    time.sleep(3600)  # the suite ends it: a process that had exited would look like a failed server


if __name__ == "__main__":
    main()
