"""From a collection to datasets: what `Collection.to_torch` and `Collection.to_torchgeo` do."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.extras import needed
from rasteret_refs.ml.options import ChipOptions, as_names
from rasteret_refs.ml.series import SeriesSource
from rasteret_refs.ml.source import ChipSource
from rasteret_refs.read.reader import Reader


class Scenes(Protocol):
    """What datasets need of a collection."""

    @property
    def reader(self) -> Reader:
        """What reads the pixels."""

    @property
    def scenes(self) -> pa.Table:
        """The scene table."""


def chip_source(
    collection: Scenes,
    chip_size: int,
    assets: str | Sequence[str] | None = None,
    *,
    geometries: Any = None,
    **options: Any,
) -> ChipSource:
    """Give the chips of a collection, to be read as NumPy batches; needs no torch.

    Parameters
    ----------
    collection
        Collection or view.
    chip_size, assets, **options
        See `ChipOptions`.
    geometries
        The same as `points`.

    Raises
    ------
    QueryError
        Options that there are not, or that fit neither each other nor the collection.
    """
    if geometries is not None:
        if options.get("points") is not None:
            raise QueryError("expected points or geometries, got both")
        options["points"] = geometries
    chosen = _options(chip_size=chip_size, assets=as_names(assets), **options)
    kind = ChipSource if chosen.series is None else SeriesSource
    return kind(collection.reader, collection.scenes, chosen, _tiles(collection))


def to_torch(
    collection: Scenes,
    chip_size: int,
    assets: str | Sequence[str] | None,
    *,
    transform: Callable[[Any], Any] | None,
    iterable: bool,
    shuffle: bool,
    memory: int | None,
    **options: Any,
) -> Any:
    """See `Collection.to_torch`."""
    with needed("Collection.to_torch", extra="ml"):
        from rasteret_refs.ml import torch_data
    source = chip_source(collection, chip_size, assets, **options)
    if not iterable:
        return torch_data.ChipDataset(source, transform)
    return torch_data.ChipStream(source, transform, shuffle=shuffle, memory=memory or torch_data.READ_BYTES)


def to_torchgeo(collection: Scenes, assets: str | Sequence[str] | None, **how: Any) -> Any:
    """See `Collection.to_torchgeo`."""
    with needed("Collection.to_torchgeo", extra="ml"):
        from rasteret_refs.ml import torchgeo_data
    own = {name: how.pop(name) for name in ("is_image", "time_series", "crs", "res", "resampling", "transforms")}
    unfit = [name for name in ("stride", "random", "points", "max_masked", "series") if how.get(name) is not None]
    if unfit:
        raise QueryError(f"expected options of a GeoDataset, whose samplers choose the chips, got {unfit}")
    options = _options(chip_size=1, assets=as_names(assets), **how)
    _refuse_chip_splits(collection, options)
    return torchgeo_data.CollectionDataset(collection.reader, collection.scenes, options, **own)


def _refuse_chip_splits(collection: Scenes, options: ChipOptions) -> None:
    name, tiles = options.split_column, _tiles(collection)
    if options.split is None or name in collection.scenes.column_names or tiles is None:
        return
    if name in tiles.column_names:
        raise QueryError(
            f"expected a split of scenes in {name!r}, found one of chips: to_torch(split=…) reads these; for TorchGeo, "
            "split scenes (assign_splits with unit='scene') or use its own splitters"
        )


def _options(**options: Any) -> ChipOptions:
    try:
        return ChipOptions(**options)
    except TypeError as error:
        raise QueryError(f"expected options out of {sorted(ChipOptions.__slots__)}: {error}") from error


def _tiles(collection: Any) -> pa.Table | None:
    """Labels by tile: those of the view before those of the set."""
    view = getattr(getattr(collection, "view", None), "tiles", None)
    found: pa.Table | None = view if isinstance(view, pa.Table) else collection.reader.refset.tiles()
    return found
