"""Which assets and bands a user means: by asset, alias, STAC common name or band name; what may mean two is refused."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rasteret_refs.errors import QueryError
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.images import Image, Images
from rasteret_refs.read.reader import Reader
from rasteret_refs.sources.catalog import Dataset, load_catalog
from rasteret_refs.sources.stac_assets import band_names, bands_of, common_name

_BAND_AXIS = 4
"""Dimensions of an array with bands: scene, band, row, column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One variable to read."""

    name: str
    """Of the variable: the asset's, or the name by which its only band was asked for."""
    asset: str
    bands: tuple[int, ...] | None
    """Positions along the band axis; None: the asset has no such axis."""


def choose(
    images: Images,
    scenes: Any,
    assets: Sequence[str] | None,
    bands: Sequence[str | int] | None,
    hiding: Iterable[str] = (),
) -> tuple[Choice, ...]:
    """Choose what to read.

    Parameters
    ----------
    images, scenes
        Of the set, and rows of its scene table.
    assets
        Names, or one; None: all that the scenes have, but those in `hiding`.
    bands
        Names of bands of these assets, in any of the ways above, or one; None: all bands.
    hiding
        Assets that serve as masks.

    Raises
    ------
    QueryError
        A name that nothing has, or that several bands have.
    """
    known = images.assets(scenes)
    left_out = set(hiding)
    assets = [assets] if isinstance(assets, str) else assets
    bands = [bands] if isinstance(bands, str | int) else bands
    names = list(assets) if assets is not None else [name for name in known if name not in left_out]
    if not names:
        raise QueryError(f"expected assets to read among {known}, found only masks")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise QueryError(f"expected assets among {known}, found {unknown[0]!r}")
    if bands is None:
        arrays = {name: images.arrays(scenes, name) for name in names}
        if assets is None:  # what none of these scenes has was not asked for
            arrays = {name: found for name, found in arrays.items() if found} or arrays
        return tuple(Choice(name=name, asset=name, bands=_everything(found)) for name, found in arrays.items())
    lookup = _Lookup(images, scenes, names)
    chosen: dict[str, Choice] = {}
    for band in bands:
        choice = lookup.find(band)
        before = chosen.get(choice.name)
        if before is not None and before.bands is not None and choice.bands is not None:
            more = tuple(place for place in choice.bands if place not in before.bands)
            choice = replace(before, bands=before.bands + more)
        chosen[choice.name] = choice
    return tuple(chosen.values())


def band_labels(reader: Reader, array: ReferencedArray) -> list[Any] | None:
    """Read the band coordinate of an array; None where it has no band axis."""
    if len(array.shape) < _BAND_AXIS:
        return None
    group, dim = array.path.rpartition("/")[0], array.dims[1]
    path = f"{group}/{dim}" if group else dim
    if f"{path}/.zarray" not in reader.refset.metadata:
        return list(range(1, array.shape[1] + 1))
    labels: list[Any] = np.asarray(reader.read(path)).tolist()
    return labels


def datasets_of(reader: Reader, scenes: Any) -> list[Dataset]:
    """List the catalog's entries that scenes belong to: the one that the set was built from, else by STAC collection.

    Several where one collection is served by several providers, whose assets may bear other names.
    """
    catalog = load_catalog()
    recorded = recipe_of(reader).get("dataset", {}).get("id")
    if recorded in catalog:
        return [catalog[recorded]]
    names = set(scenes["collection"].unique().to_pylist()) if "collection" in scenes.column_names else set()
    return [entry for entry in catalog.values() if entry.collection and entry.collection in names]


def recipe_of(reader: Reader) -> Mapping[str, Any]:
    """Give how a set was built, as its seal records it."""
    recipe: Mapping[str, Any] = getattr(getattr(reader.refset, "seal", None), "recipe", None) or {}
    return recipe


def renamed(reader: Reader) -> dict[str, str]:
    """Give the names that assets had at their source: source's → the set's."""
    names = recipe_of(reader).get("arguments", {}).get("assets")
    return {str(source): str(own) for own, source in names.items()} if isinstance(names, Mapping) else {}


def check_bands(choice: Choice, images: Iterable[Image], scenes: Any) -> None:
    """Make sure that all images have the bands that were chosen, and an axis of bands only if one was chosen.

    Raises
    ------
    QueryError
        One has not; the message names its scene.
    """
    known: set[str] = set()
    for image in images:
        if image.array.path in known:
            continue
        known.add(image.array.path)
        bands = _bands(image.array)
        if (choice.bands is None) != (not bands) or max(choice.bands or (-1,)) >= bands:
            wanted = "an image without band axis" if choice.bands is None else f"band {max(choice.bands) + 1}"
            raise QueryError(
                f"expected {wanted} of {choice.asset!r} in each scene, found {bands or 1} in "
                f"{scenes['id'][image.scene].as_py()!r}: choose bands= that all have, or leave such scenes out"
            )


