"""`append SET [SOURCE...]`: new scenes into a set that stands."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasteret_refs.cli.options import given_options, read_storage, scanning_options, source_options
from rasteret_refs.cli.output import DONE_WITH_FAILURES, counted, print_json, reports_errors
from rasteret_refs.cli.progress import progress_bar

if TYPE_CHECKING:
    from rasteret_refs.build.append import AppendReport

_SHOWN = 5


@click.command("append")
@click.argument("location", metavar="SET")
@click.argument("source", nargs=-1)
@source_options
@click.option("--no-limit", is_flag=True, help="Lift the limit of the recorded search.")
@click.option(
    "--overlap-days", type=click.FloatRange(min=0), default=30.0, show_default=True,
    help="Without SOURCE: days before the newest scene from which the recorded search is run again.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on where an append to SET was stopped.")
@scanning_options
@reports_errors
def command(
    location: str,
    source: tuple[str, ...],
    *,
    no_limit: bool,
    overlap_days: float,
    quiet: bool,
    storage_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Append the scenes of SOURCE to SET, or what the recorded search finds now.

    Scenes that SET has stay where they are; late and replaced ones are named. Where there is nothing new, nothing is
    written.

    Exit codes: 0 done, 1 failed and SET is as it was, 2 wrong usage, 3 done with failures.
    """
    from rasteret_refs.collection import Collection

    given = given_options(options)
    if no_limit:
        given["limit"] = None
    with progress_bar(quiet=quiet or as_json) as progress:
        collection = Collection(location, storage=read_storage(storage_file)).append(
            None if not source else source[0] if len(source) == 1 else list(source),
            overlap=timedelta(days=overlap_days),
            progress=progress,
            **given,
        )
    tell(collection.append_report, as_json=as_json)


def tell(report: "AppendReport | None", *, as_json: bool) -> None:
    """Print what an append or a merge did, and leave with its exit code."""
    if report is None:
        return
    if as_json:
        print_json(report.as_json())
    else:
        new, asked = counted(len(report.appended), "new scene"), counted(report.requests, "request")
        click.echo(
            f"{report.out}: {new} of {report.scenes}, {report.known} known before; {asked}, "
            f"{report.bytes / 1024:.0f} KB read, {report.rewritten / 1024:.0f} KB written, {report.seconds:.1f} s"
        )
        for what, ids in (("late", report.late), ("replaced", report.replaced)):
            if ids:
                more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
                click.echo(f"{len(ids)} {what}: {', '.join(ids[:_SHOWN])}{more}")
        for failure in report.failures[:_SHOWN]:
            click.echo(f"skipped: {type(failure.error).__name__}: {failure.error}", err=True)
    if report.failures:
        sys.exit(DONE_WITH_FAILURES)
