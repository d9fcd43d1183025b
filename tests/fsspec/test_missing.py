"""Without fsspec the module says which extra brings it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["fsspec"] = None
try:
    import cumulo.fsspec
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_without_fsspec() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    assert told == "MissingExtraError this needs fsspec: pip install 'cumulo[fsspec]'\n"
