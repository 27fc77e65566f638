"""`build SOURCE... -o OUT.refs`: reference TIFFs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasteret_refs.cli.options import json_option, parse_assets, parse_bbox, read_storage, storage_option
from rasteret_refs.cli.output import DONE_WITH_FAILURES, print_json, reports_errors
from rasteret_refs.cli.progress import progress_bar

if TYPE_CHECKING:
    from rasteret_refs.build.run import BuildReport

_SHOWN = 5


@click.command("build")
@click.argument("source", nargs=-1, required=True)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Directory to create, NAME.refs.")
@click.option("--bbox", callback=parse_bbox, metavar="W,S,E,N", help="Only scenes that touch this box, in degrees.")
@click.option("--datetime", metavar="TIME", help="Only scenes of this time or interval, e.g. 2024-01/2024-06.")
@click.option(
    "--assets", multiple=True, callback=parse_assets, metavar="NAMES", help="Assets, e.g. red,nir or red=B04,nir=B08."
)
@click.option("--query", multiple=True, metavar="CONDITION", help='STAC query, e.g. "eo:cloud_cover<20".')
@click.option("--limit", type=click.IntRange(min=1), help="Scenes at most.")
@click.option("--layout", type=click.Choice(["auto", "grids", "stack"]), default="auto", show_default=True)
@click.option("--axis", type=click.Choice(["time", "scene"]), help="Scene axis; by default what fits the source.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0.0, 0.25),
    help="Stacks: share of pixels by which shapes may differ; by default as many shapes ask for.",
)
@click.option("--coordinate", "coordinates", multiple=True, help="Scene property that becomes a Zarr coordinate.")
@click.option("--on-error", type=click.Choice(["raise", "skip"]), default="raise", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace OUT, atomically.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@storage_option
@json_option
@reports_errors
def command(
    source: tuple[str, ...],
    *,
    out: Path,
    query: tuple[str, ...],
    quiet: bool,
    storage_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Reference the TIFFs of SOURCE in a new reference set.

    SOURCE is a TIFF path, glob or URL, a .txt list of them, STAC items or a STAC API, a Parquet or CSV table, a
    Rasteret collection, or an id of the dataset catalog.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with failures recorded in OUT/failures.parquet.
    """
    from rasteret_refs.collection import build

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if query:
        given["query"] = list(query)
    with progress_bar(quiet=quiet or as_json) as progress:
        collection = build(
            source[0] if len(source) == 1 else list(source),
            out,
            storage=read_storage(storage_file),
            progress=progress,
            **given,
        )
    report = collection.report
    if report is None:
        return
    if as_json:
        print_json(report.as_json())
    else:
        _tell(report)
    if report.failures:
        sys.exit(DONE_WITH_FAILURES)


def _tell(report: "BuildReport") -> None:
    click.echo(
        f"{report.out}: {report.scenes} scenes, {report.assets} assets, layout {report.layout}; "
        f"{report.requests} requests, {report.bytes / 1024:.0f} KB, {report.seconds:.1f} s"
    )
    for failure in report.failures[:_SHOWN]:
        click.echo(f"skipped: {type(failure.error).__name__}: {failure.error}", err=True)
    if report.failures:
        rest = len(report.failures) - _SHOWN
        more = f"and {rest} more; " if rest > 0 else ""
        click.echo(f"{more}{len(report.failures)} failures in {report.out / 'failures.parquet'}", err=True)
