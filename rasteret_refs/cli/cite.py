"""`cite SET`: licence and attribution."""

from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_json, reports_errors


@click.command("cite")
@click.argument("location", metavar="SET")
@storage_option
@json_option
@reports_errors
def command(location: str, *, storage_file: Path | None, as_json: bool) -> None:
    """Tell whom to name when SET is used: data sets with licence and attribution, and SET's own hash."""
    from rasteret_refs.collection import Collection

    citation = Collection(location, storage=read_storage(storage_file)).cite()
    if as_json:
        print_json(citation.as_json())
    else:
        click.echo(citation.text())
