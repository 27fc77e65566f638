"""`verify SET`: every file against the seal."""

from dataclasses import asdict
from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_facts, print_json, reports_errors


@click.command("verify")
@click.argument("location", metavar="SET")
@click.option("--sha256", help="Hash that refs.json must have: pins the whole set.")
@json_option
@storage_option
@reports_errors
def command(location: str, *, sha256: str | None, as_json: bool, storage_file: Path | None) -> None:
    """Check every file of SET against its seal; exit code 1 on damage."""
    from rasteret_refs.collection import Collection

    report = asdict(Collection(location, storage=read_storage(storage_file), sha256=sha256).verify())
    if as_json:
        print_json(report)
    else:
        print_facts({"set": location, **report, "result": "sound"})
