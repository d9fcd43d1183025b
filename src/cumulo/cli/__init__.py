"""The `cumulo` command: objects and files between stores and local disks. It needs the extra `cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, or say what is missing for it."""
    try:
        from .app import app
    except KeyboardInterrupt:
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.exit("cumulo: the command needs click and rich; install it with: pip install 'cumulo[cli]'")
    app()
