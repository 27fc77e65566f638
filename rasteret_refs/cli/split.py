"""`split SET`: which scenes or chips are for training, validation and testing."""

from pathlib import Path
from typing import Any

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_json, reports_errors


@click.command("split")
@click.argument("location", metavar="SET")
@click.option("--train", type=float, default=0.8, show_default=True)
@click.option("--val", type=float, default=0.1, show_default=True)
@click.option("--test", type=float, default=0.1, show_default=True)
@click.option("--unit", type=click.Choice(["scene", "chip"]), default="scene", show_default=True)
@click.option(
    "--by", default="id", show_default=True,
    help="`id` (random by hash), `block` (squares on the ground), `time`, or a column whose groups stay together.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--stratify", help="Column within whose values the shares hold.")
@click.option("--block-metres", type=float, default=10_000.0, show_default=True)
@click.option("--buffer-metres", type=float, default=0.0, show_default=True)
@click.option("--boundary", "boundaries", multiple=True, help="For `time`: when the next split begins; repeat.")
@click.option("--column", default="split", show_default=True, help="Name of the column.")
@click.option("--chip-size", type=int, help="Pixels; for chips.")
@click.option("--stride", type=int, help="Pixels from chip to chip; for chips.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Save a split copy instead of changing SET.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@storage_option
@json_option
@reports_errors
def command(
    location: str, *, out: Path | None, overwrite: bool, storage_file: Path | None, as_json: bool, **options: Any
) -> None:
    """Assign splits to the scenes, or chips, of SET, record the rule, and report overlaps between splits.

    With a rule that SET records already, only scenes without a split get one.
    """
    from rasteret_refs.collection import Collection

    column = options["column"]
    collection = Collection(location, storage=read_storage(storage_file)).assign_splits(write=out is None, **options)
    report = collection.leakage(column, unit=options["unit"])
    place = location if out is None else str(collection.save(out, overwrite=overwrite).location)
    overlaps = {"-".join(pair): count for pair, count in report.overlaps.items()}
    if as_json:
        print_json({"out": place, "column": column, "units": dict(report.units), "overlaps": overlaps})
        return
    click.echo(f"{place}: {column} assigned; {report}")
