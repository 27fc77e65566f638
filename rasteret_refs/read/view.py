"""A grid of an opened set as the dataset that a user asks for."""

from typing import TYPE_CHECKING, Any

import xarray as xr

from rasteret_refs.read.dataset import groups as list_paths
from rasteret_refs.read.dataset import open_group
from rasteret_refs.read.decode import decode
from rasteret_refs.read.engine import RefsBackendEntrypoint, group_path
from rasteret_refs.read.scenes import one_scene

if TYPE_CHECKING:
    from rasteret_refs.read.reader import Reader


def to_xarray(
    reader: "Reader",
    group: str | None = None,
    *,
    factor: int = 1,
    scene: str | None = None,
    scale: bool = False,
    masked: bool = False,
    chunks: Any = None,
) -> xr.Dataset:
    """Open one grid at one resolution, or one scene of it.

    Parameters
    ----------
    reader
        What reads the set.
    group, factor
        See `engine.group_path`.
    scene
        Id of a scene: then the group may be left out where only one holds it.
    scale, masked
        See `decode.decode`.
    chunks
        As in `xarray.open_dataset`; None: no dask.

    Raises
    ------
    QueryError
        Nothing fits, or several groups do.
    """
    path = group_path(reader, group if group is not None or scene is None else _group_of(reader, scene), factor)
    if chunks is None:
        dataset = open_group(reader, path)
    else:
        dataset = xr.open_dataset(reader, engine=RefsBackendEntrypoint, group=path, chunks=chunks)  # type: ignore[arg-type]
    if scene is not None:
        dataset = one_scene(dataset, scene)
    return decode(dataset, scale=scale, masked=masked)


def _group_of(reader: "Reader", scene: str) -> str | None:
    """The only grid that holds a scene; None where several do or none does."""
    holding = {path.rpartition("/")[0] for path in list_paths(reader) if scene in _ids(reader, path)}
    return holding.pop() or None if len(holding) == 1 else None


def _ids(reader: "Reader", path: str) -> set[str]:
    values = reader.read_many([_whole(reader, f"{path}/id")])[0]
    return set(values.tolist())


def _whole(reader: "Reader", path: str) -> Any:
    from rasteret_refs.read.reader import Window

    return Window(array=reader.array(path), key=())
