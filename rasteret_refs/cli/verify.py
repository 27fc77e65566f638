"""`verify SET`: every file against the seal; on request its sources, and pixels."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import FAILED, print_facts, print_json, printable, reports_errors
from rasteret_refs.errors import RasteretRefsError


@click.command("verify")
@click.argument("location", metavar="SET")
@click.option("--sha256", help="Hash that refs.json must have: pins the whole set.")
@click.option("--sources", is_flag=True, help="Ask every object whether it is still what was indexed.")
@click.option("--pixels", type=click.IntRange(min=0), default=0, metavar="N", help="Read and decode N random tiles.")
@click.option("--seed", type=int, help="Chooses the same tiles again.")
@click.option(
    "--allow", multiple=True, metavar="PREFIX", help="Sources that may be read beyond the set's own public ones."
)
@json_option
@storage_option
@reports_errors
def command(
    location: str,
    *,
    sha256: str | None,
    sources: bool,
    pixels: int,
    seed: int | None,
    allow: tuple[str, ...],
    as_json: bool,
    storage_file: Path | None,
) -> None:
    """Check every file of SET against its seal; exit code 1 on damage, changed objects or unreadable tiles."""
    from rasteret_refs.collection import Collection

    opened = Collection(location, storage=read_storage(storage_file), sha256=sha256, allow=allow)
    try:
        report = asdict(opened.verify(sources=sources, pixels=pixels, seed=seed))
    except RasteretRefsError as error:
        problems: Any = getattr(error, "problems", None)
        if problems is None:
            raise
        if as_json:
            print_json({"set": location, "result": "unsound", "problems": [asdict(problem) for problem in problems]})
        else:
            for problem in problems:
                click.echo(printable(f"{problem.error}: {problem.message}"), err=True)
        sys.exit(FAILED)
    found = {name: value for name, value in report.items() if value is not None}
    if as_json:
        print_json(found)
    else:
        print_facts({"set": location, **found, "result": "sound"})
