"""A grid of a collection, or of a view of it, as the dataset that a user asks for."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xarray as xr

from rasteret_refs.errors import QueryError
from rasteret_refs.read.calibrate import ORIGINS, calibrations
from rasteret_refs.read.dataset import groups as list_paths
from rasteret_refs.read.dataset import open_group
from rasteret_refs.read.decode import decode
from rasteret_refs.read.engine import RefsBackendEntrypoint, group_path
from rasteret_refs.read.scenes import one_scene
from rasteret_refs.refset.labels import coordinate_values
from rasteret_refs.refset.views import View, grid_of

if TYPE_CHECKING:
    from rasteret_refs.read.reader import Reader
    from rasteret_refs.sources.radiometry import Origin

_SHOWN = 20
"""Grids that a message names."""


def to_xarray(
    reader: "Reader",
    view: View,
    group: str | None = None,
    *,
    factor: int = 1,
    scene: str | None = None,
    scale: "bool | Origin" = False,
    masked: bool = False,
    chunks: Any = None,
) -> xr.Dataset:
    """Open one grid at one resolution, or one scene of it, with the scenes of a view.

    Parameters
    ----------
    reader
        What reads the set.
    view
        Which scenes are wanted.
    group, factor
        See `engine.group_path`. The group may be left out where all scenes of the view lie in one.
    scene
        Id of a scene: then the group may be left out where only one holds it.
    scale
        True: scale and offset of each scene, on which all sources must agree. `"rule"`, `"stac"` or `"tiff"`: as that
        source has it. See `calibrate.calibrations`.
    masked
        See `decode.decode`.
    chunks
        As in `xarray.open_dataset`; None: no dask.

    Raises
    ------
    QueryError
        Nothing fits, or several groups do; sources of scale and offset contradict one another.
    """
    if scale not in (False, True, *ORIGINS):
        raise QueryError(f"expected scale to be True, False or one of {ORIGINS}, got {scale!r}")
    if scene is not None:
        view = view.select([scene])
    path = group_path(reader, group if group is not None else _only_grid(reader, view, factor), factor)
    rows = _rows(reader, view, path)
    if chunks is None:
        dataset = open_group(reader, path, rows=rows)
    else:
        dataset = xr.open_dataset(
            cast("Any", reader), engine=RefsBackendEntrypoint, group=path, chunks=chunks, rows=rows
        )
    dataset = _with_columns(dataset, view)
    if scene is not None:
        dataset = one_scene(dataset, scene)
    better = None
    if scale and scale != "tiff":
        prefer = None if scale is True else cast("Origin", scale)
        better = calibrations(dataset, view.table, reader.refset.seal.recipe, prefer)  # type: ignore[attr-defined]
    return decode(dataset, scale=bool(scale), masked=masked, calibrations=better)


def _only_grid(reader: "Reader", view: View, factor: int) -> str | None:
    """The only grid with scenes of the view; None where the group's own name tells.

    Raises
    ------
    QueryError
        There is none, or there are several, which the message names.
    """
    if view.is_narrowed:
        grids = list(view.places)
        if not grids:
            raise QueryError("expected scenes, got a view without any")
    else:
        name = f"factor_{factor}"
        grids = [grid_of(path) for path in list_paths(reader) if path.rpartition("/")[2] == name]
    if len(grids) > 1:
        more = f" or {len(grids) - _SHOWN} more" if len(grids) > _SHOWN else ""
        raise QueryError(
            f"expected group= to name one of {grids[:_SHOWN]}{more}: the scenes lie in {len(grids)} grids; `groups` "
            "lists them"
        )
    return grids[0] if grids else None  # "": the grid at the root


def _rows(reader: "Reader", view: View, path: str) -> npt.NDArray[np.int64] | None:
    """Numbers along a group's scene axis of the view's scenes; None: all."""
    try:
        rows = view.axis_rows(grid_of(path))
    except KeyError:  # no asset's own grid, but that of a further page: its scenes are known by their ids
        wanted = view.table["id"].to_pylist()
        rows = np.flatnonzero(np.isin(reader.read(f"{path}/id").astype(str), wanted))
    if rows is not None and not len(rows):
        known = [grid for grid in view.places if grid != grid_of(path)]
        raise QueryError(f"expected a group with scenes of this view, one of {known}, got {path!r}")
    return rows


def _with_columns(dataset: xr.Dataset, view: View) -> xr.Dataset:
    """Give the columns that a view carries as coordinates, as a saved set would have them."""
    wanted = {name: values for name, values in view.coordinates.items() if name in view.along_scenes}
    if not wanted or "id" not in dataset.coords:
        return dataset
    ids = pa.array(dataset["id"].to_numpy().astype(str).tolist(), pa.string())
    at = pc.index_in(ids, view.table["id"].combine_chunks())
    dims = dataset["id"].dims
    found = {name: coordinate_values(column.take(at)) for name, column in wanted.items()}
    return dataset.assign_coords({name: (dims, values) for name, values in found.items() if values is not None})