def _everything(arrays: Iterable[ReferencedArray]) -> tuple[int, ...] | None:
    """Give all bands that any of these arrays has."""
    return tuple(range(max(map(_bands, arrays), default=0))) or None


class _Lookup:
    """Names of bands of some assets, from the most to the least specific kind; the first kind that fits decides."""

    def __init__(self, images: Images, scenes: Any, assets: Sequence[str]) -> None:
        self._arrays = {name: images.arrays(scenes, name) for name in assets}
        self._labels = {
            name: band_labels(images.reader, max(found, key=_bands)) for name, found in self._arrays.items() if found
        }
        self._fields = {name: _fields(scenes, name) for name in assets}
        moved = renamed(images.reader)
        self._aliases: dict[str, set[str]] = {}
        for source, own in moved.items():
            self._aliases.setdefault(source, set()).add(own)
        for entry in datasets_of(images.reader, scenes):
            for alias, key in entry.aliases.items():
                self._aliases.setdefault(alias, set()).add(moved.get(key, key))

    def find(self, wanted: str | int) -> Choice:
        """Find the only band, or asset, that a name means."""
        if isinstance(wanted, str) and wanted in self._arrays:
            return Choice(name=wanted, asset=wanted, bands=_everything(self._arrays[wanted]))
        for found in self._candidates(wanted):
            distinct = sorted(set(found), key=str)
            if len(distinct) > 1:
                meant = ", ".join(name if place is None else f"{name}[{place}]" for name, place in distinct)
                raise QueryError(f"expected a band of one asset, found {wanted!r}, which may mean any of {meant}")
            if distinct:
                asset, place = distinct[0]
                if place is not None:
                    return Choice(name=asset, asset=asset, bands=(place,))
                return Choice(name=str(wanted), asset=asset, bands=_everything(self._arrays[asset]))
        bands = {name: labels for name, labels in self._labels.items() if labels}
        raise QueryError(f"expected a band among assets {list(self._arrays)} and their bands {bands}, found {wanted!r}")

    def _candidates(self, wanted: str | int) -> Iterable[list[tuple[str, int | None]]]:
        """List what a name may mean, kind by kind: (asset, position along its band axis)."""
        single = {name: fields for name, fields in self._fields.items() if self._labels.get(name) is None}
        yield [(asset, None) for asset in self._aliases.get(str(wanted), ()) if asset in self._arrays]
        yield [
            (n, None) for n, fields in single.items() if wanted in {common_name(band) for band in bands_of(fields)[:1]}
        ]
        yield [
            (n, None)
            for n, fields in single.items()
            if wanted in _described(self._arrays[n]) or (len(bands_of(fields)) == 1 and wanted in band_names(fields))
        ]
        yield [
            (name, labels.index(wanted)) for name, labels in self._labels.items() if labels and wanted in labels
        ] or [
            (name, place)
            for name, labels in self._labels.items()
            if labels and len(bands_of(self._fields[name])) == len(labels)
            for place, band in enumerate(bands_of(self._fields[name]))
            if wanted in {common_name(band), band.get("name"), band.get("description")}
        ]
        yield [(name, None) for name in self._arrays if name.lower() == str(wanted).lower()]


def _bands(array: ReferencedArray) -> int:
    return array.shape[1] if len(array.shape) >= _BAND_AXIS else 0


def _described(arrays: Sequence[ReferencedArray]) -> list[Any]:
    bands = arrays[0].attributes.get("gdal", {}).get("bands", []) if arrays else []
    return [band.get("description") for band in bands]


def _fields(scenes: Any, asset: str) -> Mapping[str, Any]:
    """Give an asset's STAC fields, as the first scene that has it says."""
    column = scenes["assets"].combine_chunks().field(asset)
    if "refs:group" not in [field.name for field in column.type]:
        return {}
    present = column.field("refs:group").is_valid()
    at = present.index(True).as_py()
    fields: dict[str, Any] = {} if at < 0 else column[at].as_py() or {}
    for name in ("bands", "eo:bands", "raster:bands"):
        if isinstance(fields.get(name), str):
            fields[name] = json.loads(fields[name])
    return fields
