"""Runs one command until standard input ends, then kills its whole process group.

The suite starts every server under this little script and holds the other end of the pipe: when
pytest ends, in whatever way (Ctrl-C, SIGKILL, a crash in native code), the kernel closes the pipe
and the server goes. Run by path with any Python; imports nothing of the project.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Run the command in the arguments; exit as it does."""
    # The caller made this process a session leader; the command and its children share the group.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, lambda *_: os.killpg(0, signal.SIGKILL))
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def kill_at_end() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=kill_at_end, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main())
