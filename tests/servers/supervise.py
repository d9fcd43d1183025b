"""Runs one command until standard input ends, then kills its whole process group.

The suite starts every server under this little script and holds the other end of the pipe: when
pytest ends, in whatever way (Ctrl-C, SIGKILL, a crash in native code), the kernel closes the pipe
and the server goes. Run by path with any Python; imports nothing of the project.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the command in the arguments; exit as it does."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    told = threading.Event()

    def end(*_: object) -> None:
        told.set()
        # Swift's servers leave for a session of their own, where `killpg(0)` doesn't reach them.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(child.pid, signal.SIGKILL)

    def end_with_input() -> None:
        while os.read(0, 1):
            pass
        end()

    for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(caught, end)
    threading.Thread(target=end_with_input, daemon=True).start()
    code = child.wait()
    if told.is_set():
        os.killpg(0, signal.SIGKILL)  # what the command started; the caller made this group for us
    return code


if __name__ == "__main__":
    sys.exit(main())
