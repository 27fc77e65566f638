"""`audit SET`: everything that a set could make a reader touch, told without touching it."""

import sys
from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import FAILED, print_facts, print_json, print_table, reports_errors
from rasteret_refs.errors import RefsetError


@click.command("audit")
@click.argument("location", metavar="SET")
@click.option("--sha256", help="Hash that refs.json must have: pins the whole set.")
@json_option
@storage_option
@reports_errors
def command(location: str, *, sha256: str | None, as_json: bool, storage_file: Path | None) -> None:
    """Tell what SET could make a reader touch; only the set's own files are read. Exit code 1 with findings."""
    from rasteret_refs.collection import Collection

    try:
        found = Collection(location, storage=read_storage(storage_file), sha256=sha256).audit()
    except RefsetError as error:  # so hostile or damaged that it does not open: that is what the audit found
        if not as_json:
            raise
        finding = {"kind": "damage", "where": location, "what": f"{type(error).__name__}: {error}"}
        print_json({"location": location, "sha256": None, "findings": [finding]})
        sys.exit(FAILED)
    if as_json:
        print_json(found.as_json())
    else:
        facts = {name: value for name, value in found.as_json().items() if name not in {"findings", "hosts", "codecs"}}
        print_facts({name: _text(value) for name, value in facts.items()})
        print_table("hosts", ("host or directory", "objects"), found.hosts.items())
        print_table("codecs", ("codec", "arrays"), found.codecs.items())
        if found.findings:
            rows = ((finding.kind, finding.where, finding.what) for finding in found.findings)
            print_table(f"{len(found.findings)} findings", ("kind", "where", "what"), rows)
    if found.findings:
        sys.exit(FAILED)


def _text(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count}" for name, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else value
