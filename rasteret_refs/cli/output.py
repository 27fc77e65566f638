"""How commands speak: errors on stderr without traceback, tables for people, JSON for programs."""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from rasteret_refs.errors import RasteretRefsError

FAILED = 1
"""Exit code: the command could not do what it was asked."""
DONE_WITH_FAILURES = 3
"""Exit code: done, and failures were recorded."""
_INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def reports_errors[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of our tree into a message on stderr and exit code 1; Ctrl-C into exit code 130."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except RasteretRefsError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)
        except KeyboardInterrupt:
            click.echo("interrupted: nothing was written", err=True)
            sys.exit(_INTERRUPTED)

    return wrapped


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table on stdout; whole cells where stdout is no terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[str(cell) for cell in row])
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table, soft_wrap=False)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        click.echo(f"{name:<{width}}  {value}")
