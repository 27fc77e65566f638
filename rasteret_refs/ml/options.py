"""What a user asks of a dataset of chips, checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rasteret_refs.errors import QueryError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChipOptions:
    """Which chips there are, and what is read of each."""

    chip_size: int
    """Side of a chip in pixels of the finest asset."""
    assets: tuple[str, ...] | None = None
    """In the order of the image's channels; None: all that are neither masks nor labels."""
    split: str | None = None
    """Only scenes whose `split_column` says so; where tiles or chips were split instead (`unit="chip"`), only chips
    that lie wholly inside those of this split, so that no pixel is in two splits."""
    split_column: str = "split"
    time: Any = None
    """Only scenes of this interval, see `images.rows_between`."""
    stride: int | None = None
    """Pixels from one chip to the next; None: `chip_size`."""
    random: int | None = None
    """So many chips an epoch, at random; instead of a grid."""
    points: Any = None
    """Chips are centred on these, see `points.points_of`; instead of a grid."""
    label: str | None = None
    """A column of the points, scenes or tiles, or an asset that is a raster of classes. Without a label, left out."""
    mask_assets: Mapping[str, Any] | str | None = None
    """What hides pixels: `{"scl": [3, 8, 9]}`, `{"qa_pixel": {"bits": [3, 4]}}` or `"clouds"`, see
    `read.masks.parse_masks`."""
    max_masked: float | None = None
    """Chips with a larger share of masked pixels are left out."""
    series: Mapping[str, Any] | None = None
    """`{"freq": "MS", "length": 12}`: each sample is a series of mosaics."""
    skip_empty: bool = True
    """Leave out chips that touch only tiles of nothing but nodata, see `empty`."""
    dtype: Literal["native", "float32"] = "native"
    seed: int = 0
    """Of random chips, and of the order in which the iterable dataset gives them."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        QueryError
            A size, a number or a combination makes no sense.
        """
        for name in ("chip_size", "stride", "random"):
            value = getattr(self, name)
            if (value is not None or name == "chip_size") and not (_is_integer(value) and value > 0):
                raise QueryError(f"expected {name} to be a whole number above 0, got {value!r}")
        chosen = [name for name in ("stride", "random", "points") if getattr(self, name) is not None]
        if len(chosen) > 1:
            raise QueryError(f"expected one of stride, random, and points or geometries, got {' and '.join(chosen)}")
        if self.max_masked is not None and (not self.mask_assets or not 0 <= self.max_masked <= 1):
            raise QueryError(f"expected max_masked from 0 to 1 together with mask_assets, got {self.max_masked!r}")
        if self.dtype not in ("native", "float32"):
            raise QueryError(f"expected dtype='native' or 'float32', got {self.dtype!r}")
        if self.series is not None:
            if (
                set(self.series) != {"freq", "length"}
                or not _is_integer(self.series["length"])
                or self.series["length"] < 1
            ):
                raise QueryError(f"expected series={{'freq': 'MS', 'length': 12}}, got {dict(self.series)!r}")
            if self.max_masked is not None:
                raise QueryError("expected max_masked for single chips only: a series says what is `valid` by pixel")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def as_names(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Take one name for a sequence of one."""
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)
