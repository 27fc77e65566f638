"""Assets that come in several profiles, put together again: each scene's pixels from the array that holds them.

The store keeps one array a profile (`red`, `red__1a2b3c4d`), with holes where another has the data, because a Zarr
array has one dtype and one codec chain. Which array holds a scene stands in the scene table, never guessed from holes.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from rasteret_refs.read import workers
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Reader, Window

_VARIANT = re.compile(r"^(?P<asset>.+)__[0-9a-f]{8}$")


class RejoinedArray(BackendArray):
    """Arrays of one shape as one; picklable.

    Parameters
    ----------
    reader
        What reads them.
    arrays
        Of equal shape and dtype.
    source
        Which of `arrays` holds each position of the first dimension.
    """

    def __init__(self, reader: Reader, arrays: tuple[ReferencedArray, ...], source: npt.NDArray[np.int64]) -> None:
        self.reader = reader
        self.arrays = arrays
        self.source = source
        self.shape = arrays[0].shape
        self.dtype = arrays[0].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        outer = indexing.IndexingSupport.OUTER
        values: npt.NDArray[Any] = indexing.explicit_indexing_adapter(key, self.shape, outer, self._outer)
        return values

    def _outer(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        scenes = np.atleast_1d(np.arange(self.shape[0])[key[0]])
        source = self.source[scenes]
        used = [int(number) for number in np.unique(source)] or [0]
        windows = [Window(array=self.arrays[n], key=(scenes[source == n], *key[1:])) for n in used]
        parts = workers.run(self.reader.read_many_async(windows))
        out = np.empty((len(scenes), *parts[0].shape[1:]), dtype=self.dtype)
        for number, part in zip(used, parts, strict=True):
            out[source == number] = part
        return out[0] if isinstance(key[0], (int, np.integer)) else out


def rejoined(reader: Reader, group: str, arrays: Mapping[str, ReferencedArray]) -> dict[str, RejoinedArray | None]:
    """Find assets to put together.

    Returns
    -------
    dict
        The array for each such asset; None for the variants that went into one. Variants of another shape (another
        number of bands) or dtype stay by themselves: every pixel keeps the dtype that its TIFF has.
    """
    variants: dict[str, list[str]] = {}
    for name, array in arrays.items():
        found = _VARIANT.match(name)
        base = arrays.get(found["asset"]) if found is not None else None
        if found is not None and base is not None and _alike(base, array):
            variants.setdefault(found["asset"], []).append(name)
    result: dict[str, RejoinedArray | None] = {}
    for asset, names in variants.items():
        order = [asset, *sorted(names)]
        source = _sources(reader, group, asset, order, arrays[asset].shape[0])
        result[asset] = RejoinedArray(reader, tuple(arrays[name] for name in order), source)
        result |= dict.fromkeys(names)
    return result


def _alike(base: ReferencedArray, array: ReferencedArray) -> bool:
    return (base.shape, base.dims, base.dtype) == (array.shape, array.dims, array.dtype)


def _sources(reader: Reader, group: str, asset: str, order: list[str], scenes: int) -> npt.NDArray[np.int64]:
    """Read from the scene table which array holds each scene."""
    source = np.zeros(scenes, dtype=np.int64)
    refset: Any = reader.refset  # an opened one: sets made by hand have no variants
    column = refset.all_scenes["assets"].combine_chunks()
    wanted = asset.removesuffix("_mask")
    if column.type.get_field_index(wanted) < 0:
        return source
    fields = column.field(wanted)
    suffix = asset.removeprefix(wanted)
    places = zip(*(fields.field(name).to_pylist() for name in ("refs:group", "refs:array", "refs:index")), strict=True)
    for where, name, index in places:
        if where is None or where.rpartition("/")[0] != group.rpartition("/")[0] or index >= scenes:
            continue
        if f"{name}{suffix}" in order:
            source[index] = order.index(f"{name}{suffix}")
    return source
