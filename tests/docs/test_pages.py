"""What the pages say of options, errors and names is what the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from cumulo import exceptions
from cumulo.store import BackoffConfig, ClientConfig, RetryConfig, S3Config

from .snippets import PAGES, ROOT

GUIDES = ROOT / "docs/guides"
# Other names of options that have a row of their own.
OTHER_NAMES = {"aws_endpoint_url_s3"}


@pytest.mark.parametrize(
    ("config", "page"),
    [(S3Config, "stores.md"), (ClientConfig, "stores.md"), (RetryConfig, "errors.md"), (BackoffConfig, "errors.md")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_option_is_in_its_guide(config: Any, page: str) -> None:
    named = set(re.findall(r"`([a-z0-9_]+)`", (GUIDES / page).read_text()))
    assert set(config.__annotations__) - named - OTHER_NAMES == set()


def test_every_error_is_in_the_guide() -> None:
    text = (GUIDES / "errors.md").read_text()
    assert [name for name in exceptions.__all__ if name not in text] == []


def test_configs_are_usable_at_run_time() -> None:
    for config in (S3Config, ClientConfig, RetryConfig, BackoffConfig):
        assert get_type_hints(config)


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_lines_are_not_too_long(page: Path) -> None:
    long = [line for line in page.read_text().splitlines() if len(line) > 128 and not line.startswith(("|", "      "))]
    assert long == []


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    whole = ("cumulo.futures", "cumulo.transfer", "cumulo.runtime")
    assert [module for module in whole if f"::: {module}\n" not in text] == []
    named = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))
    public = {name for module in ("cumulo", "cumulo.store") for name in importlib.import_module(module).__all__}
    assert public - named == {"__version__"}
