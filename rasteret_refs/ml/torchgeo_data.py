"""TorchGeo datasets over a collection, checked against TorchGeo 0.10.1: its own classes, with batched reads."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
import torch
from matplotlib.colors import ListedColormap
from rasterio.transform import from_origin
from torchgeo.datasets import GeoDataset, IntersectionDataset, UnionDataset

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.ahead import begin
from rasteret_refs.ml.ground import Ground, Window
from rasteret_refs.ml.labels import Labels
from rasteret_refs.ml.options import ChipOptions
from rasteret_refs.ml.overviews import Overviews
from rasteret_refs.ml.reads import Requests, WorkerReader, run, through, together
from rasteret_refs.ml.samples import Sample, concatenated, merged
from rasteret_refs.ml.scene_images import SceneImages, labelled, scene_labels
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Reader

type Transform = Callable[[Sample], Sample]

KEY = "filepath"
"""Column of the index that names the scene. It has TorchGeo's own name for what it drops when indexes are joined: any
other column, joined three times, is refused by pandas."""

EARLIEST, LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")
"""A scene without a time is there at all times that pandas can count in nanoseconds."""


class _Batched:
    """What our three classes share: indexing one by one or as a batch, and operators that stay with us."""

    transforms: Transform | None

    def requests(self, index: Any) -> Requests[Sample]:
        """Plan the reading of one sample."""
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Sample:
        return run(self.requests(index))

    def __getitems__(self, indices: Sequence[Any]) -> list[Sample]:
        """Read samples as one batch: PyTorch calls this with all slices of a batch.

        Raises
        ------
        IndexError
            No scene lies where one of the slices is.
        """
        return run(together([self.requests(index) for index in indices]))

    def _finished(self, sample: Sample) -> Sample:
        return sample if self.transforms is None else self.transforms(sample)

    def __and__(self, other: Any) -> "CollectionIntersection":
        return CollectionIntersection(self, other)

    def __or__(self, other: Any) -> "CollectionUnion":
        return CollectionUnion(self, other)


class CollectionDataset(_Batched, GeoDataset):  # type: ignore[misc] # TorchGeo has no types here
    """A collection as a TorchGeo dataset.

    Parameters
    ----------
    reader, scenes
        Of the collection.
    options
        Assets, split, label, time and masks; `chip_size` is the sampler's affair.
    crs, res, resampling
        See `Ground`.
    is_image
        Samples hold `image` in the TIFF's dtype; else `mask`, int64, without its channel when there is only one.
    time_series
        [T, C, H, W], one image a scene, instead of a mosaic.
    transforms
        Called with each sample.
    """

    def __init__(
        self,
        reader: Reader,
        scenes: pa.Table,
        options: ChipOptions,
        *,
        crs: Any = None,
        res: float | tuple[float, float] | None = None,
        resampling: str = "nearest",
        is_image: bool = True,
        time_series: bool = False,
        transforms: Transform | None = None,
    ) -> None:
        self.reader = WorkerReader(reader)
        images, label = SceneImages(reader, scenes, options), options.label
        self.labels: Labels | None = None if label is None else scene_labels(scenes, label)
        if label is not None:
            images.keep(labelled(scenes, label))
        begin(reader, images.images, images.rows)
        overviews = Overviews(self.reader)
        self.ground = Ground(images, scenes, overviews, crs=crs, res=res, resampling=resampling)
        self.is_image, self.time_series, self.transforms = is_image, time_series, transforms
        self.scenes = scenes
        self.paths = reader.refset.location if hasattr(reader.refset, "location") else ""
        self.all_bands = tuple(name for one in images.images for name in one.band_names())
        self.rgb_bands = tuple(name for name in ("red", "green", "blue") if name in self.all_bands)
        self.cmap = _color_map(images.images[0].arrays)
        self._res = self.ground.res
        self.index = self._make_index()

    def _make_index(self) -> geopandas.GeoDataFrame:
        rows = self.ground.rows
        left, right = self.ground.intervals()
        none = np.isnat(left)
        starts = pd.DatetimeIndex(np.where(none, EARLIEST, left))
        stops = pd.DatetimeIndex(np.where(none, LATEST, right))
        intervals = pd.IntervalIndex.from_arrays(starts, stops, closed="both", name="datetime")
        boxes = shapely.box(*self.ground.boxes().T)
        return geopandas.GeoDataFrame(
            {KEY: [self._key(int(row)) for row in rows]}, index=intervals, geometry=list(boxes), crs=self.ground.crs
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "CollectionDataset":
        """Copy what splitters change, the index, and share all else."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.index = self.index.copy()
        memo[id(self)] = other
        return other

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Row of the scene table for each key of the index."""
        return {self._key(int(row)): int(row) for row in self.ground.rows}

    @cached_property
    def _ids(self) -> list[str]:
        return list(self.scenes["id"].to_pylist())

    @cached_property
    def _repeated(self) -> set[str]:
        seen: set[str] = set()
        return {name for name in self._ids if name in seen or seen.add(name)}  # type: ignore[func-returns-value]

    def _key(self, row: int) -> str:
        name = self._ids[row]
        return f"{name}#{row}" if name in self._repeated else name

    def _disambiguate_slice(self, index: Any) -> tuple[slice, slice, slice]:
        """Do as TorchGeo's, but look up no more bounds of the index than the slice leaves open: they take long."""
        given = (index,) if isinstance(index, slice) else tuple(index)
        if not 2 <= len(given) <= 3 or any(_is_open(axis) for axis in given[:2]):  # noqa: PLR2004 - x, y and perhaps t
            resolved: tuple[slice, slice, slice] = super()._disambiguate_slice(index)
            return resolved
        x, y, t = *given[:2], given[2] if len(given) > 2 else slice(None)  # noqa: PLR2004 - as above
        if _is_open(t):
            times = self.index.index
            start = times.left.min() if t.start is None else t.start
            t = slice(start, times.right.max() if t.stop is None else t.stop, t.step)
        across, down = self.res
        return _stepped(x, across), _stepped(y, down), _stepped(t, 1)

    def _window(self, x: slice, y: slice, t: slice) -> Window | None:
        """Find the scenes in a slice, as TorchGeo's `RasterDataset` does; None where there are none."""
        during = self.index.index.overlaps(pd.Interval(t.start, t.stop))
        rows = np.flatnonzero(during)[:: t.step]
        boxes = np.asarray(self.index.geometry.array)[rows]
        rows = rows[shapely.intersects(boxes, shapely.box(x.start, y.start, x.stop, y.stop))]
        if not len(rows):
            return None
        keys = self._keys().array[rows]
        return Window(
            x=(float(x.start), float(x.stop)),
            y=(float(y.start), float(y.stop)),
            res=(float(x.step), float(y.step)),
            rows=tuple(self._rows[key] for key in keys),
        )

    def _keys(self) -> Any:
        """Give the index's column of scenes.

        TorchGeo 0.10.1's `random_grid_cell_assignment` loses the names of the columns (it hands `.values` on), which
        breaks `RasterDataset`; the column is then known by what it holds.
        """
        if KEY in self.index.columns:
            return self.index[KEY]
        for name in self.index.columns:
            if self.index[name].map(lambda value: isinstance(value, str) and value in self._rows).all():
                return self.index[name]
        raise QueryError(f"expected an index with the column {KEY!r}, found {list(self.index.columns)}")

    def requests(self, index: Any) -> Requests[Sample]:
        """Plan the window's pixels, and make tensors of them."""
        resolved = self._disambiguate_slice(index)
        window = self._window(*resolved)
        if window is None:
            raise IndexError(f"index: {index} not found in dataset with bounds: {self.bounds}")
        reads = self.ground.reads([window], self.crs, stacked=self.time_series)
        (pixels,) = yield from through(self.reader, reads)
        scenes = window.rows if self.time_series else window.rows[:1]
        sample: Sample = {
            "bounds": self._slice_to_tensor(resolved),
            "transform": torch.tensor(from_origin(window.x[0], window.y[1], *window.res)),
            "scene": torch.tensor(scenes, dtype=torch.int64),
        }
        data = torch.from_numpy(pixels)
        if self.is_image:
            sample["image"] = data
        else:
            sample["mask"] = data.long().squeeze(-3)
        if self.labels is not None:
            sample["label"] = torch.as_tensor(self.labels.at(window.rows[0]))
        return self._finished(sample)


