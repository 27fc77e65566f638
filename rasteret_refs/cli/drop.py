"""`drop SET ID...`: mark scenes as dropped."""

from pathlib import Path

import click

from rasteret_refs.cli.options import json_option
from rasteret_refs.cli.output import print_json, reports_errors


@click.command("drop")
@click.argument("location", metavar="SET")
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option(
    "--ids-from", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File of ids, one a line."
)
@json_option
@reports_errors
def command(location: str, ids: tuple[str, ...], *, ids_from: Path | None, as_json: bool) -> None:
    """Leave scenes out of SET's table and views. Their place in the arrays stays, so nothing else moves."""
    from rasteret_refs.collection import Collection

    wanted = list(ids)
    if ids_from is not None:
        wanted += [line.strip() for line in ids_from.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not wanted:
        raise click.UsageError("expected ids of scenes, got none")
    collection = Collection(location).drop(wanted)
    if as_json:
        print_json({"dropped": wanted, "scenes": len(collection)})
    else:
        click.echo(f"{location}: {len(wanted)} scenes dropped, {len(collection)} are left")
