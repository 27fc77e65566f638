"""`info SET`: what a reference set holds."""

from dataclasses import asdict
from pathlib import Path

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_facts, print_json, print_table, reports_errors


@click.command("info")
@click.argument("location", metavar="SET")
@json_option
@storage_option
@reports_errors
def command(location: str, *, as_json: bool, storage_file: Path | None) -> None:
    """Show the grids, arrays and scenes of SET, a reference set's path or URL."""
    from rasteret_refs.collection import Collection

    collection = Collection(location, storage=read_storage(storage_file))
    seal = collection.refset.seal
    facts = {
        "location": collection.location,
        "scenes": len(collection),
        "layout": seal.layout,
        "grids": len(collection.groups),
        "sources": list(seal.sources),
        "built_from": seal.recipe.get("source"),
        "versions": dict(seal.versions),
    }
    if as_json:
        print_json({**facts, "groups": [asdict(group) for group in collection.groups]})
        return
    facts["sources"] = ", ".join(seal.sources)
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in seal.versions.items())
    print_facts({name: value for name, value in facts.items() if value is not None})
    rows = [
        (
            group.path or "(root)",
            group.crs or "",
            group.scenes,
            " ".join(map(str, group.factors)),
            array.name,
            array.dtype,
            "×".join(map(str, array.shape)),
            "×".join(map(str, array.chunks)),
            " → ".join(array.codecs),
        )
        for group in collection.groups
        for array in group.arrays
    ]
    columns = ("group", "crs", "scenes", "factors", "array", "type", "shape", "chunks", "decoding")
    print_table("Grids", columns, rows)
