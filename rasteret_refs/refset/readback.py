"""Reading back a sample of freshly written manifests as a plain reader would, before anything is published."""

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.layout import ZARR, array_path, record_name
from rasteret_refs.refset.manifest import read_record
from rasteret_refs.refset.metadata import chunk_count
from rasteret_refs.refset.record import Record
from rasteret_refs.virtual.values import ReferenceSetPlan, VirtualArray

SAMPLED_ARRAYS: Final = 8
"""Arrays of which references are read back; each costs the decoding of up to two record files."""


def read_back(directory: Path, plan: ReferenceSetPlan, record_size: int) -> None:
    """Compare the first and the last reference of some arrays with the plan.

    Arrays are taken evenly from the plan. They are read through fsspec's own mapper and its own engine, fastparquet,
    where that is installed; else through pyarrow.

    Parameters
    ----------
    directory
        Where the set is being written; `.zmetadata` stands already.
    plan
        What was written.
    record_size
        References of a full record file.

    Raises
    ------
    RefsetError
        The plain reader gives something else than the plan says.
    """
    look_up = _through_fsspec(directory) if _has_fastparquet() else _through_pyarrow(directory, record_size)
    with warnings.catch_warnings():
        # pandas 3.1 announces the end of its fastparquet engine; that is why `plain_store` does without it.
        warnings.simplefilter("ignore")
        for path, array in _sample(plan):
            start = array.start * chunk_count(array.shape[1:], array.chunks[1:])
            for number in {0, len(array.manifest) - 1}:
                found = look_up(path, array, start + number)
                if not _equal(found, array, number):
                    raise RefsetError(
                        f"array {path}, chunk {start + number}: expected the plan's, a plain reader gets {found!r}"
                    )


def _has_fastparquet() -> bool:
    return bool(importlib.util.find_spec("fastparquet") and importlib.util.find_spec("pandas"))


def _through_fsspec(directory: Path) -> Callable[[str, VirtualArray, int], Any]:
    from fsspec.implementations.reference import LazyReferenceMapper

    mapper = LazyReferenceMapper(str(directory / ZARR), engine="fastparquet")

    def look_up(path: str, array: VirtualArray, number: int) -> Any:
        return mapper[f"{path}/{'.'.join(map(str, np.unravel_index(number, _grid(array))))}"]

    return look_up


def _through_pyarrow(directory: Path, record_size: int) -> Callable[[str, VirtualArray, int], Any]:
    def look_up(path: str, array: VirtualArray, number: int) -> Any:
        del array
        name = record_name(path, number // record_size)
        record = Record.from_table(read_record((directory / name).read_bytes()), name)
        return record.reference(number % record_size)

    return look_up


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
