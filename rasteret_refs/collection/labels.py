"""Labels and splits of a collection: written into its set, or carried by a view that can be saved."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rasteret_refs.ml.annotating import Change
    from rasteret_refs.ml.splits import LeakageReport
    from rasteret_refs.refset.opened import OpenedRefset
    from rasteret_refs.refset.views import View


class Labelling:
    """The part of `Collection` that this module gives."""

    view: "View"

    @abstractmethod
    def _with(self, view: "View") -> Self:
        """The same set, other scenes or columns."""

    @abstractmethod
    def _reopen(self) -> None:
        """Bring this collection up to date with its set."""

    def annotate(
        self,
        table: Any,
        on: str | Sequence[str] = "id",
        *,
        coordinates: Sequence[str] | None = None,
        ignore_unknown: bool = False,
        write: bool | None = None,
    ) -> Self:
        """Add labels: columns of the scene table that become coordinates of the arrays too, or labels by tile.

        Parameters
        ----------
        table
            Arrow, pandas, Polars, a DuckDB relation, a mapping of columns, or the path of Parquet or CSV.
        on
            The key: a column of the scene table, or `("group", "row", "column")` (with `"id"` or `"asset"` where labels
            differ by those) for tiles of the full resolution, whose labels go to `tiles.parquet`.
        coordinates
            Columns that become coordinates along the scene axis; None: all that can be.
        ignore_unknown
            Leave out rows whose key is not here, instead of raising.
        write
            None: written into the whole of a local set; carried by a view where this is one, and where the set is
            remote or read-only. True or False: in any case.

        Returns
        -------
        Collection
            Itself, brought up to date, where the labels were written; else a view that carries them, to be saved.

        Raises
        ------
        QueryError
            Unknown or duplicate keys, which are listed; a name that is taken.
        """
        from rasteret_refs.ml.annotating import labelled

        change = labelled(self.view, table, on, coordinates=coordinates, ignore_unknown=ignore_unknown)
        return self._changed(change, write)

    def assign_splits(
        self,
        *,
        train: float = 0.8,
        val: float = 0.1,
        test: float = 0.1,
        unit: str = "scene",
        by: str = "id",
        chip_size: int | None = None,
        stride: int | None = None,
        write: bool | None = None,
        **options: Any,
    ) -> Self:
        """Say which scenes, or chips, are for training, validation and testing; the rule is recorded in `refs.json`.

        With a rule that is recorded already, scenes that have a split keep it and only new ones get theirs, which
        appending does by itself.

        Parameters
        ----------
        train, val, test
            Shares, which sum to 1.
        unit
            `"scene"`, or `"chip"`: windows of the grids, written to `tiles.parquet`.
        by
            `"id"` (random, by a hash of the id), `"block"` (squares on the ground), `"time"` (earliest first), or a
            column whose groups stay together.
        chip_size, stride
            Pixels; for chips.
        write
            As for `annotate`.
        **options
            Of `ml.splits.SplitRule`: `seed`, `stratify`, `block_metres`, `buffer_metres`, `boundaries`, `column`.

        Returns
        -------
        Collection
            As `annotate` does.

        Raises
        ------
        QueryError
            A rule that cannot be carried out here.
        """
        from rasteret_refs.ml.annotating import split

        fractions = {"train": train, "val": val, "test": test}
        change = split(self.view, fractions, by, unit=unit, chip_size=chip_size, stride=stride, **options)
        return self._changed(change, write)

    def leakage(self, column: str = "split", *, unit: str | None = None) -> "LeakageReport":
        """Count the overlapping footprints of scenes, or of chips where these are split, of different splits.

        Parameters
        ----------
        column
            That holds the splits.
        unit
            `"scene"` or `"chip"`; None: what was split last in a view that carries splits, else chips before scenes.

        Raises
        ------
        QueryError
            There is no such column.
        """
        from rasteret_refs.ml.annotating import leakage

        return leakage(self.view, column, unit)

    def assign_new_splits(self) -> Self:
        """Give scenes without a split theirs, by the rules that the set records; `append` and `merge` do so too.

        Returns
        -------
        Collection
            Itself, brought up to date.
        """
        from rasteret_refs.ml.annotating import grown

        change = grown(self.view)
        return self if change is None else self._changed(change, write=True)

    def _take_labels(self, other: "OpenedRefset", ids: Sequence[str]) -> Self:
        """Take over the labels by tile of a set whose scenes were merged into this one."""
        from rasteret_refs.ml.annotating import joined

        change = joined(self.view, other, ids)
        return self if change is None else self._changed(change, write=True)

    def _changed(self, change: "Change", write: bool | None) -> Self:
        view = change.apply(self.view, write)
        if view is not None:
            return self._with(view)
        ids = None if self.view.rows is None else self.view.table["id"].to_pylist()
        self._reopen()
        if ids is not None:
            self.view = self.view.select(ids)
        return self
