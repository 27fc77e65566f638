"""Rasteret collections: scenes whose headers come from stored tile offsets and byte counts, without a request.

Rasteret keeps the full resolution only: overviews and masks come with a header that is read from the file
(`fetch_missing=True` reads those that lack something; a build from the hrefs reads all).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import RasteretRefsError, SourceError
from rasteret_refs.sources.hrefs import absolute, rewritten, unsigned
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.kept import without_credentials
from rasteret_refs.sources.rasteret_header import Assumptions, BandRecord, header_of
from rasteret_refs.sources.stac_assets import AssetChoice
from rasteret_refs.sources.storage import Consent
from rasteret_refs.sources.tables import Table
from rasteret_refs.sources.times import parse_datetime
from rasteret_refs.sources.values import Refusals

_NAMED_BANDS = 4
SUFFIX = "_metadata"
"""Ends the name of each struct column that holds the header of one band (Rasteret 0.3 and later)."""
_NEEDED = frozenset(
    {"image_width", "image_height", "tile_width", "tile_height", "dtype", "tile_offsets", "tile_byte_counts"}
)
_OWN = frozenset({"id", "datetime", "geometry", "assets", "bbox", "collection", "start_datetime", "end_datetime"})


def band_columns(schema: pa.Schema) -> list[str]:
    """Names of the bands whose headers a table holds; empty where it is no Rasteret collection."""
    found = []
    for column in schema:
        if column.name.endswith(SUFFIX) and pa.types.is_struct(column.type):
            members = {member.name for member in column.type}
            if members >= _NEEDED:
                found.append(column.name.removesuffix(SUFFIX))
    return found


@dataclass(frozen=True, kw_only=True)
class RasteretReader:
    """Makes scenes of the rows of a Rasteret collection.

    Attributes
    ----------
    choice
        Which bands are meant.
    assumptions
        What to take for granted where the stored record is silent, and whether to fetch the header instead.
    """

    choice: AssetChoice
    assumptions: Assumptions
    url_rewrite: Mapping[str, str] = field(default_factory=dict)
    consent: Consent = field(default_factory=Consent)

    def scenes(self, table: Table, wanted: ItemFilter, refusals: Refusals) -> Iterator[Scene]:
        """One scene a row; rows that cannot be imported are refused by name."""
        tests = wanted.tests()
        bands = band_columns(table.schema)
        for batch in table.batches():
            plain = [name for name in batch.schema.names if name.removesuffix(SUFFIX) not in bands]
            rows = batch.select([name for name in plain if not name.endswith(SUFFIX)]).to_pylist()
            headers = {band: _Records(batch.column(band + SUFFIX)) for band in bands}
            for number, row in enumerate(rows):
                scene_id = str(row.get("id"))
                try:
                    if all(test({**row, "properties": row}) for test in tests):
                        records = {band: column[number] for band, column in headers.items()}
                        scene = self._scene(scene_id, row, records, table.location, refusals)
                        if scene is not None:
                            yield scene
                except RasteretRefsError as error:
                    refusals.refuse(error, scene=scene_id)

    def _scene(
        self,
        scene_id: str,
        row: Mapping[str, Any],
        records: Mapping[str, BandRecord | None],
        location: str | None,
        refusals: Refusals,
    ) -> Scene | None:
        if row.get("id") is None:
            raise SourceError("expected a Rasteret row with an id, found none")
        places = _places(row.get("assets"))
        assets = {
            band: {"href": places[band][0], "type": "image/tiff", "bands": [{"name": band}], "roles": ["data"]}
            for band, record in records.items()
            if record is not None and band in places
        }
        chosen = self.choice.pick(assets)
        if not chosen:
            raise SourceError(f"{scene_id}: expected {self.choice}, found {', '.join(assets) or 'no stored headers'}")
        by_object: dict[str, list[tuple[str, int, BandRecord]]] = {}
        for name, band in chosen:
            record = records[band]
            if record is not None:
                by_object.setdefault(places[band][0], []).append((name, places[band][1], record))
        epsg = _epsg(row)
        found: list[Asset] = []
        for href, members in by_object.items():
            whole = _object_name(href, places)
            for name, group in _images(members, whole):
                try:
                    found.append(self._asset(scene_id, name, href, group, epsg=epsg, location=location))
                except RasteretRefsError as error:
                    refusals.refuse(error, scene=scene_id, asset=name, url=href)
        if not found:
            return None
        moment = row.get("datetime")
        return Scene(
            id=scene_id,
            assets=tuple(found),
            datetime=parse_datetime(moment) if moment is not None else None,
            geometry=row.get("geometry") if isinstance(row.get("geometry"), bytes) else None,
            collection=row.get("collection") if isinstance(row.get("collection"), str) else None,
            properties={key: without_credentials(value) for key, value in row.items() if key not in _OWN},
        )

    def _asset(
        self,
        scene_id: str,
        name: str,
        href: str,
        group: list[tuple[str, int, BandRecord]],
        *,
        epsg: int | None,
        location: str | None,
    ) -> Asset:
        clean, _ = unsigned(absolute(href, location))
        clean = rewritten(clean, self.url_rewrite)
        self.consent.check(clean)
        record = group[0][2]
        properties: dict[str, Any] = {"refs:rasteret_bands": [band for band, _, _ in group]}
        lacking = self.assumptions.lacking(record)
        if lacking and self.assumptions.fetch_missing:
            return Asset(name=name, href=clean, properties=properties)
        if lacking:
            example = self.assumptions.example(lacking)
            raise SourceError(
                f"{scene_id}, {name}: Rasteret's record does not say {' and '.join(lacking)} of {clean}; "
                "fetch_missing=True reads its header (one request)"
                + (f", assume={example} takes it for granted" if example else "")
            )
        if self.assumptions.used(record):
            properties["refs:assumed"] = self.assumptions.used(record)
        header = header_of([one for _, _, one in group], epsg, self.assumptions)
        return Asset(name=name, href=clean, properties=properties, header=header)


def _images(
    members: list[tuple[str, int, BandRecord]], whole: str
) -> list[tuple[str, list[tuple[str, int, BandRecord]]]]:
    """(asset name, its bands in order) of one object: an interleaved image is taken whole, planes can be apart."""
    ordered = sorted(members, key=lambda member: member[1])
    first = ordered[0][2]
    if first.chunky_samples > 1 or (len(ordered) > 1 and _makes_whole(ordered)):
        return [(whole, ordered)]
    return [(member[0], [member]) for member in ordered]


def _object_name(href: str, places: Mapping[str, tuple[str, int]]) -> str:
    """Name of an image of several bands: `image` where it is the scene's only object, else after its bands."""
    bands = sorted((position, band) for band, (other, position) in places.items() if other == href)
    if len({other for other, _ in places.values()}) == 1 and len(bands) > 1:
        return "image"
    names = [band for _, band in bands]
    return "_".join(names if len(names) <= _NAMED_BANDS else [names[0], names[-1]])


