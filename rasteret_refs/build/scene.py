"""Scenes as sources give them: the input of every build."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime as DateTime  # noqa: N812 - the field `datetime` has STAC's name
from typing import Any

from rasteret_refs.errors import RasteretRefsError
from rasteret_refs.tiff.values import TiffFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One COG of a scene, not yet read."""

    name: str
    """Name in the reference set, after renaming."""
    href: str
    """Unsigned URL, or an absolute path."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The STAC asset's own fields (`proj:*`, `raster:*`, `eo:*`, `roles`, …); kept, never trusted over the TIFF."""
    header: TiffFile | None = None
    """Header that the source already holds (a Rasteret collection); None: to be read from `href`."""
    size: int | None = None
    """Bytes of the object as the source states them; None: unknown. Only used with `header`, to check its extents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One acquisition: a row of the scene table."""

    id: str
    assets: tuple[Asset, ...]
    datetime: DateTime | None = None
    """Timezone-aware; None for plain files."""
    start_datetime: DateTime | None = None
    end_datetime: DateTime | None = None
    geometry: bytes | None = None
    """WKB in longitude and latitude; None: taken from the TIFF."""
    collection: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The item's other properties, or the table's other columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFailure:
    """A scene, or one asset of it, that could not be referenced: a row of `failures.parquet`."""

    scene: str | None
    """Id of the scene, where it is known."""
    asset: str | None
    """Name of the asset; None where the whole scene is refused."""
    url: str | None
    """What was being read, unsigned; None for objects in memory."""
    phase: str
    """`resolve`, `header`, `plan`, …: what was being done."""
    error: RasteretRefsError
    attempts: int = 1
