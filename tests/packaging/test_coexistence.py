"""cumulo, the `awscrt` wheel and Python's ssl each bring a TLS stack; one process holds all three, in any order.

Each order runs in an interpreter of its own: a clash of symbols crashes, and what is loaded first decides who wins.
"""

import itertools
import subprocess
import sys

import pytest

from tests.faults import FaultServer, Object

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


_CONNECTS = """
import sys, ssl, urllib.request
import {first}, {second}
import awscrt.io, awscrt.http
from cumulo.store import S3Store
from urllib.parse import urlsplit

url, ca = sys.argv[1:]
host = urlsplit(url)
store = S3Store("b", endpoint=url, skip_signature=True, client_options={{"root_certificate": open(ca).read()}})
options = awscrt.io.TlsContextOptions()
options.override_default_trust_store_from_path(None, ca)
tls = awscrt.io.ClientTlsContext(options).new_connection_options()
tls.set_server_name(host.hostname)
for _ in range(5):
    assert store.get("k").bytes() == b"content"
    assert urllib.request.urlopen(url + "/b/k", context=ssl.create_default_context(cafile=ca)).read() == b"content"
    awscrt.http.HttpClientConnection.new(host.hostname, host.port, tls_connection_options=tls).result(20).close()
print("reached the end")
"""


@pytest.mark.parametrize(("first", "second"), [("awscrt.http", "cumulo"), ("cumulo", "awscrt.http")])
def test_all_three_speak_tls_in_one_process(fault_server: FaultServer, first: str, second: str) -> None:
    fault_server.script("/b/k", Object(b"content"))
    arguments = [fault_server.tls_url(), str(fault_server.ca_file)]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _CONNECTS.format(first=first, second=second), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "reached the end"), done.stderr
