"""Scenes as sources give them: the input of every build."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime as DateTime  # noqa: N812 - the field `datetime` has STAC's name
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One COG of a scene, not yet read."""

    name: str
    """Name in the reference set, after renaming."""
    href: str
    """Unsigned URL, or an absolute path."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The STAC asset's own fields (`proj:*`, `raster:*`, `eo:*`, `roles`, …); kept, never trusted over the TIFF."""


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