def _makes_whole(members: list[tuple[str, int, BandRecord]]) -> bool:
    # Planes that are stored apart: Rasteret gives each band its own slice of the offsets.
    first = members[0][2]
    positions = sorted(position for _, position, _ in members)
    return first.planar_separate and positions == list(range(first.samples))


def _places(assets: Any) -> dict[str, tuple[str, int]]:
    """Band → (href, position of the band in the file)."""
    found: dict[str, tuple[str, int]] = {}
    pairs = assets.items() if isinstance(assets, Mapping) else assets or ()
    for band, asset in pairs:
        if isinstance(asset, Mapping) and asset.get("href"):
            found[band] = (str(asset["href"]), int(asset.get("band_index") or 0))
        elif isinstance(asset, str) and asset:
            found[band] = (asset, 0)
    return found


def _epsg(row: Mapping[str, Any]) -> int | None:
    for name in ("proj:epsg", "proj:code", "crs"):
        value = row.get(name)
        text = str(value).upper().removeprefix("EPSG:") if value is not None else ""
        if text.removesuffix(".0").isdigit():
            return int(text.removesuffix(".0"))
    return None


class _Records:
    """A struct column of headers, one record a row; offsets stay NumPy arrays."""

    def __init__(self, column: pa.StructArray) -> None:
        self._valid = column.is_valid().to_pylist()
        lists = {"tile_offsets", "tile_byte_counts"}
        names = [member.name for member in column.type]
        # `field` ignores the parents' validity, which `_valid` covers, and keeps children of sliced arrays aligned.
        self._lists = {name: _ListColumn(column.field(name)) for name in names if name in lists}
        small = pa.Table.from_arrays(
            [column.field(name) for name in names if name not in lists],
            names=[name for name in names if name not in lists],
        )
        self._small = small.to_pylist()

    def __getitem__(self, number: int) -> BandRecord | None:
        if not self._valid[number]:
            return None
        return BandRecord.of(
            self._small[number], self._lists["tile_offsets"][number], self._lists["tile_byte_counts"][number]
        )


class _ListColumn:
    def __init__(self, column: Any) -> None:
        self._starts = column.offsets.to_numpy()
        self._values: npt.NDArray[np.int64] = column.values.to_numpy(zero_copy_only=False).astype(np.int64)

    def __getitem__(self, number: int) -> npt.NDArray[np.int64]:
        return self._values[self._starts[number] : self._starts[number + 1]].copy()
