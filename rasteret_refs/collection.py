"""Collection: a reference set opened in Python. Each method delegates to the layer that does the work."""

import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

    from rasteret_refs.build.run import Axis, BuildReport, Layout
    from rasteret_refs.build.scan import OnError
    from rasteret_refs.read.groups import Groups
    from rasteret_refs.read.reader import Reader
    from rasteret_refs.refset.verify import Report


class Collection:
    """A reference set: scenes, and their pixels as lazy arrays.

    Parameters
    ----------
    location
        Path or URL of the set, `NAME.refs`.
    storage
        Prefix → obstore options, `"planetary-computer"`, `"earthdata"` or `"anonymous"`; over the hints that the set
        itself carries.
    sha256
        Hash of `refs.json` that the set must have: pins the whole set.

    Raises
    ------
    NotFoundError, DamagedError, FormatVersionError
        At once, for the set's seal and metadata are checked here.
    """

    def __init__(
        self, location: str | os.PathLike[str], *, storage: Mapping[str, Any] | None = None, sha256: str | None = None
    ) -> None:
        from rasteret_refs.refset.opened import OpenedRefset

        self.location = os.fspath(location)
        self.storage = dict(storage or {})
        self.refset = OpenedRefset(self.location, self.storage, sha256=sha256)
        self.report: BuildReport | None = None
        """What the build did, on a collection that `build` returned."""

    @cached_property
    def reader(self) -> "Reader":
        """What reads the pixels."""
        from rasteret_refs.objects.client import Objects
        from rasteret_refs.read.reader import Reader

        return Reader(self.refset, Objects({**self.refset.seal.storage, **self.storage}))

    @property
    def scenes(self) -> "pa.Table":
        """The scene table, one row a scene (STAC-GeoParquet columns and `refs:*`)."""
        return self.refset.scenes

    @cached_property
    def groups(self) -> "Groups":
        """The grids of the set with shapes, counts and codecs."""
        from rasteret_refs.read.groups import list_groups

        return list_groups(self.refset.metadata)

    def to_xarray(
        self,
        group: str | None = None,
        *,
        factor: int = 1,
        id: str | None = None,  # noqa: A002 - STAC's name
        scale: bool = False,
        masked: bool = False,
        chunks: Any = None,
    ) -> "xr.Dataset":
        """Open one grid at one resolution as a lazy dataset.

        Parameters
        ----------
        group
            Path of a grid (see `groups`); None where there is only one, or where `id` decides.
        factor
            Decimation: 1 is full resolution, 2, 4, … are the TIFFs' overviews.
        id
            One scene alone, georeferenced, from any layout.
        scale
            Apply scale and offset, per scene and band.
        masked
            NaN where a pixel is nodata, or masked by the TIFF's own mask.
        chunks
            None: lazy without dask. Else as in `xarray.open_dataset`: `{}` gives whole tiles, grouped.

        Raises
        ------
        QueryError
            Nothing fits, or several grids do; the message names them.
        """
        from rasteret_refs.read.view import to_xarray

        return to_xarray(self.reader, group, factor=factor, scene=id, scale=scale, masked=masked, chunks=chunks)

    def verify(self) -> "Report":
        """Check every file of the set against its seal.

        Returns
        -------
        Report
            What was checked.

        Raises
        ------
        DamagedError
            Files are missing, altered or too many; the message names them.
        """
        return self.refset.verify()

    def __len__(self) -> int:
        return int(self.scenes.num_rows)

    def __repr__(self) -> str:
        return f"Collection {self.location}: {len(self)} scenes, {self.refset.seal.layout}\n{self.groups!r}"

    def _repr_html_(self) -> str:
        title = f"<b>{html.escape(self.location)}</b>: {len(self)} scenes"
        return f"<div>{title}{self.groups._repr_html_()}</div>"


def build(
    source: Any,
    out: str | os.PathLike[str],
    *,
    bbox: Sequence[float] | None = None,
    datetime: Any = None,
    assets: Sequence[str] | Mapping[str, str] | None = None,
    storage: Mapping[str, Any] | None = None,
    layout: "Layout" = "auto",
    axis: "Axis | None" = None,
    tolerance: float = 0.0,
    columns: Sequence[str] = (),
    on_error: "OnError" = "raise",
    overwrite: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
    **source_options: Any,
) -> Collection:
    """Reference the TIFFs of a source, and open the result.

    Parameters
    ----------
    source
        TIFF path, glob or URL, a `.txt` list of them, a list of any of these, STAC items or a STAC API, a table, a
        Rasteret collection, or an id of the dataset catalog.
    out
        Directory to create, `NAME.refs`.
    bbox, datetime, assets, **source_options
        Which scenes and assets, see `sources.resolve.resolve`.
    storage
        Prefix → obstore options; hints without secrets are recorded.
    layout
        `"grids"`, `"stack"`, or `"auto"`.
    axis
        `"time"` or `"scene"`; None: what fits the source.
    tolerance
        For stacks: how far shapes may differ, as a share.
    columns
        Scene properties that become Zarr coordinates.
    on_error
        `"raise"` or `"skip"`: what cannot be referenced is recorded in `failures.parquet`.
    overwrite
        Replace an existing set, atomically.
    progress
        Called with phase, count and total.

    Returns
    -------
    Collection
        With `report`.
    """
    from rasteret_refs.build.run import build as run_build
    from rasteret_refs.sources.resolve import resolve
    from rasteret_refs.sources.storage import public_storage

    stream = resolve(
        source, bbox=bbox, datetime=datetime, assets=assets, storage=storage, on_error=on_error, **source_options
    )
    report = run_build(
        stream,
        Path(out),
        storage=stream.storage,
        storage_hints=public_storage(stream.storage),
        layout=layout,
        axis=axis or stream.axis,
        tolerance=tolerance,
        columns=columns,
        on_error=on_error,
        overwrite=overwrite,
        recipe=stream.recipe,
        refusals=lambda: stream.failures,
        progress=progress,
    )
    collection = Collection(out, storage=storage)
    collection.report = report
    return collection


def open(  # noqa: A001 - rr.open, as gzip.open and xarray.open_dataset
    location: str | os.PathLike[str], *, storage: Mapping[str, Any] | None = None, sha256: str | None = None
) -> Collection:
    """Open a reference set: a path, or an https, s3, gs or hf URL. See `Collection`."""
    return Collection(location, storage=storage, sha256=sha256)
