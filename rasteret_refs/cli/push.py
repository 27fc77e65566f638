"""`push SET URL --version V`: publish below a prefix that never changes."""

from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_facts, print_json, reports_errors


@click.command("push")
@click.argument("location", metavar="SET")
@click.argument("url")
@click.option("--version", required=True, help="Name of this state: the set lies at URL/VERSION, and is never changed.")
@storage_option
@json_option
@reports_errors
def command(location: str, url: str, *, version: str, storage_file: Path | None, as_json: bool) -> None:
    """Publish SET at a directory, or an s3, gs, az or hf://datasets/OWNER/NAME URL, with a card.

    On Hugging Face it is one commit with a tag; the token is that of `hf auth login` or HF_TOKEN.
    """
    from rasteret_refs.collection import Collection

    report = Collection(location).push(url, version=version, storage=read_storage(storage_file)).as_json()
    if as_json:
        print_json(report)
    else:
        print_facts({**report, "open with": f'rr.open("{report["url"]}", sha256="{report["sha256"]}")'})
