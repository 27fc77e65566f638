"""`info SET`: what a reference set holds."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rasteret_refs.cli.options import json_option, read_storage, storage_option
from rasteret_refs.cli.output import print_facts, print_json, print_table, reports_errors

if TYPE_CHECKING:
    import pyarrow as pa

    from rasteret_refs.collection import Collection


@click.command("info")
@click.argument("location", metavar="SET")
@click.option("--where", help="Only scenes for which this CQL2 text is true.")
@json_option
@storage_option
@reports_errors
def command(location: str, *, where: str | None, as_json: bool, storage_file: Path | None) -> None:
    """Show the grids, arrays and scenes of SET, a reference set's path or URL."""
    from rasteret_refs.collection import Collection

    collection = Collection(location, storage=read_storage(storage_file))
    if where is not None:
        collection = collection.where(where)
    seal = collection.refset.seal
    facts: dict[str, Any] = {
        "location": collection.location,
        "scenes": len(collection),
        "dates": dates_of(collection.scenes) or None,
        "bbox": bbox_of(collection.scenes),
        "splits": splits_of(collection) or None,
        "failures": len(collection.refset.failures()) or None,
        "layout": seal.layout,
        "grids": len(collection.groups),
        "sources": list(seal.sources),
        "built_from": seal.recipe.get("source"),
        "versions": dict(seal.versions),
    }
    if as_json:
        print_json({**facts, "groups": [asdict(group) for group in collection.groups]})
        return
    print_facts(_as_texts(facts))
    columns = ("group", "crs", "scenes", "factors", "array", "type", "shape", "chunks", "decoding")
    print_table("Grids", columns, _rows(collection))


def _as_texts(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts as people read them; what there is nothing to say about is left out."""
    texts = dict(facts)
    for name in ("dates", "bbox"):
        texts[name] = " ".join(map(str, facts[name])) if facts[name] else None
    if facts["splits"]:
        texts["splits"] = "; ".join(
            f"{column} of {unit}s by {rule['by']}: "
            + ", ".join(f"{name or '(none)'} {count}" for name, count in rule["counts"].items())
            for column, units in facts["splits"].items()
            for unit, rule in units.items()
        )
    texts["sources"] = ", ".join(facts["sources"])
    texts["versions"] = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return {name: value for name, value in texts.items() if value is not None}


def _rows(collection: "Collection") -> list[tuple[Any, ...]]:
    """One row an array."""
    return [
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


def dates_of(scenes: "pa.Table") -> list[str]:
    """First and last day of the scenes; none without dates."""
    from rasteret_refs.refset.views_map import times_of

    return list(times_of(scenes))


def bbox_of(scenes: "pa.Table") -> list[float] | None:
    """West, south, east and north of all footprints, in degrees."""
    import numpy as np

    from rasteret_refs.refset.views_subset import bounds_of

    bounds = bounds_of(scenes)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(bounds):
        return None
    corners = [*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()]
    return [round(value, 6) for value in corners]


def splits_of(collection: "Collection") -> dict[str, Any]:
    """How many scenes, and chips, are in each split, by the column of each recorded rule."""
    from rasteret_refs.ml.assign import RECORDED, RECORDED_CHIPS

    found: dict[str, Any] = {}
    for key, unit in ((RECORDED, "scene"), (RECORDED_CHIPS, "chip")):
        for column, rule in collection.refset.seal.recipe.get(key, {}).items():
            table = collection.refset.tiles() if unit == "chip" else collection.scenes
            if table is not None and column in table.column_names:
                pairs = [(pair["values"] or "", pair["counts"]) for pair in table[column].value_counts().to_pylist()]
                facts = {"by": rule["by"], "seed": rule["seed"], "counts": dict(sorted(pairs))}
                found.setdefault(column, {})[unit] = facts
    return found
