"""Without azure-identity and azure-storage-blob: what needs neither works, and the rest names the extra."""

from __future__ import annotations

import subprocess
import sys

from tests.servers.azurite import AzureServer

from .support import container_sas

_PROGRAM = """
import sys
sys.modules["azure"] = sys.modules["azure.identity"] = sys.modules["azure.storage.blob"] = None
from cumulo.exceptions import MissingExtraError, UnauthenticatedError
from cumulo.store import AzureStore

endpoint, account, key, container, sas = sys.argv[1:]
def store(**how):
    return AzureStore(container, endpoint=endpoint, account_name=account, client_options={"allow_http": True},
                      retry_config={"max_retries": 0}, **how)
for how in ({"account_key": key}, {"sas_key": sas}):
    store(**how).put("a/b", b"content")
    assert store(**how).get("a/b").bytes() == b"content"
    store(**how).put("a/c", b"more")
    assert len(store(**how).list().collect()) == 2
    store(account_key=key).delete(["a/b", "a/c"])
for how in ({"client_id": "c", "client_secret": "s", "tenant_id": "t"}, {"use_azure_cli": True}):
    try:
        store(**how).head("a")
    except (MissingExtraError, UnauthenticatedError) as error:
        causes = f"{error} {error.__cause__}"
        assert "cumulo[azure]" in causes, causes
    else:
        raise AssertionError(how)
print("done")
"""


def test_what_needs_no_sdk(azurite: AzureServer) -> None:
    container = azurite.new_container()
    given = [azurite.endpoint, azurite.account_name, azurite.account_key, container, container_sas(azurite, container)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *given], check=False, capture_output=True, text=True, timeout=100
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
