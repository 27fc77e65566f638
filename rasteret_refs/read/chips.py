"""Windows of equal size over scenes, read by the batch: what chip datasets are made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.read.images import PIXELS, Image, Images
from rasteret_refs.read.lines import Lines, window_of
from rasteret_refs.read.reader import Reader, Window


@dataclass(frozen=True, kw_only=True, eq=False)
class Chips:
    """Chips over scenes, in a fixed order; reads any of them as one batch.

    All assets come in the pixels of the reference asset: coarser ones of the same grid origin are repeated (nearest
    neighbour), whole multiples only.
    """

    reader: Reader
    size: int
    """Rows and columns of a chip, in pixels of the reference asset."""
    table: Any
    """`pyarrow.Table`, one row a chip: `scene` (row of the scene table), `id`, `row`, `column` (of the chip's first
    pixel), and the columns asked for."""
    images: Mapping[str, Mapping[int, Image]]
    """By asset and scene."""
    reference: str
    """Asset whose pixels count."""
    fills: Mapping[str, Any] = field(default_factory=dict)
    """By asset: what stands outside an image and where a scene lacks the asset; nodata by default, else 0."""

    def __len__(self) -> int:
        """Chips."""
        return int(self.table.num_rows)

    def read(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Read chips by their positions in `table`.

        Returns
        -------
        dict
            By asset: (chips, rows, columns), or (chips, bands, rows, columns), in the asset's dtype.

        Raises
        ------
        QueryError
            There is no such chip.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise QueryError(f"expected numbers of chips in one dimension, found {chosen.dtype} {chosen.shape}")
        if chosen.size and (chosen.min() < 0 or chosen.max() >= len(self)):
            raise QueryError(f"expected numbers of {len(self)} chips, found {chosen.min()} to {chosen.max()}")
        rows = self.table.select(["scene", "row", "column"]).take(chosen.astype(np.int64))
        return self.windows(*(rows[name].to_numpy() for name in ("scene", "row", "column")))

    def windows(
        self, scenes: npt.ArrayLike, rows: npt.ArrayLike, columns: npt.ArrayLike
    ) -> dict[str, npt.NDArray[Any]]:
        """Read chips anywhere, given by scene and first pixel, which may lie outside the image."""
        places = list(zip(*(np.asarray(v, dtype=np.int64).tolist() for v in (scenes, rows, columns)), strict=True))
        found: dict[str, npt.NDArray[Any]] = {}
        windows: list[Window] = []
        for asset, images in self.images.items():
            arrays = [image.array for image in images.values()]
            lead = arrays[0].shape[1:-2]
            dtype = np.result_type(*{array.dtype for array in arrays})
            ratios: dict[int, int] = {}
            out = found[asset] = np.empty((len(places), *lead, self.size, self.size), dtype=dtype)
            for chip, (scene, row, column) in zip(out, places, strict=True):
                image = images.get(scene)
                if image is None:
                    chip[...] = self.fills[asset]
                    continue
                if scene not in ratios:
                    ratios[scene] = self._ratio(image, scene)
                one = self._window(image, ratios[scene], (row, column), chip)
                windows += [] if one is None else [one]
        self.reader.read_many(windows)
        return found

    def _window(self, image: Image, ratio: int, corner: tuple[int, int], chip: npt.NDArray[Any]) -> Window | None:
        """Plan the read of one chip of one image; what lies outside the image is filled."""
        row, column = (
            Lines(positions=np.arange(first, first + self.size) // ratio, size=size)
            for first, size in zip(corner, (image.grid.height, image.grid.width), strict=True)
        )
        bands = chip.reshape(-1, self.size, self.size)
        return window_of(image.array, image.index, (row, column), bands, outside=self.fills[image.asset])

    def _ratio(self, image: Image, scene: int) -> int:
        """Tell how many pixels of the reference one pixel of an image covers, along each axis.

        Raises
        ------
        QueryError
            No whole number, or the images do not begin in one corner.
        """
        found = self.images[self.reference].get(scene)
        if found is None:
            raise QueryError(f"expected scenes with the asset {self.reference!r}, found row {scene} without it")
        own, base = image.grid, found.grid
        if own is base:
            return 1
        if own.crs.srs == base.crs.srs == PIXELS and (own.height, own.width) != (base.height, base.width):
            raise QueryError(
                f"expected images of one size where none says its place, found {image.asset!r} of {own.height} × "
                f"{own.width} and {self.reference!r} of {base.height} × {base.width}: {image.array.path}[{image.index}]"
            )
        ratio = own.resolution[0] / base.resolution[0]
        same = np.allclose(own.transform[2::3], base.transform[2::3], rtol=0, atol=1e-3 * base.resolution[0])
        if own.crs != base.crs or not same or abs(ratio - round(ratio)) > 1e-6 or round(ratio) < 1:  # noqa: PLR2004
            raise QueryError(
                f"expected {image.asset!r} in pixels that are whole multiples of those of {self.reference!r}, from the "
                f"same corner, found {own.transform} and {base.transform}: {image.array.path}[{image.index}]"
            )
        return round(ratio)


def chips(
    reader: Reader,
    scenes: Any,
    *,
    size: int,
    stride: int | None = None,
    assets: Sequence[str] | None = None,
    columns: Sequence[str] = (),
) -> Chips:
    """Lay chips over scenes: a regular grid from each image's first pixel, whole chips only.

    Parameters
    ----------
    reader, scenes
        What reads the set, and the rows of its scene table (`pyarrow.Table`) to take.
    size, …
        As `Collection.chips` says, as well as what is refused.
    """
    step = size if stride is None else stride
    if not all(isinstance(length, int | np.integer) and length >= 1 for length in (size, step)):
        raise QueryError(f"expected a size and a stride of at least one pixel, found {size!r} and {step!r}")
    unknown = [name for name in columns if name not in scenes.column_names]
    if unknown:
        raise QueryError(f"expected columns among {scenes.column_names}, found {unknown[0]!r}")
    finder = Images(reader, placeless=True)
    found = finder.find(scenes, assets if assets is not None else finder.assets(scenes))
    images = {asset: {image.scene: image for image in group} for asset, group in found.items() if group}
    if not images:
        raise QueryError("expected scenes with the assets asked for, found none")
    for asset, group in images.items():
        shapes = sorted({image.array.shape[1:-2] for image in group.values()})
        if len(shapes) > 1:
            counts = [math.prod(shape) for shape in shapes]
            raise QueryError(f"expected one number of bands in all images of {asset!r}, found {counts}")
    reference = min(images, key=lambda asset: next(iter(images[asset].values())).grid.resolution)
    table = _corners(images[reference], size, step, scenes.select(["id", *columns]))
    fills = {asset: _fill(group) for asset, group in images.items()}
    return Chips(reader=reader, size=size, table=table, images=images, reference=reference, fills=fills)


def _corners(images: Mapping[int, Image], size: int, step: int, scenes: Any) -> Any:
    """List the chips of all scenes with these columns of the scene table: a `pyarrow.Table`, see `Chips.table`."""
    import pyarrow as pa

    corners = []
    for scene, image in sorted(images.items()):
        rows = np.arange(0, image.grid.height - size + 1, step)
        across = np.arange(0, image.grid.width - size + 1, step)
        grid = np.stack(np.meshgrid(rows, across, indexing="ij"), axis=-1).reshape(-1, 2)
        corners.append(np.column_stack([np.full(len(grid), scene), grid]))
    every = np.concatenate(corners).astype(np.int64)
    table = pa.table({"scene": every[:, 0], "row": every[:, 1], "column": every[:, 2]})
    taken = scenes.take(pa.array(every[:, 0]))
    for name in taken.column_names:
        table = table.append_column(name, taken[name])
    return table


def _fill(images: Mapping[int, Image]) -> Any:
    values = {repr(image.nodata): image.nodata for image in images.values()}
    nodata = next(iter(values.values())) if len(values) == 1 else None
    return 0 if nodata is None else nodata
