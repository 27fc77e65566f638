"""How commands speak: errors on stderr without traceback, tables for people, JSON for programs."""

import contextlib
import functools
import json
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click

from rasteret_refs.errors import RasteretRefsError

FAILED = 1
"""Exit code: the command could not do what it was asked."""
DONE_WITH_FAILURES = 3
"""Exit code: done, and failures were recorded."""
_ENDINGS = ("SIGTERM", "SIGHUP")
"""Signals that end a command as Ctrl-C does, cleaned up: batch systems, containers and closed terminals send them."""


_ARGUMENT = re.compile(
    r"""\b(?P<name>[a-z_]+)=
        (?: (?P<flag>True)\b | \{'(?P<key>\w+)':\ '?(?P<mapped>\w+)'?\} | \['(?P<item>[^']*)'\] | (?=[\s;,)]|$) )""",
    re.VERBOSE,
)
"""An argument as messages of the library spell it: `overwrite=True`, `columns={'href': NAME}`, `allow=['…']`."""


def reports_errors[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of our tree, and of the user's files, into a message and exit code 1.

    Ctrl-C gives exit code 130; SIGTERM and SIGHUP give 143 and 129, 128 + their number as shells have it.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        ended_by: list[int] = []
        try:
            with _ending_as_by_interrupt(ended_by):
                return command(*args, **kwargs)
        except RasteretRefsError as error:
            click.echo(f"error: {printable(as_options(str(error), _option_names()))}", err=True)
            sys.exit(FAILED)
        except OSError as error:
            if error.filename is None:  # nothing that a user named
                raise
            click.echo(f"error: {error.filename}: {error.strerror}", err=True)
            sys.exit(FAILED)
        except KeyboardInterrupt:
            go_on = "; the same command with --resume goes on from here" if "resume" in _option_names() else ""
            click.echo(f"interrupted: no reference set was written or changed{go_on}", err=True)
            sys.exit(128 + (ended_by or [signal.SIGINT])[0])

    return wrapped


@contextlib.contextmanager
def _ending_as_by_interrupt(ended_by: list[int]) -> Iterator[None]:
    """Let other signals do what Ctrl-C does, and note which one came; those that the parent ignores stay ignored."""

    def end(number: int, frame: Any) -> None:
        ended_by.append(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # a shell's background jobs ignore Ctrl-C
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _ENDINGS if hasattr(signal, name)]
        before = {
            number: signal.signal(number, end) for number in numbers if signal.getsignal(number) is signal.SIG_DFL
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def as_options(message: str, options: Mapping[str, str]) -> str:
    """Spell the Python arguments that a message names as options, where the command has them.

    Parameters
    ----------
    message
        Of an error.
    options
        Name of a Python argument → option, e.g. `url_rewrite` → `--url-rewrite`.
    """

    def spelt(found: re.Match[str]) -> str:
        option = options.get(found["name"])
        if option is None:
            return found[0]
        if found["flag"]:
            return option
        if found["key"]:
            return f"{option} {found['key']}={found['mapped']}"
        return f"{option} {found['item']}" if found["item"] is not None else option

    return _ARGUMENT.sub(spelt, message)


def _option_names() -> dict[str, str]:
    """Options of the command that runs, by the Python argument of that name."""
    context = click.get_current_context(silent=True)
    options = [option for parameter in context.command.params for option in parameter.opts] if context else []
    return {option[2:].replace("-", "_"): option for option in options if option.startswith("--")}


def printable(text: str) -> str:
    """Spell out control characters: what a stranger wrote must not move the cursor, hide lines or turn their order."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print a table on stdout; whole cells where stdout is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(printable(str(cell)).replace("\n", "\\n")) for cell in row])  # cells are no markup
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table, soft_wrap=False)


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        click.echo(printable(f"{name:<{width}}  {value}".replace("\n", "\\n")))