class CollectionIntersection(_Batched, IntersectionDataset):  # type: ignore[misc] # as above
    """`a & b`: as TorchGeo's, but the reads of a whole batch, of both datasets, are one batch.

    `collate_fn` is `samples.concatenated`, which does what TorchGeo's `concat_samples` does and also takes labels
    without dimensions and dtypes that differ. Parameters as of TorchGeo's class.
    """

    def __init__(
        self,
        dataset1: Any,
        dataset2: Any,
        spatial_only: bool = False,
        collate_fn: Any = concatenated,
        transforms: Transform | None = None,
    ) -> None:
        super().__init__(dataset1, dataset2, spatial_only, collate_fn, transforms)

    def requests(self, index: Any) -> Requests[Sample]:
        """Plan the samples of both datasets, and join them."""
        samples = yield from together([_sample(dataset, index) for dataset in self.datasets])
        return self._finished(self.collate_fn(samples))


class CollectionUnion(_Batched, UnionDataset):  # type: ignore[misc] # as above
    """`a | b`: as TorchGeo's, but the reads of a whole batch, of both datasets, are one batch.

    `collate_fn` is `samples.merged`, which does what TorchGeo's `merge_samples` does, for uint16 too.
    """

    def __init__(
        self, dataset1: Any, dataset2: Any, collate_fn: Any = merged, transforms: Transform | None = None
    ) -> None:
        super().__init__(dataset1, dataset2, collate_fn, transforms)

    def requests(self, index: Any) -> Requests[Sample]:
        """Plan the samples of the datasets that reach there, and merge them."""
        found = yield from together([_if_any(_sample(dataset, index)) for dataset in self.datasets])
        samples = [sample for sample in found if sample is not None]
        if not samples:
            raise IndexError(f"index: {index} not found in dataset with bounds: {self.bounds}")
        return self._finished(self.collate_fn(samples))


def _is_open(axis: slice) -> bool:
    return axis.start is None or axis.stop is None


def _stepped(axis: slice, step: Any) -> slice:
    return axis if axis.step is not None else slice(axis.start, axis.stop, step)


def _color_map(arrays: Sequence[ReferencedArray]) -> Any:
    """Give the colours of classes, where the TIFFs have a colour table, as TorchGeo does."""
    table = next((found for array in arrays if (found := array.attributes.get("gdal", {}).get("color_table"))), None)
    return None if table is None else ListedColormap(np.array(table) / 255)


def _sample(dataset: Any, index: Any) -> Requests[Sample]:
    """One sample of any dataset; others than ours read for themselves."""
    if isinstance(dataset, _Batched):
        return (yield from dataset.requests(index))
    sample: Sample = dataset[index]
    return sample


def _if_any(requests: Requests[Sample]) -> Requests[Sample | None]:
    """None instead of an IndexError."""
    try:
        return (yield from requests)
    except IndexError:
        return None
