"""No credentials but a test's own: no variable of any provider's, an empty home, no proxies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cumulo._credentials import refresher

_NAMES = ("AWS_", "AZURE_", "CLOUDSDK_", "EARTHDATA_", "GCE_", "GOOGLE_", "PC_SDK_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(_NAMES) or name == "NETRC" or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield
    refresher._state.recent.clear()
