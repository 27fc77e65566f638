"""Relocation: sources moved to another bucket, mirror or protocol; prefixes are rewritten without a request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.geoparquet import read_table
from rasteret_refs.refset.layout import SCENES
from rasteret_refs.refset.seal import Seal
from rasteret_refs.refset.secrets import refuse_secrets
from rasteret_refs.refset.successor import Successor


def relocate(
    base: Path, directory: Path, prefixes: Mapping[str, str], *, storage: Mapping[str, Any] | None = None
) -> Seal:
    """Write a set whose references lead to other places.

    Parameters
    ----------
    base, directory
        As for `successor.Successor`.
    prefixes
        Old prefix → new prefix, of URLs or absolute paths; the longest that fits a URL counts.
    storage
        Hints for the new places; None keeps the base's.

    Returns
    -------
    Seal
        What was written.

    Raises
    ------
    QueryError
        A prefix that no reference has, or an empty one.
    RefsetError
        A new prefix with a secret.
    """
    if not all(prefixes) or not all(prefixes.values()):
        raise QueryError(f"expected prefixes that are not empty, got {dict(prefixes)}")
    refuse_secrets(prefixes.values(), "relocate")
    successor = Successor(base, directory)
    sealed = successor.sealed
    used: set[str] = set()
    for path, table in sealed.seal.records.items():
        for number in range(len(table)):
            changed = _rewritten(sealed.table(path, number), prefixes, used)
            if changed is not None:
                successor.replace_records(path, number, changed)
    unused = sorted(prefixes.keys() - used)
    if unused:
        raise QueryError(f"expected prefixes that references have, got {unused}; sources: {list(sealed.sources)}")
    scenes = read_table(pa.BufferReader(sealed.read(SCENES)), str(base / SCENES))
    successor.replace_table(SCENES, _with_hrefs(scenes, prefixes))
    kept = {relocated(source, prefixes) for source in sealed.sources}
    successor.replace_sources(
        tuple(sorted(kept | {new for old, new in prefixes.items() if _inside(old, sealed.sources)}))
    )
    return successor.finish(storage=storage, recipe=_with_rewriting(sealed.seal.recipe, prefixes))


def _with_rewriting(recipe: Mapping[str, Any], prefixes: Mapping[str, str]) -> dict[str, Any]:
    """Let the recorded search, asked again, give hrefs as the set has them now: else all scenes would seem replaced."""
    arguments = recipe.get("arguments")
    if not isinstance(arguments, Mapping):
        return dict(recipe)
    older = {old: relocated(new, prefixes) for old, new in (arguments.get("url_rewrite") or {}).items()}
    rewrite = {**older, **{old: new for old, new in prefixes.items() if old not in older}}
    return {**recipe, "arguments": {**arguments, "url_rewrite": rewrite}}


def _rewritten(table: pa.Table, prefixes: Mapping[str, str], used: set[str]) -> pa.Table | None:
    """Return a record file's table with source prefixes replaced, or None where none fits."""
    path = table["path"].combine_chunks()
    old = path.dictionary.to_pylist()
    new = [relocated(text, prefixes, used) for text in old]
    if new == old:
        return None
    changed = pa.DictionaryArray.from_arrays(path.indices, pa.array(new, pa.string()))
    position = table.schema.get_field_index("path")
    return table.set_column(position, table.schema.field(position), changed)


def relocated(url: str, prefixes: Mapping[str, str], used: set[str] | None = None) -> str:
    """Replace the longest fitting prefix of a URL, and note it in `used`."""
    fitting = [prefix for prefix in prefixes if url.startswith(prefix)]
    if not fitting:
        return url
    prefix = max(fitting, key=len)
    if used is not None:
        used.add(prefix)
    return prefixes[prefix] + url[len(prefix) :]


def _with_hrefs(scenes: pa.Table, prefixes: Mapping[str, str]) -> pa.Table:
    """Rewrite `assets.*.href`."""
    assets = scenes["assets"].combine_chunks()
    fields = []
    for index in range(assets.type.num_fields):
        asset = assets.field(index)
        columns = [asset.field(i) for i in range(asset.type.num_fields)]
        position = asset.type.get_field_index("href")
        old = columns[position].to_pylist()
        hrefs = [href and relocated(href, prefixes) for href in old]
        columns[position] = pa.array(hrefs, pa.string())
        moved = pa.array([was != now for was, now in zip(old, hrefs, strict=True)], pa.bool_())
        for name in ("refs:etag", "refs:last_modified"):  # the other place has its own; the size stays
            if (place := asset.type.get_field_index(name)) >= 0:
                nothing = pa.nulls(len(asset), columns[place].type)
                columns[place] = pc.if_else(moved, nothing, columns[place])
        fields.append(pa.StructArray.from_arrays(columns, fields=list(asset.type.fields), mask=asset.is_null()))
    changed = pa.StructArray.from_arrays(fields, fields=list(assets.type.fields), mask=assets.is_null())
    position = scenes.schema.get_field_index("assets")
    return scenes.set_column(position, scenes.schema.field(position), changed)


def _inside(prefix: str, sources: tuple[str, ...]) -> bool:
    """Tell whether a prefix lies below a sealed source, so that only a part of that source moves."""
    return any(prefix.startswith(source) and prefix != source for source in sources)
