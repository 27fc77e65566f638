"""Reading back a sample of freshly written manifests as a plain reader would, before anything is published."""

import importlib.util
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.layout import ZARR, array_path
from rasteret_refs.virtual.values import ReferenceSetPlan, VirtualArray

SAMPLED_ARRAYS: Final = 24
"""Arrays of which references are read back; each costs the decoding of up to two record files."""


def plain_engine() -> str:
    """Return the engine that a plain reader would use: fastparquet where it is installed, else pyarrow."""
    return (
        "fastparquet" if importlib.util.find_spec("fastparquet") and importlib.util.find_spec("pandas") else "pyarrow"
    )


def read_back(directory: Path, plan: ReferenceSetPlan) -> None:
    """Compare the first and the last reference of some arrays with the plan, through fsspec's own mapper.

    Arrays are taken evenly from the plan. Without pandas there is no plain reader to ask but our own: nothing is done
    then, for record files are read by `plain` through pyarrow, whose round trip the tests hold.

    Raises
    ------
    RefsetError
        The plain reader gives something else than the plan says.
    """
    if importlib.util.find_spec("pandas") is None:
        return
    from fsspec.implementations.reference import LazyReferenceMapper

    mapper = LazyReferenceMapper(str(directory / ZARR), engine=plain_engine())
    with warnings.catch_warnings():
        # pandas 3.1 announces the end of its fastparquet engine; that is why `plain_store` does without it.
        warnings.simplefilter("ignore")
        for path, array in _sample(plan):
            for number in {0, len(array.manifest) - 1}:
                key = ".".join(map(str, np.unravel_index(number, _grid(array))))
                found = mapper[f"{path}/{key}"]
                if not _equal(found, array, number):
                    raise RefsetError(
                        f"array {path}, chunk {key}: a plain reader finds {found!r} instead of the plan's"
                    )


def _sample(plan: ReferenceSetPlan) -> Iterator[tuple[str, VirtualArray]]:
    arrays = [(array_path(g.path, a.name), a) for g in plan.groups for a in g.arrays if len(a.manifest)]
    step = max(1, -(-len(arrays) // SAMPLED_ARRAYS))
    return islice(arrays, 0, None, step)


def _grid(array: VirtualArray) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))


def _equal(found: Any, array: VirtualArray, number: int) -> bool:
    manifest = array.manifest
    if manifest.inline is not None and manifest.inline[number] >= 0:
        return bool(found == manifest.inlined[manifest.inline[number]])
    wanted = [manifest.urls[manifest.url_index[number]], manifest.offsets[number], manifest.sizes[number]]
    # fsspec turns an offset read as float into a wrong range request: types count as much as values.
    return bool(list(found) == wanted and all(isinstance(value, int | np.integer) for value in found[1:]))
