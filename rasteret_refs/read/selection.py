"""Which chunks a selection needs, and which part of each goes where. Pure; nothing is read here.

Two kinds of selections exist, in NumPy's and Zarr's terms. *Outer* (orthogonal): each dimension has its own integer,
slice or list of positions. *Points* (vectorised): index arrays of one shape, one position per dimension and point.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.read.arrays import ReferencedArray


class Piece(NamedTuple):
    """The part of one chunk that a selection needs: `out[out_key] = chunk[chunk_key]`."""

    number: int
    """Of the chunk, in C order."""
    rows: int
    """Rows of the chunk, from its top, that are enough; 1 where it has no rows."""
    chunk_key: tuple[Any, ...]
    out_key: tuple[Any, ...]
    plain: bool
    """Both keys hold slices of step 1 only: they make views."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A selection of an array, cut along its chunks."""

    filled: tuple[int, ...]
    """Shape of the array that the pieces fill: dimensions taken by an integer have length 1."""
    shape: tuple[int, ...]
    """Shape of the result, without the dimensions taken by an integer."""
    pieces: Sequence[Piece]


class _Part(NamedTuple):
    """One chunk along one dimension."""

    chunk: int
    inside: slice | npt.NDArray[np.int64]
    outside: slice | npt.NDArray[np.int64]
    stop: int
    """One past the last position used inside the chunk."""


def outer(array: ReferencedArray, key: Sequence[Any]) -> Selection:
    """Cut an outer selection: one integer, slice or one-dimensional array of positions for each dimension.

    Fewer entries than dimensions select the rest whole. Negative positions count from the end; slices may step,
    also backwards.

    Raises
    ------
    QueryError
        A position lies outside the array, or the key has too many entries.
    """
    if len(key) > len(array.shape):
        raise QueryError(f"expected at most {len(array.shape)} indices, found {len(key)}: {array.path}")
    full = [*key, *(slice(None),) * (len(array.shape) - len(key))]
    parts, lengths, shape = [], [], []
    for axis, index in enumerate(full):
        length, cut = _cut(index, array, axis)
        parts.append(cut)
        lengths.append(length)
        if not isinstance(index, (int, np.integer)):
            shape.append(length)
    if not array.shape:
        return Selection(filled=(), shape=(), pieces=(Piece(0, 1, (...,), (...,), plain=False),))
    return Selection(filled=tuple(lengths), shape=tuple(shape), pieces=tuple(_pieces(array, parts)))


def _pieces(array: ReferencedArray, parts: list[list[_Part]]) -> Iterator[Piece]:
    strides = array.strides
    plain = all(isinstance(part.inside, slice) and part.inside.step is None for axis in parts for part in axis)
    lists = sum(any(not isinstance(part.inside, slice) for part in axis) for axis in parts)
    for combination in itertools.product(*parts):
        number = sum(part.chunk * stride for part, stride in zip(combination, strides, strict=True))
        inside, outside = tuple(p.inside for p in combination), tuple(p.outside for p in combination)
        if lists:
            inside, outside = _open_mesh(inside, array.chunks), _open_mesh(outside, None)
        rows = combination[-2].stop if len(combination) > 1 else 1
        yield Piece(number, rows, inside, outside, plain)


def _open_mesh(keys: tuple[Any, ...], sizes: tuple[int, ...] | None) -> tuple[Any, ...]:
    """Turn keys that mix slices and arrays into an outer (orthogonal) index of NumPy's."""
    arrays = []
    for axis, key in enumerate(keys):
        if isinstance(key, slice):
            stop = key.stop if sizes is None else min(key.stop, sizes[axis])
            arrays.append(np.arange(key.start, stop, key.step or 1))
        else:
            arrays.append(key)
    return np.ix_(*arrays)


def _cut(index: Any, array: ReferencedArray, axis: int) -> tuple[int, list[_Part]]:
    size, chunk = array.shape[axis], array.chunks[axis]
    if isinstance(index, (int, np.integer)):
        position = _checked(int(index), size, array, axis)
        number, inside = divmod(position, chunk)
        return 1, [_Part(number, slice(inside, inside + 1), slice(0, 1), inside + 1)]
    if isinstance(index, slice):
        start, stop, step = index.indices(size)
        if step == 1:
            return max(stop - start, 0), list(_cut_range(start, stop, chunk))
        index = np.arange(start, stop, step)
    positions = np.asarray(index)
    if positions.ndim != 1 or positions.dtype.kind not in "iu":
        raise QueryError(f"expected positions along one dimension, found {positions.dtype} {positions.shape}")
    positions = positions.astype(np.int64)
    if len(positions):
        _checked(int(positions.min()), size, array, axis)
        _checked(int(positions.max()), size, array, axis)
        positions = np.where(positions < 0, positions + size, positions)
    return len(positions), list(_cut_list(positions, chunk))


def _checked(position: int, size: int, array: ReferencedArray, axis: int) -> int:
    if not -size <= position < size:
        raise QueryError(f"expected a position below {size} along dimension {axis}, found {position}: {array.path}")
    return position + size if position < 0 else position


def _cut_range(start: int, stop: int, chunk: int) -> Iterator[_Part]:
    if stop <= start:
        return
    for number in range(start // chunk, (stop - 1) // chunk + 1):
        first = number * chunk
        low, high = max(start, first), min(stop, first + chunk)
        yield _Part(number, slice(low - first, high - first), slice(low - start, high - start), high - first)


def _cut_list(positions: npt.NDArray[np.int64], chunk: int) -> Iterator[_Part]:
    numbers, inside = positions // chunk, positions % chunk
    for number in np.unique(numbers):
        at = np.flatnonzero(numbers == number)
        yield _Part(int(number), inside[at], at, int(inside[at].max()) + 1)


def points(array: ReferencedArray, key: Sequence[Any]) -> Selection:
    """Cut a selection of points: one index array per dimension, which broadcast together.

    Raises
    ------
    QueryError
        A point lies outside the array, or the key has not one entry per dimension.
    """
    if len(key) != len(array.shape):
        raise QueryError(f"expected {len(array.shape)} index arrays, found {len(key)}: {array.path}")
    indices = np.broadcast_arrays(*(np.asarray(index, dtype=np.int64) for index in key))
    shape = indices[0].shape
    flat = []
    for axis, index in enumerate(indices):
        positions, size = index.ravel(), array.shape[axis]
        if len(positions):
            _checked(int(positions.min()), size, array, axis)
            _checked(int(positions.max()), size, array, axis)
        flat.append(np.where(positions < 0, positions + size, positions))
    numbers = np.zeros(math.prod(shape), dtype=np.int64)
    for positions, chunk, stride in zip(flat, array.chunks, array.strides, strict=True):
        numbers += positions // chunk * stride
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(numbers[order]) != 0]) if len(order) else np.empty(0, dtype=np.int64)
    pieces = []
    for at in np.split(order, starts[1:]) if len(order) else ():
        inside = tuple(positions[at] % chunk for positions, chunk in zip(flat, array.chunks, strict=True))
        outside = np.unravel_index(at, shape)
        rows = int(inside[-2].max()) + 1 if len(inside) > 1 else 1
        pieces.append(Piece(int(numbers[at[0]]), rows, inside, outside, plain=False))
    return Selection(filled=shape, shape=shape, pieces=pieces)
