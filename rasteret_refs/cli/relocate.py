"""`relocate SET OLD=NEW...`: references lead to other places."""

from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, parse_pairs, read_storage, storage_option
from rasteret_refs.cli.output import print_facts, print_json, reports_errors


@click.command("relocate")
@click.argument("location", metavar="SET")
@click.argument("prefixes", metavar="OLD=NEW...", nargs=-1, required=True, callback=parse_pairs)
@storage_option
@json_option
@reports_errors
def command(location: str, prefixes: dict[str, str], *, storage_file: Path | None, as_json: bool) -> None:
    """Replace beginnings of URLs in SET, without a request: s3://old/=s3://new/, s3://a/=https://mirror/a/.

    Options of --storage are recorded as hints for the new places, without secrets.
    """
    from rasteret_refs.collection import Collection

    collection = Collection(location).relocate(prefixes, storage=read_storage(storage_file))
    facts = {"set": location, "sources": list(collection.refset.seal.sources), "sha256": collection.refset.sha256}
    if as_json:
        print_json(facts)
    else:
        print_facts({**facts, "sources": ", ".join(collection.refset.seal.sources)})
