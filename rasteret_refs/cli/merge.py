"""`merge SET OTHER`: the scenes of another set into one."""

from pathlib import Path

import click

from rasteret_refs.cli.append import tell
from rasteret_refs.cli.options import read_storage, scanning_options
from rasteret_refs.cli.output import reports_errors
from rasteret_refs.cli.progress import progress_bar


@click.command("merge")
@click.argument("location", metavar="SET")
@click.argument("other", metavar="OTHER")
@click.option("--reread", is_flag=True, help="Read all headers again: notices objects that changed or went.")
@scanning_options
@reports_errors
def command(
    location: str,
    other: str,
    *,
    on_error: str,
    executor: str | None,
    reread: bool,
    quiet: bool,
    storage_file: Path | None,
    as_json: bool,
) -> None:
    """Append the scenes of OTHER, a set's path or URL, to SET.

    Nothing is requested where the manifests of OTHER tell enough; else headers are read again, one request an image.
    The layout of SET holds.
    """
    from rasteret_refs.collection import Collection

    with progress_bar(quiet=quiet or as_json) as progress:
        collection = Collection(location, storage=read_storage(storage_file)).merge(
            other,
            on_error="skip" if on_error == "skip" else "raise",
            progress=progress,
            executor=executor,
            reread=reread,
        )
    tell(collection.append_report, as_json=as_json)
