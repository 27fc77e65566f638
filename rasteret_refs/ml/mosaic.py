"""Mosaics by the first valid pixel, many at a time: each round reads one more image for those not yet filled.

The rule is that of `rasterio.merge` (method "first"), which TorchGeo uses: an output begins as nodata, and each image
in turn fills what is still nodata. A round is one batch of reads; most mosaics are full after the first.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rasteret_refs.ml.images import AssetImages
from rasteret_refs.ml.pieces import Place, lines_on
from rasteret_refs.ml.reads import Reads
from rasteret_refs.ml.warp import Warp
from rasteret_refs.ml.warp_queue import WarpBatch
from rasteret_refs.read.lines import Lines, window_of
from rasteret_refs.read.masks import Mask
from rasteret_refs.read.reader import Window


class Layer(Protocol):
    """One image that can fill a part of a mosaic."""

    def windows(self, out: npt.NDArray[Any]) -> list[Window]:
        """Plan the reads that put its pixels into `out`, shape (bands, rows, columns)."""

    def valid(self, out: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Tell, after the reads, which pixels of `out` it has data for; broadcasts against `out`."""

    def is_settled(self) -> bool:
        """Tell, after the reads, whether all pixels that it has no data for hold the fill value already."""


class ImageLayer:
    """An image in the CRS of the place, read by nearest neighbour; pixel by pixel where the grids agree.

    Parameters
    ----------
    images, row
        The image.
    place
        Where.
    fill
        Value of pixels without data.
    masks
        Images of mask assets, the row in each, and what they hide.
    """

    def __init__(
        self,
        images: AssetImages,
        row: int,
        place: Place,
        *,
        fill: Any,
        masks: Sequence[tuple[AssetImages, int, Mask]] = (),
    ) -> None:
        self.images, self.row, self.place, self.fill = images, row, place, fill
        self.masks = [(images, at, rule) for images, at, rule in masks if images.present[at]]
        self.lines = self._lines(images, row)
        self._hiding: list[tuple[npt.NDArray[Any], Mask]] = []
        self._internal: npt.NDArray[np.uint8] | None = None

    def _lines(self, images: AssetImages, row: int) -> tuple[Lines, Lines]:
        transform = np.asarray(self.place.transform, np.float64)
        return lines_on(images, row, transform, self.place.height, self.place.width)

    def windows(self, out: npt.NDArray[Any]) -> list[Window]:
        """Plan the image's own pixels, its internal mask's and those of mask assets."""
        number, shape = int(self.images.code[self.row]), (1, self.place.height, self.place.width)
        index = int(self.images.index[self.row])
        planned = [window_of(self.images.arrays[number], index, self.lines, out, outside=self.fill)]
        internal = self.images.masks[number]
        if internal is not None:
            self._internal = np.zeros(shape, np.uint8)
            planned.append(window_of(internal, index, self.lines, self._internal, outside=0))
        for images, row, rule in self.masks:
            array = images.arrays[int(images.code[row])]
            pixels = np.zeros(shape, array.dtype)
            self._hiding.append((pixels, rule))
            planned.append(window_of(array, int(images.index[row]), self._lines(images, row), pixels, outside=0))
        return [one for one in planned if one is not None]

    def valid(self, out: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Inside the image, not nodata, not masked."""
        rows, columns = self.lines
        valid = (rows.inside[:, None] & columns.inside)[None]
        nodata = self.images.nodata[self.row]
        if nodata is not None:
            valid = valid & ~equal(out, nodata)
        if self._internal is not None:
            valid = valid & (self._internal != 0)
        elif nodata is None and self.images.alpha[int(self.images.code[self.row])]:
            opaque = np.ones(out.shape, bool)
            opaque[:-1] = out[-1] != 0
            valid = valid & opaque
        for pixels, rule in self._hiding:
            valid = valid & ~rule.hidden(pixels)
        return valid

    def is_settled(self) -> bool:
        """Nodata is the fill value, which is also read outside of the image, and nothing else hides pixels."""
        nodata, number = self.images.nodata[self.row], int(self.images.code[self.row])
        if self._hiding or self._internal is not None:
            return False
        return not self.images.alpha[number] if nodata is None else bool(equal(np.asarray(nodata), self.fill))


def equal(pixels: npt.NDArray[Any], value: Any) -> npt.NDArray[np.bool_]:
    """Compare with a nodata value, NaN included."""
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        return np.isnan(pixels)
    return np.asarray(pixels == value)


@dataclass(slots=True, kw_only=True, eq=False)
class Mosaic:
    """One output that layers fill."""

    out: npt.NDArray[Any]
    """(bands, rows, columns); filled in place. Its first layer reads straight into it."""
    fill: Any
    layers: Iterable[Layer]
    most: int | None = None
    """How many layers there are at most, where that is known: after the last one nobody asks what is filled."""
    by_value: bool = True
    """A pixel that equals `fill` counts as not filled, whoever put it there: `rasterio.merge` does so."""
    _taken: int = field(init=False, default=0)
    _filled: npt.NDArray[np.bool_] | None = field(init=False, default=None)
    """None where it follows from `out`, or before the first layer: fresh memory is slow to write to."""

    @property
    def filled(self) -> npt.NDArray[np.bool_]:
        """Which pixels a layer has filled; of the shape of `out`, not to be written to."""
        if not self._taken:
            return np.broadcast_to(np.False_, self.out.shape)
        if self._filled is None:
            self._filled = ~_is_fill(self.out, self.fill)
        return self._filled

    @property
    def is_open(self) -> bool:
        """Whether a further layer could fill something."""
        return self._taken != self.most and not self.filled.all()

    def finish(self) -> None:
        """Fill the output, where there was no layer at all."""
        if not self._taken:
            self.out[...] = self.fill

    def take(self, layer: Layer, pixels: npt.NDArray[Any]) -> None:
        """Use a layer's pixels where nothing is yet."""
        if self._taken:
            wanted = layer.valid(pixels) & ~self.filled
            np.copyto(self.out, pixels, where=wanted, casting="unsafe")
            filled = self.filled | wanted
        elif self.by_value and layer.is_settled():
            filled = None
        else:
            valid = layer.valid(pixels)
            if not valid.all():
                np.copyto(self.out, self.fill, where=~valid, casting="unsafe")
            filled = np.broadcast_to(valid, self.out.shape)
        self._taken += 1
        self._filled = None if self.by_value else filled


def _is_fill(pixels: npt.NDArray[Any], fill: Any) -> npt.NDArray[np.bool_]:
    """Compare as `rasterio.merge` does: floats nearly."""
    if fill != fill or pixels.dtype.kind in "iub":  # noqa: PLR0124 - only NaN differs from itself
        return equal(pixels, fill)
    return np.asarray(np.isclose(pixels, fill))


def fill(mosaics: Sequence[Mosaic]) -> Reads[None]:
    """Fill mosaics, round by round.

    Parameters
    ----------
    mosaics
        Their outputs are filled in place.
    """
    open_ = [(mosaic, iter(mosaic.layers)) for mosaic in mosaics]
    first = True
    while open_:
        windows: list[Window] = []
        used: list[tuple[Mosaic, Layer, npt.NDArray[Any]]] = []
        remaining = []
        for mosaic, layers in open_:
            layer = next(layers, None)
            if layer is None:
                mosaic.finish()
                continue
            pixels = mosaic.out if first else np.empty_like(mosaic.out)
            windows += layer.windows(pixels)
            used.append((mosaic, layer, pixels))
            remaining.append((mosaic, layers))
        # First what is waited for with work to be done, which then goes on while the others come.
        yield sorted(windows, key=lambda window: window.then is None)
        for mosaic, layer, pixels in used:
            mosaic.take(layer, pixels)
        open_ = [(mosaic, layers) for mosaic, layers in remaining if mosaic.is_open]
        first = False


def layer(
    images: AssetImages,
    row: int,
    place: Place,
    *,
    same_crs: bool,
    resampling: str,
    fill: Any,
    batch: WarpBatch,
    masks: Sequence[tuple[AssetImages, int, Mask]] = (),
) -> Layer:
    """Choose how an image reaches a place: by index arithmetic, or warped across CRSs or by another resampling."""
    if same_crs and (resampling == "nearest" or _on_grid(images.transform[row].tolist(), place.transform)):
        return ImageLayer(images, row, place, fill=fill, masks=masks)
    return Warp(images, row, place, fill=fill, resampling=resampling, batch=batch, masks=masks)


def _on_grid(own: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two grids share their pixels."""
    a, b, _, d, e, _ = own
    if not all(math.isclose(own[i], other[i], rel_tol=1e-9) for i in (0, 1, 3, 4)):
        return False
    across, down, determinant = other[2] - own[2], other[5] - own[5], a * e - b * d
    shift = (e * across - b * down) / determinant, (a * down - d * across) / determinant
    return all(abs(by - round(by)) < 1e-3 for by in shift)  # noqa: PLR2004 - of a pixel
