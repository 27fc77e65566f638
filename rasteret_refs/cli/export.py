"""`export SET OUT.json`: one kerchunk JSON file."""

from pathlib import Path

import click

from rasteret_refs.cli.options import read_storage, storage_option
from rasteret_refs.cli.output import reports_errors


@click.command("export")
@click.argument("location", metavar="SET")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@storage_option
@reports_errors
def command(location: str, out: Path, *, overwrite: bool, storage_file: Path | None) -> None:
    """Write all references of SET as kerchunk JSON, for readers that know no Parquet."""
    from rasteret_refs.collection import Collection

    written = Collection(location, storage=read_storage(storage_file)).export(out, overwrite=overwrite)
    click.echo(f"{written}: {written.stat().st_size / 1024:.0f} KB")
