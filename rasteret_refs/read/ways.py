"""Which part of an image fills which window of a target, and how it gets there: moved, or warped. Pure.

What decides about pixels is asked of the whole target, never of the window that is read: the resolution to read,
whether pixels are only moved, and how a warp is approximated. So a pixel is the same, whichever window it is read in.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from rasteret_refs.read.images import Image, Level
from rasteret_refs.read.overlap import Overlap, overlap, spacing
from rasteret_refs.read.target import Grid, both, moved_by, same_crs

REACH = {"nearest": 1.0, "bilinear": 1.0, "cubic": 2.0, "cubic_spline": 2.0, "lanczos": 3.0}
"""Pixels that a method looks around at equal resolution; methods that take all pixels beneath one: 1.
https://gdal.org/en/stable/api/gdalwarp_cpp.html#_CPPv415GDALResampleAlg"""

OTHER_SHIFT = 0.05
"""Images of equal resolution that lie less than this share of a pixel aside are moved by other methods than nearest
neighbour too, as odc-stac does."""
_DRIFT = 0.05
"""Pixels by which equal resolutions may differ over the whole width of a target."""
_SNAP = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """How an image is warped onto a target, whichever windows of it are asked for."""

    columns: slice
    """Of the target: where the image lies."""
    steps: tuple[float, float]
    """Source pixels for one target pixel, along the source's columns and rows; 1 where they are fewer: how wide kernels
    are made."""

    @property
    def most(self) -> float:
        """The larger of the steps."""
        return max(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Which window of an image fills which window of a target."""

    level: Level
    rows: slice
    """Of the source, at the level's resolution."""
    columns: slice
    target_rows: slice
    """Of the whole target."""
    target_columns: slice
    course: Course | None = None
    """How the whole image is warped; None: the windows have one shape, and pixels are only moved."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the source window."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def within(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Count the target window from the beginning of another one that holds it."""
        return moved_by(self.target_rows, -rows.start), moved_by(self.target_columns, -columns.start)


class Ways:
    """Finds images' parts in windows of a target.

    Parameters
    ----------
    target
        The whole.
    resampling
        GDAL's name of a method.
    present
        Whether an image (by its index) stands at an overview.
    """

    def __init__(self, target: Grid, resampling: str, present: Callable[[Level, int], bool]) -> None:
        self.target, self.resampling, self._present = target, resampling, present
        self._reach = REACH.get(resampling, 1.0)
        # By the grid's id: scenes share few grids, and each answer takes milliseconds.
        self._overlaps: dict[int, Overlap | None] = {}
        self._courses: dict[int, Course] = {}
        self._windows: dict[tuple[int, ...], Overlap | None] = {}

    def place(self, image: Image, rows: slice, columns: slice) -> Placement | None:
        """Find an image's part in a window of the target; None where they do not meet."""
        finest = image.levels[0]
        for level in image.levels:
            shift = level.grid.shift_to(self.target)
            if shift is not None and (level is finest or self._present(level, image.index)):
                return _moved(level, rows, columns, *shift)
        found = self._overlap(finest.grid)
        if found is None:
            return None
        level = finest
        for coarser in image.levels[1:]:
            if coarser.factor <= found.shrink * (1 + _SNAP) and self._present(coarser, image.index):
                level = coarser
        shift = _nearly(level.grid, self.target, self.resampling)
        if shift is not None:
            return _moved(level, rows, columns, *shift)
        return self._warped(level, rows, columns)

    def _warped(self, level: Level, rows: slice, columns: slice) -> Placement | None:
        whole = self._overlap(level.grid)
        if whole is None:
            return None
        rows, columns = both(rows, whole.target_rows), both(columns, whole.target_columns)
        course = self._course(level.grid, whole)
        found = self._within(level.grid, course, rows, columns)
        if found is None:
            return None
        return Placement(
            level=level,
            rows=found.rows,
            columns=found.columns,
            target_rows=moved_by(found.target_rows, rows.start),
            target_columns=moved_by(found.target_columns, columns.start),
            course=course,
        )

    def _course(self, grid: Grid, whole: Overlap) -> Course:
        if id(grid) not in self._courses:
            steps = spacing(grid, self.target.window(whole.target_rows, whole.target_columns))
            self._courses[id(grid)] = Course(columns=whole.target_columns, steps=steps)
        return self._courses[id(grid)]

    def _within(self, grid: Grid, course: Course, rows: slice, columns: slice) -> Overlap | None:
        key = id(grid), rows.start, rows.stop, columns.start, columns.stop
        if key not in self._windows:
            window = self.target.window(rows, columns)
            some = window.height and window.width
            self._windows[key] = overlap(grid, window, self._reach, least=course.most) if some else None
        return self._windows[key]

    def _overlap(self, grid: Grid) -> Overlap | None:
        if id(grid) not in self._overlaps:
            self._overlaps[id(grid)] = overlap(grid, self.target, self._reach)
        return self._overlaps[id(grid)]


def _moved(level: Level, rows: slice, columns: slice, row: int, column: int) -> Placement | None:
    """Place a window of a target that begins at a row and column of the source; these may be negative."""
    down = both(rows, slice(-row, level.grid.height - row))
    across = both(columns, slice(-column, level.grid.width - column))
    if down.start >= down.stop or across.start >= across.stop:
        return None
    return Placement(
        level=level,
        rows=moved_by(down, row),
        columns=moved_by(across, column),
        target_rows=down,
        target_columns=across,
    )


def _nearly(source: Grid, target: Grid, resampling: str) -> tuple[int, int] | None:
    """Tell where a target of equal resolution begins in a source, though not at a pixel's corner, as (row, column).

    Nearest neighbour takes the pixel that holds the centre, and so only moves pixels.
    """
    if not same_crs(source.crs, target.crs):
        return None
    (sa, sb, sc, sd, se, sf), (ta, tb, tc, td, te, tf) = source.transform, target.transform
    if any((sb, sd, tb, td)):
        return None
    if abs(ta / sa - 1) * target.width > _DRIFT or abs(te / se - 1) * target.height > _DRIFT:
        return None
    column, row = (tc - sc) / sa, (tf - sf) / se
    if resampling != "nearest" and max(abs(column - round(column)), abs(row - round(row))) > OTHER_SHIFT:
        return None
    return math.floor(row + 0.5), math.floor(column + 0.5)
