"""`build SOURCE... -o OUT.refs`: reference TIFFs."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasteret_refs.cli.options import given_options, read_storage, scanning_options, source_options
from rasteret_refs.cli.output import DONE_WITH_FAILURES, counted, print_facts, print_json, reports_errors
from rasteret_refs.cli.progress import progress_bar

if TYPE_CHECKING:
    from rasteret_refs.build.run import BuildReport

_SHOWN = 5


@click.command("build")
@click.argument("source", nargs=-1, required=True)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Directory to create, NAME.refs.")
@source_options
@click.option("--layout", type=click.Choice(["auto", "grids", "stack"]), default="auto", show_default=True)
@click.option("--axis", type=click.Choice(["time", "scene"]), help="Scene axis; by default what fits the source.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0.0, 0.25),
    help="Stacks: share of pixels by which shapes may differ; by default as many shapes ask for.",
)
@click.option("--coordinate", "coordinates", multiple=True, help="Scene property that becomes a Zarr coordinate.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, atomically.")
@click.option("--resume", is_flag=True, help="Go on where a build of OUT was stopped; its headers are not read again.")
@click.option("--dry-run", is_flag=True, help="Only search, and tell requests, bytes, time and cost of a build.")
@scanning_options
@reports_errors
def command(
    source: tuple[str, ...],
    *,
    out: Path,
    dry_run: bool,
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

    given = given_options(options)
    what = source[0] if len(source) == 1 else list(source)
    if dry_run:
        _estimate(what, read_storage(storage_file), given, as_json=as_json)
        return
    with progress_bar(quiet=quiet or as_json) as progress:
        collection = build(
            what,
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


def _estimate(source: Any, storage: Mapping[str, Any] | None, given: dict[str, Any], *, as_json: bool) -> None:
    """Search, and print what a build would ask for."""
    from rasteret_refs.build.dryrun import estimate
    from rasteret_refs.sources.resolve import resolve

    for name in ("layout", "axis", "tolerance", "coordinates", "executor", "overwrite", "resume"):
        given.pop(name, None)
    stream = resolve(source, storage=storage, **given)
    found = estimate(stream, storage=stream.storage, refusals=lambda: stream.failures)
    if as_json:
        print_json(found.as_json())
        return
    payer = "the reader" if found.paid_by_reader else "the provider"
    hosts = ", ".join(f"{host} ({count})" for host, count in found.hosts.items())
    facts = {
        "scenes": found.scenes,
        "assets": found.assets,
        "hosts": hosts or "none: local files, or headers that the source holds",
        "requests": f"about {found.requests}",
        "bytes": f"about {found.bytes / 1e6:.1f} MB",
        "time": f"about {found.seconds:.0f} s",
        "cost": f"about ${found.egress_dollars:.2f} of requests and traffic, paid by {payer}",
    }
    print_facts(facts)
    if found.failures:
        click.echo(f"{counted(len(found.failures), 'scene')} cannot be understood", err=True)


def _tell(report: "BuildReport") -> None:
    if report.duplicates:
        twice = counted(report.duplicates, "scene")
        click.echo(f"{twice} whose id another scene has: marked in refs:duplicate_of", err=True)
    click.echo(
        f"{report.out}: {counted(report.scenes, 'scene')}, {counted(report.assets, 'asset')}, layout {report.layout}; "
        f"{counted(report.requests, 'request')}, {report.bytes / 1024:.0f} KB, {report.seconds:.1f} s"
    )
    for failure in report.failures[:_SHOWN]:
        click.echo(f"skipped: {type(failure.error).__name__}: {failure.error}", err=True)
    if report.failures:
        rest = len(report.failures) - _SHOWN
        more = f"and {rest} more; " if rest > 0 else ""
        click.echo(f"{more}{counted(len(report.failures), 'failure')} in {report.out / 'failures.parquet'}", err=True)
