"""STAC items (0.6 to 1.1, as JSON values) to scenes."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import RasteretRefsError, SourceError
from rasteret_refs.sources.geometry import wkb_from_bbox, wkb_from_geojson
from rasteret_refs.sources.hrefs import absolute, is_url, rewritten, unsigned
from rasteret_refs.sources.kept import Shared
from rasteret_refs.sources.stac_assets import AssetChoice
from rasteret_refs.sources.storage import Consent
from rasteret_refs.sources.times import parse_datetime

_TIMES = ("datetime", "start_datetime", "end_datetime")


@dataclass(frozen=True, kw_only=True)
class ItemReader:
    """Makes scenes of items; one for a whole stream.

    Attributes
    ----------
    choice
        Which assets are meant.
    url_rewrite
        Prefix → prefix, for hrefs that lie elsewhere than the item says.
    consent
        Knows which prefixes make the reader pay, and whether the user agreed.
    shared
        Keeps equal values of all items once.
    """

    choice: AssetChoice
    url_rewrite: Mapping[str, str] = field(default_factory=dict)
    consent: Consent = field(default_factory=Consent)
    shared: Shared = field(default_factory=Shared)

    def scene(self, item: Mapping[str, Any], base: str | None = None) -> Scene:
        """One scene of one item.

        Parameters
        ----------
        item
            JSON values of an Item of any STAC version since 0.6.
        base
            Path or URL of the document; the item's absolute link `self` counts more.

        Raises
        ------
        SourceError
            No id, no times, no TIFF asset, an href that cannot be made absolute or carries credentials.
        AccessError
            An asset whose bytes the reader pays for, without consent.
        """
        scene_id = item.get("id")
        if not isinstance(scene_id, str) or not scene_id:
            raise SourceError(f"expected a STAC item with an id, found {scene_id!r}")
        try:
            return self._scene(scene_id, item, base)
        except RasteretRefsError as error:
            # What raised does not know the item; the type of the error is kept.
            raise type(error)(f"item {scene_id}: {error}") from error

    def _scene(self, scene_id: str, item: Mapping[str, Any], base: str | None) -> Scene:
        properties = item.get("properties") or {}
        assets = item.get("assets") or {}
        if not isinstance(properties, Mapping) or not isinstance(assets, Mapping):
            raise SourceError("expected objects `properties` and `assets`")
        assets = {key: _with_band_objects(asset, properties) for key, asset in assets.items() if _usable(asset)}
        chosen = self.choice.pick(assets)
        if not chosen:
            kinds = ", ".join(f"{key} ({asset.get('type')})" for key, asset in assets.items()) or "none"
            raise SourceError(f"expected {self.choice}, found {kinds}")
        place = _self_href(item) or base
        times = _times(properties)
        collection = item.get("collection") or properties.get("collection")
        return Scene(
            id=scene_id,
            assets=tuple(self._asset(name, key, assets[key], place, properties) for name, key in chosen),
            datetime=times["datetime"],
            start_datetime=times["start_datetime"],
            end_datetime=times["end_datetime"],
            geometry=_footprint(item),
            collection=collection if isinstance(collection, str) else None,
            properties=self.shared.fields(properties, without=_TIMES),
        )

    def _asset(
        self, name: str, key: str, fields: Mapping[str, Any], place: str | None, properties: Mapping[str, Any]
    ) -> Asset:
        href, signature = unsigned(absolute(str(fields["href"]), place))
        href = rewritten(href, self.url_rewrite)
        self.consent.check(href, paid=_reader_pays(fields, properties))
        kept = self.shared.fields(fields, without=("href",))
        if name != key:
            kept["refs:key"] = key  # what the item calls it: rules of radiometry go by that name
        if signature:
            kept["refs:signed"] = signature
        return Asset(name=self.shared.value(name), href=href, properties=self.shared.mapping(kept))


def _reader_pays(fields: Mapping[str, Any], properties: Mapping[str, Any]) -> bool:
    """Whether the storage extension says so, version 1 (`storage:requester_pays`) or 2 (`storage:schemes`).

    See https://github.com/stac-extensions/storage.
    """
    if fields.get("storage:requester_pays", properties.get("storage:requester_pays")) is True:
        return True
    schemes = properties.get("storage:schemes")
    if not isinstance(schemes, Mapping):
        return False
    named = (schemes.get(ref) for ref in fields.get("storage:refs") or ())
    ways = [scheme.get("requester_pays") is True for scheme in named if isinstance(scheme, Mapping)]
    # Several schemes are several ways to one object (CDSE lists itself, free, beside CREODIAS, paid).
    return bool(ways) and all(ways)


def _usable(asset: Any) -> bool:
    return isinstance(asset, Mapping) and bool(asset.get("href"))


def _with_band_objects(asset: Mapping[str, Any], properties: Mapping[str, Any]) -> Mapping[str, Any]:
    # STAC before 0.9: bands stand in the item, and assets hold their positions
    # (https://github.com/radiantearth/stac-spec/blob/v0.8.1/extensions/eo/README.md).
    positions, objects = asset.get("eo:bands"), properties.get("eo:bands")
    if not isinstance(positions, list) or not positions or not all(isinstance(one, int) for one in positions):
        return asset
    others = {key: value for key, value in asset.items() if key != "eo:bands"}
    if not isinstance(objects, list) or not all(0 <= one < len(objects) for one in positions):
        return others
    return {**others, "eo:bands": [objects[one] for one in positions]}


def _self_href(item: Mapping[str, Any]) -> str | None:
    links = item.get("links")
    # STAC 0.6 and earlier had links as an object.
    candidates = links.values() if isinstance(links, Mapping) else links or ()
    for link in candidates:
        if isinstance(link, Mapping) and link.get("rel") == "self":
            href = link.get("href")
            if isinstance(href, str) and (is_url(href) or posixpath.isabs(href)):
                return href
    return None


def _times(properties: Mapping[str, Any]) -> dict[str, Any]:
    times = {key: parse_datetime(properties[key], key) if properties.get(key) else None for key in _TIMES}
    if times["datetime"] is None and times["start_datetime"] is None:
        raise SourceError("expected `datetime` or `start_datetime`, found neither: the scene has no place in time")
    return times


def _footprint(item: Mapping[str, Any]) -> bytes | None:
    geometry = item.get("geometry")
    if isinstance(geometry, bytes):  # STAC-GeoParquet
        return geometry
    if isinstance(geometry, Mapping):
        return wkb_from_geojson(geometry)
    if item.get("bbox"):
        return wkb_from_bbox(item["bbox"])
    return None
