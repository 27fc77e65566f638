"""A group of a reference set as an xarray dataset: lazy arrays that read in bulk, coordinates in memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray import conventions
from xarray.backends import BackendArray
from xarray.core import indexing

from rasteret_refs.errors import DamagedError, QueryError
from rasteret_refs.read import workers
from rasteret_refs.read.arrays import ATTRIBUTE_DIMENSIONS, ReferencedArray
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.rejoin import rejoined

DASK_CHUNK_BYTES = 32 * 1024 * 1024
"""Whole tiles are grouped up to this size into one dask chunk: a Sentinel-2 band becomes nine, not 121."""

COORDINATE_BYTES = 16 * 1024 * 1024
"""Coordinates larger than this stay lazy."""


class LazyArray(BackendArray):
    """Lazily indexed array of a reference set, for xarray; picklable."""

    __slots__ = ("array", "dtype", "reader", "shape")

    def __init__(self, reader: Reader, array: ReferencedArray) -> None:
        self.reader = reader
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return _lazy_array, (self.reader, self.array.path)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        window = self.window(key)
        return workers.run(self.reader.read_many_async([window]))[0]

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        """Do as indexing does, on the running event loop (`Dataset.load_async`)."""
        return (await self.reader.read_many_async([self.window(key)]))[0]

    def window(self, key: indexing.ExplicitIndexer) -> Window:
        """Translate xarray's kinds of indexing; all are read natively."""
        if isinstance(key, indexing.VectorizedIndexer):
            return Window(array=self.array, key=_broadcast(key.tuple, self.shape), points=True)
        return Window(array=self.array, key=key.tuple)


def _lazy_array(reader: Reader, path: str) -> LazyArray:
    return LazyArray(reader, reader.array(path))


def _broadcast(key: Sequence[Any], shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], ...]:
    """Turn slices of a vectorised key into index arrays: their dimensions come last (NumPy's `vindex` proposal)."""
    slices = [axis for axis, index in enumerate(key) if isinstance(index, slice)]
    arrays = []
    for axis, index in enumerate(key):
        if not isinstance(index, slice):
            arrays.append(np.asarray(index)[(..., *(np.newaxis,) * len(slices))])
            continue
        place = [1] * len(slices)
        positions = np.arange(*index.indices(shape[axis]))
        place[slices.index(axis)] = len(positions)
        arrays.append(positions.reshape(place))
    return tuple(arrays)


def open_group(
    reader: Reader,
    path: str,
    *,
    decode_times: Any = True,
    decode_coords: Any = True,
    drop_variables: str | Iterable[str] | None = None,
    rows: npt.NDArray[np.int64] | None = None,
) -> xr.Dataset:
    """Open one group as a dataset.

    Parameters
    ----------
    path
        Of a group that holds arrays, e.g. `factor_1` or `32643_600000_1500000_10/factor_2`.
    decode_times, decode_coords, drop_variables
        As in `xarray.open_dataset`.
    rows
        Numbers along the scene axis to keep; None: all.

    Returns
    -------
    xarray.Dataset
        Pixels are lazy and keep the dtype of the TIFF; coordinates are in memory; an unsorted `time` is put in order.

    Raises
    ------
    QueryError
        There is no such group, or it holds no arrays.
    DamagedError
        Its arrays contradict each other.
    """
    arrays = group_arrays(reader, path)
    if not arrays:
        raise QueryError(f"expected one of the groups {groups(reader)}, found {path!r}")
    skipped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
    arrays = {name: array for name, array in arrays.items() if name not in skipped}
    variables = _variables(reader, path, arrays)
    attributes = dict(reader.refset.metadata.get(f"{path}/.zattrs" if path else ".zattrs", {}))
    decoded, decoded_attributes, coordinates = conventions.decode_cf_variables(
        variables, attributes, mask_and_scale=False, decode_times=decode_times, decode_coords=decode_coords,
        concat_characters=False, decode_timedelta=False,
    )  # fmt: skip
    is_coordinate = {name: name in coordinates or variable.dims == (name,) for name, variable in decoded.items()}
    try:
        dataset = xr.Dataset(
            {name: variable for name, variable in decoded.items() if not is_coordinate[name]},
            coords={name: variable for name, variable in decoded.items() if is_coordinate[name]},
            attrs=dict(decoded_attributes),
        )
    except ValueError as error:  # a stranger's metadata, under a sound seal
        raise DamagedError(f"{path}: expected arrays that fit together, got others: {error}") from error
    for name in dataset.coords:
        if isinstance(variables[str(name)]._data, np.ndarray):  # noqa: SLF001 - decoding wraps what is in memory
            dataset.variables[name].load()
    if rows is not None and "id" in dataset.coords:
        dataset = dataset.isel({dataset["id"].dims[0]: rows})
    return in_time_order(dataset)


