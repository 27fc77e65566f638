"""Which assets of a STAC item are meant, and by which names: keys, aliases, common names, band names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rasteret_refs.errors import SourceError

type AssetFields = Mapping[str, Any]

_TIFF_ENDINGS = (".tif", ".tiff", ".gtiff", ".cog", ".btf", ".tf8")
# Assets that are TIFFs at times, but show or describe the data rather than hold it
# (https://github.com/radiantearth/stac-spec/blob/master/best-practices.md#list-of-asset-roles).
_SIDE_ROLES = frozenset({"thumbnail", "overview", "visual", "metadata"})


def is_tiff(asset: AssetFields) -> bool:
    """Whether an asset is a TIFF, by its media type, else by the ending of its href.

    STAC before 1.0 wrote `image/vnd.stac.geotiff` and `image/x.geotiff` for `image/tiff; application=geotiff`.
    """
    media_type = str(asset.get("type") or "").lower()
    # Virtual assets (https://github.com/stac-extensions/virtual-assets) are recipes, not files.
    if "virtual" in roles(asset) or "#/" in str(asset.get("href") or ""):
        return False
    if "tiff" in media_type:
        return True
    path = str(asset.get("href") or "").split("?", 1)[0].lower()
    # A media type that names another format counts more than an ending (`.tif.xml`, `.tif` behind a tile server).
    generic = media_type in {"", "application/octet-stream", "binary/octet-stream"} or media_type == "image/*"
    return generic and path.endswith(_TIFF_ENDINGS)


def roles(asset: AssetFields) -> frozenset[str]:
    """Roles of an asset in lower case."""
    value = asset.get("roles") or ()
    return frozenset(str(role).lower() for role in ([value] if isinstance(value, str) else value))


def default_keys(assets: Mapping[str, AssetFields]) -> list[str]:
    """TIFFs with the role `data`; where no TIFF has it (older items), those that are not thumbnails or the like."""
    tiffs = [key for key, asset in assets.items() if is_tiff(asset)]
    data = [key for key in tiffs if "data" in roles(assets[key])]
    if data:
        return data
    plain = [key for key in tiffs if not roles(assets[key]) & _SIDE_ROLES and key not in _SIDE_ROLES]
    return plain or tiffs


def bands_of(asset: AssetFields) -> list[Mapping[str, Any]]:
    """Band objects of an asset: `bands` (STAC 1.1), else `eo:bands`, else `raster:bands`."""
    for field in ("bands", "eo:bands", "raster:bands"):
        value = asset.get(field)
        if isinstance(value, list) and value and all(isinstance(band, Mapping) for band in value):
            return value
    return []


def common_name(band: Mapping[str, Any]) -> str | None:
    """`eo:common_name` (STAC 1.1) or `common_name` of a band."""
    value = band.get("eo:common_name", band.get("common_name"))
    return value if isinstance(value, str) else None


def band_names(asset: AssetFields) -> set[str]:
    """Names and descriptions of an asset's bands."""
    found = {band.get(field) for band in bands_of(asset) for field in ("name", "description")}
    return {name for name in found if isinstance(name, str) and name}


class AssetChoice:
    """The assets that a user asks for, looked up item by item.

    Parameters
    ----------
    assets
        Names to look up, or a mapping from the name in the reference set to the name to look up; None: see
        `default_keys`.
    bands
        Names of bands: the asset that holds a band is taken. An asset of a single band gets the band's name here, one
        of several keeps its key.
    aliases
        The catalog's: other name → asset key.
    """

    def __init__(
        self,
        assets: Sequence[str] | Mapping[str, str] | None = None,
        *,
        bands: Sequence[str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        if assets is not None and bands is not None:
            raise SourceError("expected assets or bands, found both: bands already say which assets are meant")
        if isinstance(assets, str) or isinstance(bands, str):
            raise SourceError(f"expected a list of names, found the text {assets or bands!r}")
        self._by_band = bands is not None
        wanted = bands if bands is not None else assets
        self._wanted = None if wanted is None else _as_mapping(wanted)
        self._aliases = dict(aliases or {})
        self._found: set[str] = set()
        self._available: set[str] = set()
        self._items = 0

    def __str__(self) -> str:
        if self._wanted is None:
            return "TIFF assets"
        return f"one of the {'bands' if self._by_band else 'assets'} {', '.join(self._wanted)}"

    def pick(self, assets: Mapping[str, AssetFields]) -> list[tuple[str, str]]:
        """(name in the reference set, key of the asset) for one item, in the order asked for.

        A name that this item lacks is left out: it becomes a hole. `finish` tells of names that no item had.

        Raises
        ------
        SourceError
            A name that means several assets.
        """
        self._items += 1
        if self._wanted is None:
            return [(key, key) for key in default_keys(assets)]
        if len(self._available) < 1000:  # noqa: PLR2004 - for a message only
            self._available.update(key for key, asset in assets.items() if is_tiff(asset))
        chosen: dict[str, str] = {}
        for name, wanted in self._wanted.items():
            key = self._lookup(wanted, assets)
            if key is None:
                continue
            self._found.add(name)
            if self._by_band and len(bands_of(assets[key])) > 1:
                chosen[key] = key
            else:
                chosen[name] = key
        return list(chosen.items())

    def finish(self) -> None:
        """Raise for names that no item had: a slip of the pen must not become a set of holes.

        Raises
        ------
        SourceError
            Names the assets that there are.
        """
        if self._wanted is None or not self._items:
            return
        unknown = [name for name in self._wanted if name not in self._found]
        if unknown:
            what = "bands" if self._by_band else "assets"
            raise SourceError(
                f"{what} {', '.join(unknown)}: no item has them by key, alias, common name or band name; "
                f"there are {', '.join(sorted(self._available)) or 'no TIFF assets'}"
            )

    def _lookup(self, wanted: str, assets: Mapping[str, AssetFields]) -> str | None:
        if wanted in assets:
            return wanted
        alias = self._aliases.get(wanted)
        if alias is not None and alias in assets:
            return alias
        tiffs = {key: asset for key, asset in assets.items() if is_tiff(asset)}
        single = {key: asset for key, asset in tiffs.items() if len(bands_of(asset)) == 1}
        lower = wanted.lower()
        # From the most to the least specific; the first rule that finds anything decides, and must find one only.
        # An asset of many bands (a true-colour picture) never hides the asset of the one band that is meant.
        rules: tuple[Iterable[str], ...] = (
            (key for key, asset in single.items() if common_name(bands_of(asset)[0]) == wanted),
            (key for key, asset in single.items() if wanted in band_names(asset)),
            (
                key
                for key, asset in tiffs.items()
                if self._by_band
                and (wanted in band_names(asset) or any(common_name(band) == wanted for band in bands_of(asset)))
            ),
            (key for key in tiffs if key.lower() == lower),
        )
        for rule in rules:
            found = list(rule)
            data = [key for key in found if "data" in roles(assets[key])] or found
            if len(data) > 1:
                raise SourceError(f"{wanted!r} may mean any of the assets {', '.join(sorted(data))}; name one of them")
            if data:
                return data[0]
        return None


def _as_mapping(names: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(names, Mapping):
        return dict(names)
    wanted = list(names)
    if len(set(wanted)) != len(wanted):
        raise SourceError(f"expected each name once, found {', '.join(wanted)}")
    return {name: name for name in wanted}
