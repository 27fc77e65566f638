"""Views of a collection: fewer scenes over the same set, their tiles as a stream, and saving them as a set."""

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from rasteret_refs.refset.views import View


class Viewing:
    """The part of `Collection` that this module gives."""

    view: "View"
    storage: dict[str, Any]

    @abstractmethod
    def _with(self, view: "View") -> Self:
        """The same set, other scenes or columns."""

    def where(self, expression: "str | pc.Expression") -> Self:
        """Narrow to the scenes for which an expression is true.

        Parameters
        ----------
        expression
            CQL2 text, as STAC has it (`split = 'train' AND "eo:cloud_cover" < 20`), or a pyarrow expression.

        Raises
        ------
        QueryError
            It names no column, or is not understood.
        """
        return self._with(self.view.where(expression))

    def subset(
        self,
        bbox: Sequence[float] | None = None,
        *,
        intersects: Any = None,
        geometry: Any = None,
        datetime: Any = None,
        **values: Any,
    ) -> Self:
        """Narrow by place, time and the values of columns: all conditions must hold.

        Parameters
        ----------
        bbox
            (west, south, east, north) in degrees; west > east crosses the antimeridian. Compared with the footprints'
            boxes.
        intersects, geometry
            A geometry in degrees that footprints share a point with: GeoJSON, or anything with `__geo_interface__`. Two
            names for one thing.
        datetime
            A time or period, `"2024-01/2024-06"`, or a pair of datetimes.
        **values
            Column = value, or a list of values: `split="train"`, `**{"grid:code": "MGRS-43PGQ"}`.

        Raises
        ------
        QueryError
            No such column, or a condition that is not understood.
        """
        from rasteret_refs.refset.views_subset import subset_rows

        view = self.view
        for shape in (intersects, geometry):
            if shape is not None:
                view = view.take(subset_rows(view.table, intersects=shape))
        return self._with(view.take(subset_rows(view.table, bbox=bbox, datetime=datetime, values=values)))

    def select(self, ids: Sequence[str]) -> Self:
        """Narrow to scenes by their ids.

        Raises
        ------
        QueryError
            Ids that are not here.
        """
        return self._with(self.view.select(ids))

    def latest(self, *, by: Sequence[str] | None = None, within: float = 1.0) -> Self:
        """Keep the latest of each set of duplicates: one acquisition that was processed or published several times.

        Parameters
        ----------
        by
            Columns that duplicates share; None: grid, collection and platform.
        within
            Seconds by which their times may differ.
        """
        from rasteret_refs.refset.views_subset import latest_rows

        return self._with(self.view.take(latest_rows(self.view.table, by=by, within=within)))

    def tiles(self, columns: Sequence[str] | None = None, *, where: Any = None) -> "pa.RecordBatchReader":
        """Stream one row a tile: scene, asset, grid, factor, row, column, footprint, url, offset, length, and labels.

        Parameters
        ----------
        columns
            Those wanted, see `refset.tiles.TILE_SCHEMA`, and the scene's; others are not made. None: all.
        where
            CQL2 text or a pyarrow expression over any column, decided as early as can be.

        Returns
        -------
        pyarrow.RecordBatchReader
            Made while it is read. DuckDB queries it by its Python name; Polars and pyarrow take it as it is.

        Raises
        ------
        QueryError
            A column that there is not.
        """
        from rasteret_refs.refset.tiles import tiles

        return tiles(self.view, columns=columns, where=where)

    def save(self, out: str | os.PathLike[str], *, overwrite: bool = False) -> Self:
        """Write these scenes, with their labels, as a set of their own: references are copied, nothing is requested.

        Parameters
        ----------
        out
            Directory to create, `NAME.refs`.
        overwrite
            Replace a set that is there, atomically.

        Returns
        -------
        Collection
            The new set.

        Raises
        ------
        QueryError
            There are no scenes.
        ExistsError
            The output exists, and `overwrite` is not set.
        """
        from rasteret_refs.refset.views_save import save_view

        save_view(self.view, out, overwrite=overwrite)
        return type(self)(out, storage=self.storage)  # type: ignore[call-arg]
