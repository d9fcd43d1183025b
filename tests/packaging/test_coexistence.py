"""cumulo, the `awscrt` wheel and Python's ssl each bring a TLS stack; one process holds all three, in any order.

Each order runs in an interpreter of its own: a clash of symbols crashes, and what is loaded first decides who wins.
"""

import itertools
import subprocess
import sys

import pytest

pytest.importorskip("awscrt")

# Each statement makes its library run code of its own crypto, not only load.
_USES = {
    "cumulo": "import cumulo, cumulo._native",
    "awscrt": (
        "import awscrt.io, awscrt.crypto; "
        "awscrt.io.ClientTlsContext(awscrt.io.TlsContextOptions()); "
        "h = awscrt.crypto.Hash.sha256_new(); h.update(b'abc'); assert h.digest()[:2] == bytes([0xba, 0x78])"
    ),
    "ssl": (
        "import ssl, hashlib; ssl.create_default_context(); "
        "assert hashlib.sha256(b'abc').digest()[:2] == bytes([0xba, 0x78])"
    ),
}


@pytest.mark.parametrize("order", list(itertools.permutations(_USES)), ids="-".join)
def test_one_process_holds_them_in_any_order(order: tuple[str, ...]) -> None:
    script = "\n".join([*(_USES[name] for name in order), *(_USES[name] for name in order), "print('reached the end')"])
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "reached the end"), done.stderr
