"""fsspec's own abstract suites: copy, get, open, pipe, put, over memory, the local disk and a real S3 server."""

from __future__ import annotations

from typing import Any

import pytest
from fsspec.tests import abstract

from .conftest import file_system


class OnMemory(abstract.AbstractFixtures):
    kind = "memory"

    @pytest.fixture
    def placed(self, request: pytest.FixtureRequest) -> tuple[Any, str]:
        return file_system(self.kind, request)

    @pytest.fixture
    def fs(self, placed: tuple[Any, str]) -> Any:
        return placed[0]

    @pytest.fixture
    def fs_path(self, placed: tuple[Any, str]) -> str:
        return placed[1]

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return self.kind == "file"


class OnDisk(OnMemory):
    kind = "file"


class OnS3(OnMemory):
    kind = "s3"


for place in (OnMemory, OnDisk, OnS3):
    for suite in ("Copy", "Get", "Open", "Pipe", "Put"):
        name = f"Test{suite}{place.__name__}"
        globals()[name] = type(name, (getattr(abstract, f"Abstract{suite}Tests"), place), {})
