"""`annotate SET LABELS`: labels from a table into a reference set."""

from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_json, reports_errors


@click.command("annotate")
@click.argument("location", metavar="SET")
@click.argument("labels", type=click.Path(path_type=Path))
@click.option(
    "--on", default="id", show_default=True,
    help="Key column of both tables; for tiles `group,row,column`, with `id` or `asset` where labels differ by those.",
)  # fmt: skip
@click.option("--coordinates", default=None, help="Labels, separated by commas, that become coordinates; else all.")
@click.option("--ignore-unknown", is_flag=True, help="Leave out rows whose key SET does not have.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Save a labelled copy instead of changing SET.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@storage_option
@json_option
@reports_errors
def command(
    location: str,
    labels: Path,
    *,
    on: str,
    coordinates: str | None,
    ignore_unknown: bool,
    out: Path | None,
    overwrite: bool,
    storage_file: Path | None,
    as_json: bool,
) -> None:
    """Add the columns of LABELS (Parquet or CSV) to the scenes, or tiles, of SET.

    Labels of scenes stand in the scene table and, as coordinates, in the arrays; labels of tiles in tiles.parquet. SET
    is replaced in one step, or stays as it was.
    """
    from rasteret_refs.collection import Collection

    keys = [key.strip() for key in on.split(",") if key.strip()]
    collection = Collection(location, storage=read_storage(storage_file)).annotate(
        labels,
        keys[0] if len(keys) == 1 else keys,
        coordinates=None if coordinates is None else [name for name in coordinates.split(",") if name],
        ignore_unknown=ignore_unknown,
        write=out is None,
    )
    place = location if out is None else str(collection.save(out, overwrite=overwrite).location)
    columns = collection.scenes.column_names
    if as_json:
        print_json({"out": place, "scenes": len(collection), "columns": columns})
    else:
        click.echo(f"{place}: labels of {labels} written")
