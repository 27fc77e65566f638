"""A progress bar on a terminal, nothing elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator

_NAMES = {"scan": "Reading headers", "plan": "Planning", "write": "Writing"}


@contextlib.contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Give a progress callback for `build`, or None where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(_NAMES["scan"], total=None)

        def update(phase: str, done: int, total: int | None) -> None:
            bar.update(task, description=_NAMES.get(phase, phase), completed=done, total=total)

        yield update
