"""What a set already holds of the scenes that are to be appended: known, replaced, late, or new."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.build.duplicates import DUPLICATE_OF
from rasteret_refs.build.scan import ScannedScene
from rasteret_refs.build.scene import Scene
from rasteret_refs.objects.location import canonical
from rasteret_refs.refset.geoparquet import PAGE

type Objects = dict[str, tuple[str, str | None, int | None]]
"""Asset → URL, ETag, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    updated: Any
    objects: Objects


class KnownScenes:
    """The scenes of a set, dropped ones included, by the ids that they came with.

    Parameters
    ----------
    table
        `OpenedRefset.all_scenes`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.ids = frozenset(table["id"].to_pylist())
        self.latest: datetime | None = _latest(table)
        """Time of the newest scene."""
        self.skipped = 0
        """Scenes that `unknown` left out."""
        self._stored: dict[str, list[_Stored]] = {}
        columns = {name: _values(table, name) for name in ("id", DUPLICATE_OF, "updated")}
        for number, objects in enumerate(_objects(table)):
            name = columns[DUPLICATE_OF][number] or columns["id"][number]
            stored = _Stored(updated=columns["updated"][number], objects=objects)
            self._stored.setdefault(name, []).append(stored)

    def unknown(self, scenes: Iterable[Scene]) -> Iterator[Scene]:
        """Leave out scenes that stand in the set with the same objects and the same `updated`: nothing is requested."""
        for scene in scenes:
            hrefs = {asset.name: canonical(asset.href) for asset in scene.assets}
            updated = scene.properties.get("updated")
            if any(
                _text(stored.updated) == _text(updated) and {k: v[0] for k, v in stored.objects.items()} == hrefs
                for stored in self._stored.get(scene.id, ())
            ):
                self.skipped += 1
            else:
                yield scene

    def holds(self, entry: ScannedScene) -> bool:
        """Whether a scanned scene refers to the very objects that the set refers to under its id."""
        found: Objects = {asset.name: (asset.url, asset.etag, asset.size) for asset in entry.assets}
        return any(_same(found, stored.objects) for stored in self._stored.get(entry.scene.id, ()))

    def is_late(self, scene: Scene) -> bool:
        """Whether a scene is older than the newest one of the set."""
        moment = scene.datetime or scene.start_datetime
        return moment is not None and self.latest is not None and moment < self.latest


def _same(one: Objects, other: Objects) -> bool:
    return one.keys() == other.keys() and all(_same_object(one[name], other[name]) for name in one)


def _same_object(one: tuple[str, str | None, int | None], other: tuple[str, str | None, int | None]) -> bool:
    if one[0] != other[0]:
        return False
    if one[1] is not None and other[1] is not None:
        return one[1] == other[1]
    return one[2] is None or other[2] is None or one[2] == other[2]


def _text(value: Any) -> str | None:
    """An `updated` as a document and as a table hold it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    try:
        return None if value is None else datetime.fromisoformat(str(value)).astimezone(UTC).isoformat()
    except ValueError:
        return str(value)


def _values(table: pa.Table, name: str) -> list[Any]:
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows


def _latest(table: pa.Table) -> datetime | None:
    times = pc.coalesce(*(table[name] for name in ("datetime", "start_datetime") if name in table.column_names))
    newest: datetime | None = pc.max(times).as_py()
    return newest


def _objects(table: pa.Table) -> list[Objects]:
    """Objects of each scene, column by column."""
    found: list[Objects] = [{} for _ in range(table.num_rows)]
    if not table.num_rows:
        return found
    assets = table["assets"].combine_chunks()
    for number in range(assets.type.num_fields):
        name = assets.type.field(number).name
        asset = pc.struct_field(assets, [number])
        if asset.type.get_field_index(PAGE) >= 0:  # a further page of an asset, not one of its own
            asset = pc.if_else(pc.is_null(pc.struct_field(asset, PAGE)), asset, pa.scalar(None, asset.type))
        parts = [pc.struct_field(asset, field).to_pylist() for field in ("href", "refs:etag", "refs:size")]
        for row, (href, etag, size) in enumerate(zip(*parts, strict=True)):
            if href is not None:
                found[row][name] = (href, etag, size)
    return found
