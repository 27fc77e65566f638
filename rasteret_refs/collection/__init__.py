"""Collection: a reference set opened in Python. Each method delegates to the layer that does the work."""

import copy
import html
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rasteret_refs.collection.growth import Growing
from rasteret_refs.collection.labels import Labelling
from rasteret_refs.collection.reading import Reading
from rasteret_refs.collection.trust import Trusting
from rasteret_refs.collection.views import Viewing

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

    from rasteret_refs.build.run import Axis, BuildReport, Layout
    from rasteret_refs.build.scan import OnError
    from rasteret_refs.read.cache import DiskCache
    from rasteret_refs.read.groups import Groups
    from rasteret_refs.read.reader import Reader
    from rasteret_refs.refset.views import View
    from rasteret_refs.sources.radiometry import Origin


class Collection(Reading, Viewing, Labelling, Growing, Trusting):
    """A reference set, or some scenes of one: a table of scenes, and their pixels as lazy arrays.

    `where`, `subset`, `select` and `latest` give views: collections of fewer scenes over the same set, nothing copied.

    Parameters
    ----------
    location
        Path or URL of the set, `NAME.refs`.
    storage
        Prefix → obstore options, `"planetary-computer"`, `"earthdata"` or `"anonymous"`; over the hints that the set
        itself carries.
    sha256
        Hash of `refs.json` that the set must have: pins the whole set.
    allow
        Prefixes of URLs, or directories, that pixels may be read from beyond what a set may name by itself. Sets that
        you wrote on this machine need none; others may lead to public hosts within their own prefixes only.
    check_sources
        Raise `ChangedError` where an object is no longer the one that was indexed; False takes objects as they are.
    tile_cache
        Bytes of decoded tiles kept in memory for the chips to come; 0 keeps none. None: some of local files, as long as
        that pays.
    disk_cache
        A directory for encoded tiles, which processes may share (at most 10 GiB), or a `read.cache.DiskCache` with a
        limit of its own. None: nothing is kept on disk.

    Raises
    ------
    NotFoundError, DamagedError, FormatVersionError
        At once, for the set's seal and metadata are checked here.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        storage: Mapping[str, Any] | None = None,
        sha256: str | None = None,
        allow: str | Sequence[str] = (),
        check_sources: bool = True,
        tile_cache: int | None = None,
        disk_cache: "DiskCache | str | os.PathLike[str] | None" = None,
    ) -> None:
        from rasteret_refs.refset.opened import OpenedRefset
        from rasteret_refs.refset.views import View

        self.location = os.fspath(location)
        self.storage = dict(storage or {})
        self.allow = (allow,) if isinstance(allow, str) else tuple(allow)
        self.check_sources = check_sources
        self.caches: dict[str, Any] = {"tile_cache": tile_cache, "disk_cache": disk_cache}
        """What is kept of tiles that were read."""
        self.refset = OpenedRefset(self.location, self.storage, sha256=sha256)
        self.view = View(refset=self.refset)
        """Which scenes of the set are meant."""
        self.report: BuildReport | None = None
        """What the build did, on a collection that `build` returned."""

    def _with(self, view: "View") -> Self:
        """The same set, other scenes or columns; the reader and its caches are shared."""
        other = copy.copy(self)
        other.__dict__.update(reader=self.reader, view=view)
        other.__dict__.pop("groups", None)
        return other

    def _reopen(self) -> None:
        """Bring this collection up to date with its set."""
        kept = {"storage": self.storage, "allow": self.allow, "check_sources": self.check_sources, **self.caches}
        fresh = type(self)(self.location, **kept)
        reports = {"report": self.report, "append_report": self.append_report}
        self.__dict__.clear()
        self.__dict__.update(fresh.__dict__ | reports)

    @cached_property
    def reader(self) -> "Reader":
        """What reads the pixels."""
        from rasteret_refs.read.cache import disk_cache
        from rasteret_refs.read.opening import reader_of

        caches = {**self.caches, "disk_cache": disk_cache(self.caches["disk_cache"])}
        return reader_of(self.refset, self.storage, allow=self.allow, check_sources=self.check_sources, **caches)

    @property
    def scenes(self) -> "pa.Table":
        """The scene table, one row a scene (STAC-GeoParquet columns and `refs:*`)."""
        return self.view.table

    @cached_property
    def groups(self) -> "Groups":
        """The grids that the scenes lie in, with shapes, counts and codecs."""
        from rasteret_refs.read.groups import list_groups, narrowed

        return narrowed(list_groups(self.refset.metadata), self.view)

    def to_xarray(
        self,
        group: str | None = None,
        *,
        factor: int = 1,
        id: str | None = None,  # noqa: A002 - STAC's name
        scale: "bool | Origin" = False,
        masked: bool = False,
        chunks: Any = None,
    ) -> "xr.Dataset":
        """Open one grid at one resolution as a lazy dataset of these scenes, sorted by time.

        Parameters
        ----------
        group
            Path of a grid (see `groups`); None where the scenes lie in one, or where `id` decides.
        factor
            Decimation: 1 is full resolution, 2, 4, … are the TIFFs' overviews.
        id
            One scene alone, georeferenced, from any layout.
        scale
            Apply scale and offset, per scene and band. The product's rule, STAC and the TIFF must agree where they
            speak; `"rule"`, `"stac"` or `"tiff"` trusts one of them.
        masked
            NaN where a pixel is nodata, or masked by the TIFF's own mask.
        chunks
            None: lazy without dask. Else as in `xarray.open_dataset`: `{}` gives whole tiles, grouped.

        Raises
        ------
        QueryError
            Nothing fits, or several grids do, and the message names them; contradictory scale and offset, and the
            message names the scene.
        """
        from rasteret_refs.read.view import to_xarray

        return to_xarray(
            self.reader, self.view, group, factor=factor, scene=id, scale=scale, masked=masked, chunks=chunks
        )

    def to_torch(
        self,
        chip_size: int,
        assets: Sequence[str] | None = None,
        *,
        transform: Callable[[Any], Any] | None = None,
        iterable: bool = False,
        shuffle: bool = True,
        memory: int | None = None,
        **options: Any,
    ) -> Any:
        """Give chips of the scenes as a PyTorch dataset; batches are read as a whole, dtypes stay those of the TIFFs.

        Parameters
        ----------
        chip_size
            Side of a chip, in pixels of the finest asset.
        assets
            Channels of the image, in this order; None: all but masks and labels.
        transform
            Called with each sample, a dict of tensors.
        iterable
            Read chips of the same tiles together, each tile once a pass; else any chip by its index.
        shuffle, memory
            Of the iterable dataset, see `ml.torch_data.ChipStream`.
        **options
            `split`, `time`, `stride`, `random`, `points` or `geometries`, `label`, `mask_assets`, `max_masked`,
            `series`, `skip_empty`, `dtype`, `seed`: see `ml.options.ChipOptions`. A split may be one of scenes or of
            chips: of these, only chips that lie wholly inside their split are given.

        Returns
        -------
        ml.torch_data.ChipDataset or ml.torch_data.ChipStream
        """
        from rasteret_refs.ml.entry import to_torch

        return to_torch(
            self, chip_size, assets, transform=transform, iterable=iterable, shuffle=shuffle, memory=memory, **options
        )

    def to_torchgeo(
        self,
        assets: Sequence[str] | None = None,
        *,
        is_image: bool = True,
        time_series: bool = False,
        crs: Any = None,
        res: float | tuple[float, float] | None = None,
        resampling: str = "nearest",
        transforms: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> Any:
        """Give the scenes as a `torchgeo.datasets.GeoDataset`, for TorchGeo's samplers, splitters and trainers.

        Parameters
        ----------
        assets
            Channels, in this order; None: all but masks.
        is_image
            Samples hold `image`, in the dtype of the TIFFs; else `mask`, int64.
        time_series
            One image a scene, [T, C, H, W], instead of a mosaic of the first valid pixels.
        crs, res
            Of the dataset; None: the commonest CRS of the scenes, and the pixel size of the finest asset. Where pixels
            are wanted coarser, those of overviews are read, as TorchGeo on rasterio does.
        resampling
            Across CRSs and resolutions: `"nearest"` (also for images, where TorchGeo's default is bilinear),
            `"bilinear"`, …
        transforms
            Called with each sample.
        **options
            `split`, `time`, `label`, `mask_assets`, `dtype`: see `ml.options.ChipOptions`.

        Returns
        -------
        ml.torchgeo_data.CollectionDataset
        """
        from rasteret_refs.ml.entry import to_torchgeo

        how = {"is_image": is_image, "time_series": time_series, "crs": crs, "res": res, "resampling": resampling}
        return to_torchgeo(self, assets, transforms=transforms, **how, **options)

    def __len__(self) -> int:
        return len(self.view)

    def __repr__(self) -> str:
        what = "Collection" if self.view.rows is None else "View of"
        return f"{what} {self.location}: {len(self)} scenes, {self.refset.seal.layout}\n{self.groups!r}"

    def _repr_html_(self) -> str:
        from rasteret_refs.refset.views_map import footprint_map, times_of

        title = f"<b>{html.escape(self.location)}</b>: {len(self)} scenes"
        dates = " to ".join(dict.fromkeys(times_of(self.scenes)))
        return f"<div>{title} {dates}{self.groups._repr_html_()}{footprint_map(self.scenes)}</div>"


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
    tolerance: float | None = None,
    coordinates: Sequence[str] = (),
    on_error: "OnError" = "raise",
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[str, int, int | None], None] | None = None,
    executor: Any = None,
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
        For stacks: share of pixels (at most 0.25) by which an array may be larger than an image in it; None: as
        many shapes ask for.
    coordinates
        Scene properties that become Zarr coordinates along the scene axis (split, label).
    on_error
        `"raise"` or `"skip"`: what cannot be referenced is recorded in `failures.parquet`.
    overwrite
        Replace an existing set, atomically.
    resume
        Go on where a build of this output was stopped: headers that it fetched are not fetched again.
    progress
        Called with phase, count and total.
    executor
        Where headers are read, besides this process: `"threads"`, `"processes"`, `"dask"`, `"dask:ADDRESS"`, any
        `concurrent.futures.Executor` or a Dask client. The set is the same, byte for byte.

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
    rule = getattr(stream.dataset, "radiometry", None)
    report = run_build(
        stream,
        Path(out),
        storage=stream.storage,
        storage_hints=public_storage(stream.storage),
        layout=layout,
        axis=axis or stream.axis,
        tolerance=tolerance,
        coordinates=coordinates,
        on_error=on_error,
        overwrite=overwrite,
        resume=resume,
        recipe=stream.recipe if rule is None else {**stream.recipe, "radiometry": rule},
        refusals=lambda: stream.failures,
        progress=progress,
        executor=executor,
    )
    collection = Collection(out, storage=storage)
    collection.report = report
    return collection


def open(  # noqa: A001 - rr.open, as gzip.open and xarray.open_dataset
    location: str | os.PathLike[str],
    *,
    storage: Mapping[str, Any] | None = None,
    sha256: str | None = None,
    allow: str | Sequence[str] = (),
    check_sources: bool = True,
    tile_cache: int | None = None,
    disk_cache: "DiskCache | str | os.PathLike[str] | None" = None,
) -> Collection:
    """Open a reference set: a path, or an https, s3, gs or hf URL. See `Collection`."""
    return Collection(
        location,
        storage=storage,
        sha256=sha256,
        allow=allow,
        check_sources=check_sources,
        tile_cache=tile_cache,
        disk_cache=disk_cache,
    )
