"""Labels of chips, from columns of scenes, tiles or points: numbers as they are, text as class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """One label a row."""

    values: npt.NDArray[Any]
    """Int64 (classes, counts, truth) or float32 (quantities)."""
    classes: tuple[str, ...] | None
    """Names of the class numbers, in order, where the labels are text."""

    def at(self, row: int) -> Any:
        """Give one label."""
        return self.values[row]


def encoded(values: Sequence[Any], name: str) -> Labels:
    """Make labels numbers.

    Parameters
    ----------
    values
        Integers, booleans, floats or text; one each.
    name
        Of the column, for messages.

    Returns
    -------
    Labels
        Integers and booleans become int64, floats float32. Text becomes the place among the sorted different texts,
        so that equal columns give equal classes whatever their order.

    Raises
    ------
    QueryError
        A label is missing, or is none of these.
    """
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    missing = [row for row, value in enumerate(plain) if value is None]
    if missing:
        raise QueryError(f"expected a label for every chip, found none in {name!r} for {len(missing)} of {len(plain)}")
    kinds = {type(value) for value in plain}
    if kinds <= {bool, int}:
        return Labels(values=np.array(plain, np.int64), classes=None)
    if kinds <= {bool, int, float}:
        return Labels(values=np.array(plain, np.float32), classes=None)
    if kinds == {str}:
        classes = sorted(set(plain))
        numbers = {text: number for number, text in enumerate(classes)}
        return Labels(values=np.array([numbers[text] for text in plain], np.int64), classes=tuple(classes))
    raise QueryError(
        f"expected labels that are numbers or text, found {sorted(kind.__name__ for kind in kinds)}: {name!r}"
    )


def weights(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Weigh each label by the inverse of its frequency: drawing by these weights balances the classes.

    Parameters
    ----------
    values
        One label a chip, shape `(chips,)`.

    Returns
    -------
    numpy.ndarray
        Float64, shape `(chips,)`; the weights of each class sum to 1.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse.ravel()]


def column(table: pa.Table, name: str) -> list[Any]:
    """Give a column's values.

    Raises
    ------
    QueryError
        The table has none of this name.
    """
    if name not in table.column_names:
        raise QueryError(f"expected a column out of {table.column_names}, got {name!r}")
    return list(table[name].to_pylist())
