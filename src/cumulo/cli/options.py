"""What the commands share: options, arguments and exit statuses."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import click

from cumulo.exceptions import BaseError

from .connect import Connection
from .plan import byte_range
from .text import reason
from .urls import Location, parse

P = ParamSpec("P")
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def location(text: str) -> Location:
    """`s3://bucket/key`, `file:///path`, a path, or `-`, from the command line."""
    try:
        return parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def span(text: str) -> tuple[int, int | None] | int:
    """`0-99`, `100-` or `-50`, from the command line."""
    try:
        return byte_range(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_CONNECTION = (
    click.option("--endpoint-url", metavar="URL", help="The S3 server; http:// is allowed if you write it."),
    click.option("--anonymous", is_flag=True, help="Don't sign requests: for public buckets."),
    click.option("--region", help="The bucket's region."),
    click.option("--profile", help="The profile of the AWS tools' files to take credentials from."),
)


def command(function: Callable[Concatenate[Connection, P], int | None]) -> Callable[P, None]:
    """A command: it gets a `Connection`, and what it returns or raises becomes the exit status."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        names = ("endpoint_url", "anonymous", "region", "profile")
        given: dict[str, Any] = {name: kwargs.pop(name) for name in names}
        connection = Connection(**given)
        click.get_current_context().exit(_status(lambda: function(connection, *args, **kwargs)))

    for option in reversed(_CONNECTION):
        run = option(run)
    return run


def _status(function: Callable[[], int | None]) -> int:
    try:
        return function() or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough. Python's own flush at exit must not meet the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (BaseError, OSError) as error:
        click.echo(f"cumulo: {reason(error)}", err=True)
        return FAILED
    except ValueError as error:
        raise click.UsageError(str(error)) from error
