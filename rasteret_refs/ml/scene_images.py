"""Which scenes a dataset reads, and their images: assets, masks and label rasters."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.images import AssetImages, asset_names, images_of, rows_between
from rasteret_refs.ml.labels import Labels, column, encoded
from rasteret_refs.ml.options import ChipOptions
from rasteret_refs.ml.splits import DROPPED
from rasteret_refs.read.clouds import cloud_rules
from rasteret_refs.read.masks import Mask, parse_masks
from rasteret_refs.read.reader import Reader


class SceneImages:
    """The images that a dataset reads: assets, masks and label rasters of the scenes that it is about.

    Parameters
    ----------
    reader
        Of the reference set.
    scenes
        The scene table of the collection or view.
    options
        What is asked for.
    tiles
        Table of tiles: a split by tile leaves every scene in.

    Raises
    ------
    QueryError
        Assets or columns that there are not.
    """

    def __init__(self, reader: Reader, scenes: pa.Table, options: ChipOptions, tiles: pa.Table | None = None) -> None:
        known = asset_names(scenes)
        self.rules = parse_masks(options.mask_assets, known, lambda assets: cloud_rules(reader, scenes, assets))
        self.label_asset = (
            options.label if options.label in known and options.label not in scenes.column_names else None
        )
        aside = {rule.asset for rule in self.rules} | {self.label_asset}
        self.assets = options.assets or tuple(name for name in known if name not in aside)
        if not self.assets:
            raise QueryError(f"expected at least one asset to read, found {known}, all of them masks or labels")
        wanted = dict.fromkeys([*self.assets, *(rule.asset for rule in self.rules), self.label_asset])
        self.by_name = images_of(reader, scenes, [name for name in wanted if name is not None])
        self.images = [self.by_name[name] for name in self.assets]
        self.masks: list[tuple[AssetImages, Mask]] = [(self.by_name[rule.asset], rule) for rule in self.rules]
        needed = [*self.images, *([self.by_name[self.label_asset]] if self.label_asset else [])]
        self.rows = np.flatnonzero(
            _chosen(scenes, options, tiles) & np.all([images.present for images in needed], axis=0)
        )
        self.finest = min(self.images, key=self._pixel)
        native = np.result_type(*(images.dtype for images in self.images))
        self.dtype = np.dtype(np.float32) if options.dtype == "float32" else native
        self.channels = sum(images.bands for images in self.images)

    def check_aligned(self) -> None:
        """Refuse assets whose pixels cannot be matched by their places in the images.

        Raises
        ------
        QueryError
            The assets of a scene lie in different CRSs, or differ in shape where nothing tells where they lie.
        """
        for images in self.by_name.values():
            rows = self.rows[images.present[self.rows]]
            placed = np.isfinite(images.transform[rows]).all(axis=1) & np.isfinite(self.finest.transform[rows]).all(
                axis=1
            )
            shaped = (images.height[rows] == self.finest.height[rows]) & (images.width[rows] == self.finest.width[rows])
            if not (placed | shaped).all():
                raise QueryError(
                    f"expected {images.name!r} in the shape of {self.finest.name!r} where scenes have no georeference"
                )
            for own, other in set(zip(images.crs[rows].tolist(), self.finest.crs[rows].tolist(), strict=True)):
                if own is not None and other is not None and not _same_crs(own, other):
                    raise QueryError(
                        f"expected the assets of a scene in one CRS, found {images.name!r} in another than "
                        f"{self.finest.name!r}: to_torchgeo reprojects, to_torch reads pixels as they are"
                    )

    def keep(self, kept: npt.NDArray[np.bool_]) -> None:
        """Leave scenes out: those that are not to be kept, one flag for each row of the scene table."""
        self.rows = self.rows[kept[self.rows]]

    def __deepcopy__(self, memo: dict[int, Any]) -> "SceneImages":
        return self

    def _pixel(self, images: AssetImages) -> float:
        """Width of a pixel in the first scene that is read; by width of the image where there is no georeference."""
        row = self.rows[0] if len(self.rows) else 0
        size = float(np.hypot(images.transform[row, 0], images.transform[row, 3]))
        return size if np.isfinite(size) else -float(images.width[row])


def _same_crs(one: str, other: str) -> bool:
    from pyproj import CRS

    return one == other or CRS.from_user_input(one).equals(CRS.from_user_input(other), ignore_axis_order=True)


def _chosen(scenes: pa.Table, options: ChipOptions, tiles: pa.Table | None) -> npt.NDArray[np.bool_]:
    kept = rows_between(scenes, options.time)
    by_tile = tiles is not None and options.split_column in tiles.column_names
    if options.split is not None and not (by_tile and options.split_column not in scenes.column_names):
        known_split(column(scenes, options.split_column), options)
        same = pc.fill_null(pc.equal(scenes[options.split_column], options.split), fill_value=False)
        kept = kept & np.asarray(same.to_numpy())
    return kept


def known_split(values: Iterable[Any], options: ChipOptions) -> None:
    """Refuse a split that nothing belongs to: it is a slip of the pen, and a dataset of nothing would hide it.

    Raises
    ------
    QueryError
        None of the values is the split that is asked for.
    """
    found = {value for value in values if value not in {None, DROPPED}}
    if options.split not in found:
        raise QueryError(f"expected a split of {options.split_column!r} out of {sorted(found)}, got {options.split!r}")


def scene_labels(scenes: pa.Table, name: str) -> Labels:
    """Encode a scene column; over all scenes of the view, so that the splits agree on the classes.

    Scenes without a label have 0 here: whoever asks for labels keeps only those that are `labelled`.
    """
    values, known = column(scenes, name), labelled(scenes, name)
    labels = encoded([value for value in values if value is not None], name)
    filled = np.zeros(len(values), labels.values.dtype)
    filled[known] = labels.values
    return Labels(values=filled, classes=labels.classes)


def labelled(scenes: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    """Tell which scenes have a label."""
    return np.array([value is not None for value in column(scenes, name)], bool)
