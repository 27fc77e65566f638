"""Two sets into one: the scenes of one are appended to the other, from its manifests where these tell enough."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_refs.build.append import AppendReport, append
from rasteret_refs.build.scan import OnError
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.build.steps import Progress
from rasteret_refs.build.stored import stored_scenes
from rasteret_refs.errors import LayoutError
from rasteret_refs.objects.client import Objects

if TYPE_CHECKING:
    from rasteret_refs.refset.opened import OpenedRefset

_PREFIX = "properties:"
"""Begins the column of a property whose name the table has for itself."""


def merge(
    base: Path,
    other: "OpenedRefset",
    *,
    storage: Mapping[str, Any] | None = None,
    on_error: OnError = "raise",
    progress: Progress | None = None,
    allow: str | Sequence[str] = (),
    reread: bool = False,
    executor: Any = None,
) -> AppendReport:
    """Append the scenes of another set, without those that it dropped.

    A set holds no TIFF headers, but mostly all that is needed of them; else they are read again, one request an object
    (see `stored.stored_scenes`).

    Parameters
    ----------
    base
        The set that grows, a local directory. Its layout and tolerance hold.
    other
        The other set, local or remote.
    storage, on_error, progress, executor
        As in `append.append`.
    allow
        What the other set may name beyond the rule for sets that were not written here, see `objects.authority`.
    reread
        Read the headers in any case: objects that changed or went since are noticed.

    Raises
    ------
    UnauthorisedSourceError
        The other set names objects that a stranger's set may not.
    LayoutError
        One set has a time axis and the other has not.
    """
    from rasteret_refs.refset.files import LocalFiles
    from rasteret_refs.refset.sealed import SealedSet
    from rasteret_refs.refset.trust import authority_of, storage_of
    from rasteret_refs.refset.versions import versions_of
    from rasteret_refs.virtual.existing import MARK

    ours = SealedSet.open(LocalFiles(str(base)))
    axes = [documents[".zattrs"][MARK]["axis"] for documents in (ours.documents, other.metadata)]
    if axes[0] != axes[1]:
        raise LayoutError(
            f"expected two sets with the axis {axes[0]!r}, as {base} has it, got {axes[1]!r} in {other.location}"
        )
    authority = authority_of(other.seal, other.sha256, other.location, allow=allow)
    for url in versions_of(other.scenes):
        authority(url)
    recipe = ours.seal.recipe
    merged = {"sha256": other.sha256, "recipe": other.seal.recipe}
    return append(
        scenes_of(other.scenes),
        base,
        storage=storage,
        storage_hints=storage_of(other.seal, other.sha256, None),
        on_error=on_error,
        objects=Objects(storage, authorise=authority),
        recipe={**recipe, "merged": [*recipe.get("merged", ()), merged]},
        progress=progress,
        executor=executor,
        stored=stored_scenes(other) if ours.seal.layout == "grids" and not reread else None,
    )


def scenes_of(table: pa.Table) -> Iterator[Scene]:
    """Give the scenes that a set's scene table describes, to be referenced again.

    Parameters
    ----------
    table
        As `geoparquet.scene_table` makes it; more columns become properties.
    """
    from rasteret_refs.refset.geoparquet import ASSET_FIELDS, PAGE, RESERVED

    own = [name for name in table.column_names if name not in RESERVED]
    for row in table.to_pylist():
        assets = []
        for name, asset in row["assets"].items():
            if asset is None or asset.get(PAGE) is not None:  # a page comes with the file that it stands in
                continue
            stac = {key: value for key, value in asset.items() if key not in ASSET_FIELDS.names and value is not None}
            assets.append(Asset(name=name, href=asset["href"], properties=stac))
        yield Scene(
            id=row["id"],
            assets=tuple(assets),
            datetime=row["datetime"],
            start_datetime=row.get("start_datetime"),
            end_datetime=row.get("end_datetime"),
            geometry=row["geometry"],
            collection=row["collection"],
            properties={name.removeprefix(_PREFIX): row[name] for name in own if row[name] is not None},
        )
