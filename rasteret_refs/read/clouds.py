"""What `mask="clouds"` means for a set: the rules of the dataset that its scenes belong to."""

from collections.abc import Mapping, Sequence
from typing import Any

from rasteret_refs.errors import QueryError
from rasteret_refs.read.bands import datasets_of, recipe_of, renamed
from rasteret_refs.read.reader import Reader
from rasteret_refs.sources.catalog import load_catalog


def cloud_rules(reader: Reader, scenes: Any, assets: Sequence[str]) -> Mapping[str, Any]:
    """Find which values or bits of which assets are clouds, their shadows or cirrus.

    The set's own record of its dataset comes first, then the catalog's entries of the scenes' STAC collections. For
    scenes that belong to no known dataset, an asset's name decides, where all entries that have it mean the same.

    Parameters
    ----------
    assets
        All assets of the set.

    Returns
    -------
    dict
        As `mask=` takes it.

    Raises
    ------
    QueryError
        None of the assets is known to tell of clouds, or entries contradict one another.
    """
    moved = renamed(reader)
    recorded = recipe_of(reader).get("dataset", {}).get("cloud_mask")
    entries = datasets_of(reader, scenes)
    sources = [recorded] if recorded else [entry.cloud_mask for entry in entries]
    if not any(sources):
        sources = [entry.cloud_mask for entry in load_catalog().values()]
    found: dict[str, Any] = {}
    for rules in sources:
        for source, rule in rules.items():
            asset = moved.get(source, source)
            if asset not in assets:
                continue
            if _plain(found.setdefault(asset, rule)) != _plain(rule):
                raise QueryError(
                    f"expected one meaning of clouds in {asset!r}, found {_plain(found[asset])} and {_plain(rule)}: "
                    "say mask={…} instead"
                )
    if not found:
        known = sorted({asset for rules in sources for asset in rules})
        raise QueryError(f"expected one of the assets {known} for mask='clouds', found {list(assets)}")
    return found


def _plain(rule: Any) -> Any:
    if isinstance(rule, Mapping):
        return {key: _plain(value) for key, value in rule.items()}
    return sorted(rule) if isinstance(rule, Sequence) else rule
