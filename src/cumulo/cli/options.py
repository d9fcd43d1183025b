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
    """A URL, a path, or `-`, from the command line."""
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


def option(text: str) -> tuple[str, str]:
    """`name=value`, from the command line."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text.partition('=')[0]!r}: write NAME=VALUE")
    return name, value


def header(text: str) -> tuple[str, str]:
    """`Name: value`, from the command line."""
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise click.BadParameter("write 'Name: value'")  # not what was written: it may be a key
    return name.strip(), value.strip()


_CONNECTION = (
    click.option("--endpoint-url", metavar="URL", help="The store's server; http:// is allowed if you write it."),
    click.option("--anonymous", is_flag=True, help="Don't sign requests: for public buckets."),
    click.option("--region", help="An S3 bucket's region."),
    click.option("--profile", help="The profile of the AWS tools' files to take credentials from."),
    click.option("-o", "--option", "options", metavar="NAME=VALUE", type=option, multiple=True,
                 help="An option of the store, such as account_name=NAME; one that begins with aws_, google_ or azure_ "
                 "is for these stores only. Can be given more than once."),
    click.option("--header", "headers", metavar="'NAME: VALUE'", type=header, multiple=True,
                 help="Sent to web servers with each request. Can be given more than once."),
)  # fmt: skip


def command(function: Callable[Concatenate[Connection, P], int | None]) -> Callable[P, None]:
    """A command: it gets a `Connection`, and what it returns or raises becomes the exit status."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        names = ("endpoint_url", "anonymous", "region", "profile", "options", "headers")
        given: dict[str, Any] = {name: kwargs.pop(name) for name in names}
        given["options"] = dict(given["options"])
        connection = Connection(**given)
        click.get_current_context().exit(_status(lambda: function(connection, *args, **kwargs)))

    for each in reversed(_CONNECTION):
        run = each(run)
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