def in_time_order(dataset: xr.Dataset) -> xr.Dataset:
    """Sort along time, stably; later batches of a growing set stand behind earlier ones in the store."""
    if "time" not in dataset.dims or "time" not in dataset.coords:
        return dataset
    times = dataset["time"].to_numpy()
    if bool((times[1:] >= times[:-1]).all()):
        return dataset
    return dataset.isel(time=np.argsort(times, kind="stable"))


def groups(reader: Reader) -> list[str]:
    """List the groups that hold arrays."""
    keys = reader.refset.metadata
    found = {key.removesuffix("/.zarray").rpartition("/")[0]: None for key in keys if key.endswith("/.zarray")}
    return list(found)


def group_arrays(reader: Reader, path: str) -> dict[str, ReferencedArray]:
    """Give the arrays of a group by name."""
    prefix = f"{path}/" if path else ""
    found = {}
    for key in reader.refset.metadata:
        if key.startswith(prefix) and key.endswith("/.zarray"):
            name = key[len(prefix) : -len("/.zarray")]
            if "/" not in name:
                found[name] = reader.array(prefix + name)
    return found


def _variables(reader: Reader, path: str, arrays: Mapping[str, ReferencedArray]) -> dict[str, xr.Variable]:
    listed = {
        name for array in arrays.values() for name in str(array.attributes.get("coordinates", "")).split()
    }  # fmt: skip
    held = {
        name: array
        for name, array in arrays.items()
        if (name in listed or array.dims == (name,)) and array.chunk_bytes * np.prod(array.grid) <= COORDINATE_BYTES
    }
    values = reader.read_many([Window(array=array, key=()) for array in held.values()])
    in_memory = dict(zip(held, values, strict=True))
    together = rejoined(reader, path, arrays)
    variables = {}
    for name, array in arrays.items():
        if name in together and together[name] is None:
            continue
        attributes = {key: value for key, value in array.attributes.items() if key != ATTRIBUTE_DIMENSIONS}
        dims = array.dims or tuple(f"dim_{axis}" for axis in range(len(array.shape)))
        data = in_memory.get(name)
        if data is None:
            lazy: Any = indexing.LazilyIndexedArray(together.get(name) or LazyArray(reader, array))
            encoding = {"preferred_chunks": dict(zip(dims, dask_chunks(array), strict=True))}
            variables[name] = xr.Variable(dims, lazy, attributes, encoding)
        else:
            variables[name] = xr.Variable(dims, data, attributes)
    return variables


def dask_chunks(array: ReferencedArray, limit: int = DASK_CHUNK_BYTES) -> tuple[int, ...]:
    """Group whole tiles into dask chunks of at most `limit` bytes: rows and columns first, then bands, then scenes."""
    chunks = list(array.chunks)
    order = [*sorted(range(len(chunks))[-2:], key=lambda axis: chunks[axis]), *reversed(range(len(chunks) - 2))]
    spatial = order[:2]

    def grows(axis: int) -> bool:
        return chunks[axis] < array.shape[axis] and 2 * int(np.prod(chunks)) * array.dtype.itemsize <= limit

    while any(grows(axis) for axis in spatial):
        axis = min((axis for axis in spatial if grows(axis)), key=lambda axis: chunks[axis])
        chunks[axis] *= 2
    for axis in order[2:]:
        while grows(axis):
            chunks[axis] *= 2
    return tuple(min(chunk, max(size, 1)) for chunk, size in zip(chunks, array.shape, strict=True))
